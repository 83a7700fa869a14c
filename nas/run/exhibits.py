"""What is shown of the members of a front: crops beside bicubic and photograph, latency by position."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.reading import PLACES
from srnas.nas.files import save_png, writing
from srnas.nas.images.assessment import ImageScores, assess
from srnas.nas.images.metrics import Image
from srnas.nas.images.pairs import Pair
from srnas.nas.images.sheet import draw_sheet
from srnas.nas.judging.judge import brief_protocol
from srnas.nas.judging.materials import Materials
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import profile
from srnas.profiling.profiles import Subject
from srnas.search_space import Network
from srnas.search_space.checkpoints import load_network

_CROPS = 2
_CROP_SIDE = 128
# The parts of all members are timed, and a figure needs no narrow interval: a brief warm-up and few rounds suffice.
_ROUNDS = 8


def make_exhibits(materials: Materials, records: Sequence[TrialRecord], workspace: Workspace) -> None:
    """Make what is missing in the workspace; a failure is reported, and does not end a search.

    Args:
        materials: The study's photographs, settings and device.
        records: The members of the front.
        workspace: Where the files are kept.
    """
    try:
        _make(materials, records, workspace)
    except Exception as error:
        materials.observer.on_note(f"crops or latency by position of the front are missing: {error}")


def _make(materials: Materials, records: Sequence[TrialRecord], workspace: Workspace) -> None:
    fresh: dict[Path, Network] = {}
    for record in records:
        folder, weights = workspace.exhibits(record), workspace.weights(record)
        if weights.is_file() and not (folder / PLACES).is_file():
            fresh[folder] = load_network(record.architecture, weights).deploy()
            _draw_crops(materials, fresh[folder], folder)
    if fresh:
        _write_places(materials, fresh)


def _draw_crops(materials: Materials, network: Network, folder: Path) -> None:
    def draw(pair: Pair, sr: Image, scores: ImageScores) -> None:
        sheet = draw_sheet(pair, sr, materials.settings.scale, "this network", scores, _CROP_SIDE)
        save_png(sheet, folder / f"{pair.name.replace('/', '-')}.png")

    assess(network.to(materials.device), materials.validation[:_CROPS], materials.device, draw)


def _write_places(materials: Materials, networks: Mapping[Path, Network]) -> None:
    materials.observer.on_note("timing the members of the front by position")
    settings = materials.settings
    subjects = {
        str(folder): Subject("network", folder.name, network, (1, 3, *settings.latency_input), network.architecture)
        for folder, network in networks.items()
    }
    protocol = replace(brief_protocol(materials.target), max_rounds=_ROUNDS, interval=0.0)
    profiles = profile(subjects, materials.target, protocol=protocol)
    for folder in networks:
        places = profiles[str(folder)].places
        text = json.dumps([{"name": p.name, "label": p.label, "fastest_ms": p.fastest_ms} for p in places])
        with writing(folder / PLACES) as aside:
            aside.write_text(text, encoding="utf-8")
