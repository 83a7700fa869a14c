"""What is shown of members of a front beyond their rows: crops beside bicubic and photograph, latency by position."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srnas.leaderboard import TrialRecord
from srnas.leaderboard.reading import PLACES
from srnas.nas.assessment import assess
from srnas.nas.judging import Judge
from srnas.nas.output import save_png, writing
from srnas.nas.sheet import draw_sheet
from srnas.profiling import DeviceBusyError, default_protocol, profile
from srnas.profiling.profiles import Subject
from srnas.search_space import Network
from srnas.search_space.checkpoints import load_network

_CROPS = 2
_CROP_SIDE = 128
_ROUNDS = 8


def exhibits(judge: Judge, records: Sequence[TrialRecord], folder: Path) -> dict[int, list[Path]]:
    """Make what is not in ``folder`` yet, and return the files by number of the trial.

    Args:
        judge: Of the study, for its photographs, its weights and its device.
        records: The members.
        folder: Where the files are kept.
    """
    found: dict[int, list[Path]] = {}
    fresh: dict[int, Network] = {}
    for record in records:
        own, weights = folder / f"{record.number:04d}", judge.cache.weights(record.genotype.key)
        names = [PLACES, *(f"{pair.name.replace('/', '-')}.png" for pair in judge.validation[:_CROPS])]
        found[record.number] = [own / name for name in names]
        if weights.is_file() and not all(path.is_file() for path in found[record.number]):
            fresh[record.number] = load_network(record.genotype, weights).deploy()
    for number, network in fresh.items():
        _draw_crops(judge, network, found[number][1:])
    if fresh:
        _write_places(judge, fresh, {number: found[number][0] for number in fresh})
    return {number: [path for path in paths if path.is_file()] for number, paths in found.items()}


def _draw_crops(judge: Judge, network: Network, paths: Sequence[Path]) -> None:
    scale, names = judge.settings.scale, iter(paths)
    network.to(judge.device)
    assess(
        network,
        judge.validation[:_CROPS],
        judge.device,
        lambda pair, sr, scores: save_png(draw_sheet(pair, sr, scale, "this network", scores, _CROP_SIDE), next(names)),
    )


def _write_places(judge: Judge, networks: Mapping[int, Network], paths: Mapping[int, Path]) -> None:
    judge.observer.on_note("timing the members of the front by position")
    settings = judge.settings
    subjects = {
        str(number): Subject("network", str(number), network, (1, 3, *settings.latency_input), network.architecture)
        for number, network in networks.items()
    }
    protocol = replace(default_protocol(settings.target), max_rounds=_ROUNDS, interval=0.0)
    try:
        profiles = profile(subjects, settings.target, protocol=protocol)
    except DeviceBusyError as error:
        judge.observer.on_note(f"no latency by position: {error}")
        return
    for number, path in paths.items():
        places = [
            {"name": place.name, "label": place.label, "latency_ms": place.latency_ms}
            for place in profiles[str(number)].places
        ]
        with writing(path) as aside:
            aside.write_text(json.dumps(places), encoding="utf-8")
