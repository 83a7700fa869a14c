"""What defines a study: everything that its results depend on, and the hash of what its quality depends on."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from srnas.nas.study.options import StudyOptions
from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import REGISTRY, InputError, SearchSpace

# Raised when a change of the code changes what a network's PSNR is.
_PROTOCOL_VERSION = 1

# Values that a schedule had before there was a choice; its protocol says nothing of them, so that results are found as
# they were kept.
_BEFORE: Mapping[str, object] = {"optimizer": "adamw", "annealed": (), "depth_rule": 1}

_STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StudySettings(StudyOptions):
    """The settings that are fixed when a study starts.

    Attributes:
        name: The study's name: letters, digits, dot, dash and underscore.
        space: Name of the search space.
        space_digest: Hash of the space's choices.
        train: Name and fingerprint of the training photographs.
        validation: Name and fingerprint of the held-out photographs.
        device: ``cpu`` or ``cuda:N``, which trains.
        latency_input: Height and width of the input that is timed, in low-resolution pixels.
        training: The schedule; its seed is that of weights and patches.
        blocks: Hashes of the sources of the user's own blocks among the space's, by name.
    """

    name: str
    space: str
    space_digest: str
    train: str
    validation: str
    device: str
    latency_input: tuple[int, int]
    training: TrainingConfig
    blocks: dict[str, str] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_name(name)

    def flat(self) -> dict[str, Any]:
        """Return the settings by dotted name."""
        return dict(_flatten(self.model_dump(mode="json")))

    @property
    def training_threads(self) -> int:
        """CPU threads of a training: those of the target where it is what trains, else one."""
        return 1 if self.timed_on else self.threads

    @property
    def protocol(self) -> str:
        """Hash of everything that a candidate's quality depends on."""
        # On a CPU the number of threads decides in which order sums are rounded.
        device = f"cpu-{self.training_threads}" if self.device == "cpu" else "cuda"
        unsaid = {name for name, before in _BEFORE.items() if getattr(self.training, name) == before}
        training = self.training.model_dump(exclude=unsaid)
        parts = [_PROTOCOL_VERSION, self.scale, self.train, self.validation, device, training]
        # What was trained without any is found as it was kept.
        parts += [self.blocks] if self.blocks else []
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def with_training(self, **changes: Any) -> "StudySettings":
        """Return the same settings for another training, such as one from another seed."""
        return self.model_copy(update={"training": self.training.model_copy(update=changes)})

    def check_same(self, stored: "StudySettings") -> None:
        """Raise ``InputError`` that lists what differs from the settings that the study started with."""
        mine, theirs = self.flat(), stored.flat()
        pairs = {key: (theirs.get(key), mine.get(key)) for key in theirs | mine}
        differing = [f"{key}: {before} -> {now}" for key, (before, now) in pairs.items() if before != now]
        if differing:
            raise InputError(
                f"study '{self.name}' exists with other settings ({'; '.join(differing)}); "
                "give the same settings to continue it, or another --study."
            )


def check_name(name: str) -> str:
    """Return the name of a study.

    Raises:
        InputError: If a study cannot be called so.
    """
    if not _STUDY_NAME.fullmatch(name):
        raise InputError(f"a study's name must be letters, digits, '.', '_' and '-' (at most 100), but got '{name}'.")
    return name


def _flatten(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in data.items():
        flat += _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return flat


def digest(space: SearchSpace) -> str:
    """Return a short hash of a space's choices."""
    return hashlib.sha256(space.content.canonical_json().encode()).hexdigest()[:8]


def own_blocks(space: SearchSpace) -> dict[str, str]:
    """Return hashes of the sources of the user's own blocks among a space's, by name."""
    content = space.content
    choices = (*content.stem, *content.trunk, *content.attention, *content.tail)
    names = {choice.name for choice in choices}
    return {name: source for name, source in sorted(REGISTRY.sources.items()) if name in names}
