"""What is shown of members of a front beyond their rows: crops beside bicubic and photograph, latency by position."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srnas.leaderboard import TrialRecord
from srnas.leaderboard.reading import PLACES
from srnas.nas.assessment import ImageScores, assess
from srnas.nas.judging import Judge
from srnas.nas.metrics import Image
from srnas.nas.output import save_png, writing
from srnas.nas.pairs import Pair
from srnas.nas.sheet import draw_sheet
from srnas.profiling import default_protocol, profile
from srnas.profiling.profiles import Subject
from srnas.search_space import Network
from srnas.search_space.checkpoints import load_network

_CROPS = 2
_CROP_SIDE = 128
_ROUNDS = 8


def exhibits_folder(workspace: Path, record: TrialRecord) -> Path:
    """Return where the files of a trial are kept: a later study of the same name has others."""
    return workspace / "figures" / record.study / f"{record.number:04d}-{record.genotype.key}-{record.protocol}"


def make_exhibits(judge: Judge, records: Sequence[TrialRecord], workspace: Path) -> None:
    """Make what is not in the workspace yet; what cannot be made is said, and does not end a search.

    Args:
        judge: Of the study, for its photographs, its weights and its device.
        records: The members of the front.
        workspace: Where the files are kept.
    """
    try:
        _make(judge, records, workspace)
    except Exception as error:
        judge.observer.on_note(f"crops or latency by position of the front are missing: {error}")


def _make(judge: Judge, records: Sequence[TrialRecord], workspace: Path) -> None:
    fresh: dict[Path, Network] = {}
    for record in records:
        folder, weights = exhibits_folder(workspace, record), judge.cache.weights(record.genotype.key)
        if weights.is_file() and not (folder / PLACES).is_file():
            fresh[folder] = load_network(record.genotype, weights).deploy()
            _draw_crops(judge, fresh[folder], folder)
    if fresh:
        _write_places(judge, fresh)


def _draw_crops(judge: Judge, network: Network, folder: Path) -> None:
    def draw(pair: Pair, sr: Image, scores: ImageScores) -> None:
        sheet = draw_sheet(pair, sr, judge.settings.scale, "this network", scores, _CROP_SIDE)
        save_png(sheet, folder / f"{pair.name.replace('/', '-')}.png")

    assess(network.to(judge.device), judge.validation[:_CROPS], judge.device, draw)


def _write_places(judge: Judge, networks: Mapping[Path, Network]) -> None:
    judge.observer.on_note("timing the members of the front by position")
    settings = judge.settings
    subjects = {
        str(folder): Subject("network", folder.name, network, (1, 3, *settings.latency_input), network.architecture)
        for folder, network in networks.items()
    }
    protocol = replace(default_protocol(settings.target), max_rounds=_ROUNDS, interval=0.0)
    profiles = profile(subjects, settings.target, protocol=protocol)
    for folder in networks:
        places = profiles[str(folder)].places
        text = json.dumps([{"name": p.name, "label": p.label, "latency_ms": p.latency_ms} for p in places])
        with writing(folder / PLACES) as aside:
            aside.write_text(text, encoding="utf-8")
