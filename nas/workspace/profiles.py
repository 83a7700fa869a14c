"""Keeps profiles of blocks and networks: figures in the workspace, rows, samples and figures in MLflow."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from srnas.leaderboard.store.profiles import write_profiles
from srnas.nas.files import writing
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Profile

# Letters of a title in the names of its figures.
_LONGEST = 60


def log_profiles(
    title: str, profiles: Sequence[Profile], figures: Mapping[str, Callable[[Path], None]], workspace: Workspace
) -> list[Path]:
    """Draw figures into ``figures/`` of the workspace, and write profiles with their raw samples to MLflow.

    Returns:
        The files of the figures.

    Raises:
        InputError: If the workspace cannot be written.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    if len(slug) > _LONGEST:
        slug = f"{slug[:_LONGEST]}-{hashlib.sha256(slug.encode()).hexdigest()[:8]}"
    paths = []
    for name, draw in figures.items():
        paths.append(workspace.figures / f"profile-{slug}-{name}.png")
        with writing(paths[-1]) as aside:
            draw(aside)
    samples = [
        {
            "name": profile.name,
            "input_shape": profile.counted.record.input_shape,
            "calls_ms": profile.latency.calls_ms,
            "reference_rounds_ms": profile.latency.reference_rounds_ms,
            "discarded": profile.latency.discarded,
            "preflight": dict(profile.preflight),
        }
        for profile in profiles
    ]
    files = {"samples.json": json.dumps(samples)}
    write_profiles(workspace.store, title, [profile.to_row() for profile in profiles], files, paths)
    return paths
