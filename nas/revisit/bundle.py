"""The weights of an exported study, in a ZIP file beside it: safetensors in deploy form, by protocol and key.

They are in half precision, which moves PSNR by less than 0.0005 dB (docs/leaderboard.md, "Handing a study on").
"""

import zipfile
from pathlib import Path

import torch
from safetensors.torch import save

from srnas.leaderboard.rank.front import front_numbers
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.files import write_whole, writing
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError
from srnas.search_space.checkpoints import load_network


def bundle_of(path: Path) -> Path:
    """Return where the weights of the study in a file are."""
    # What follows the last dot may be a part of the study's name.
    return path.with_name(f"{path.name.removesuffix('.study')}.weights.zip")


def write_bundle(workspace: Workspace, known: Snapshot, bundle: Path) -> list[TrialRecord]:
    """Write the weights of the front and of the human designs, and return whose they are.

    Raises:
        InputError: If weights cannot be read, or the file cannot be written.
    """
    front = front_numbers(known.ranked)
    chosen = (record for record in known.ranked if record.point and (record.design or record.number in front))
    kept = [record for record in chosen if workspace.weights(record).is_file()]
    if kept:
        with writing(bundle) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as written:
            for record in kept:
                deployed = load_network(record.architecture, workspace.weights(record)).deploy()
                halved = {name: _halved(weight) for name, weight in deployed.state_dict().items()}
                written.writestr(_member(record), save(halved))
    return kept


def check_bundle(bundle: Path) -> None:
    """Raise ``InputError`` if there are weights beside a study, but damaged ones."""
    if not bundle.exists():
        return
    try:
        with zipfile.ZipFile(bundle) as read:
            damaged = read.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        damaged = str(error)
    if damaged:
        raise InputError(
            f"'{bundle}' must hold whole weights, but it does not ({damaged}); copy it again, or remove it."
        )


def take_bundle(workspace: Workspace, known: Snapshot, bundle: Path) -> int:
    """Put weights where those of the trials are looked for, unless there are some; return of how many."""
    if not bundle.exists():
        return 0
    with zipfile.ZipFile(bundle) as read:
        held = set(read.namelist())
        found = [record for record in known.records if record.point and _member(record) in held]
        for record in found:
            if not (path := workspace.weights(record)).is_file():
                write_whole(path, read.read(_member(record)))
    return len(found)


def _halved(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight in half precision, or as it is where its values do not fit into that."""
    half = weight.half()
    fits = weight.is_floating_point() and torch.allclose(half.to(weight.dtype), weight, rtol=2**-10, atol=1e-6)
    return half if fits else weight


def _member(record: TrialRecord) -> str:
    return f"{record.protocol}/{record.architecture.key}.safetensors"
