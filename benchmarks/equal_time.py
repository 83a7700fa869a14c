"""Hypervolume of searches against other searches after equal time, over seeds.

Studies of one search but for the sampler and the seed: those of the sampler, and those of another, such as random
search, of the same seeds in the same order. The latencies of the latter are multiplied by the median ratio of the human
designs' latencies in both (``scale``), since the two may have run at different moments. All are taken after the time
that the shortest of them took, or after ``--minutes`` if that is less, from the reference point of the first, with the
latencies that the networks of a front had when they were timed together at the end. Time in which no process was at a
study is left out. Beside each hypervolume stands how much it exceeds that of the study's human designs, which both
sides train first. ``--figure`` draws the mean hypervolume over minutes, with its standard error.

    python benchmarks/equal_time.py --ours STUDY ... --others STUDY ... [--workspace WORKSPACE] [--minutes M]
        [--figure PNG]
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from srnas.leaderboard.rank.curve import CurvePoint, hypervolume_curve
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.show.curve_figure import write_cost_curves
from srnas.nas.cli.boundary import told_errors
from srnas.nas.run.request import DEFAULT_WORKSPACE
from srnas.nas.study.settings import StudySettings
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError

_STEPS = 200
# What studies that are compared may differ in.
_MAY_DIFFER = {"name", "sampler", "seed", "rungs"}


def without_pauses(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return trials with times that pass only while a process is at the study; one is at it until its last trial."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for one in records:
        first, last = spans.get((one.host, one.pid), (one.started_ms, one.ended_ms))
        spans[one.host, one.pid] = min(first, one.started_ms), max(last, one.ended_ms)
    busy: list[tuple[int, int]] = []
    for first, last in sorted(spans.values()):
        # Of processes that worked at once, only what goes beyond the others.
        first = max(first, busy[-1][1]) if busy else first
        if last > first:
            busy.append((first, last))

    def clock(at_ms: int) -> int:
        return sum(max(0, min(at_ms, last) - first) for first, last in busy)

    return [
        one.model_copy(update={"started_ms": clock(one.started_ms), "ended_ms": clock(one.ended_ms)}) for one in records
    ]


def scaled(records: Sequence[TrialRecord], rival: Sequence[TrialRecord]) -> tuple[float, list[TrialRecord]]:
    """Return the median ratio of the human designs' latencies in a rival study and here, and trials scaled by it."""
    theirs = {one.architecture.key: one.latency.fastest_ms for one in rival if one.design and one.latency}
    both = [
        (theirs[key], one.latency.fastest_ms)
        for one in records
        if one.latency and (key := one.architecture.key) in theirs
    ]
    factor = statistics.median(a / b for a, b in both) if both else 1.0
    changed = [
        one.model_copy(update={"latency": replace(one.latency, fastest_ms=factor * one.latency.fastest_ms)})
        if one.latency
        else one
        for one in records
    ]
    return factor, changed


def check_equal(studies: Sequence[StudySettings]) -> None:
    """Raise ``InputError`` if studies differ in what must be equal."""
    first, *others = (one.with_training(seed=0).model_dump(exclude=_MAY_DIFFER) for one in studies)
    for study, other in zip(studies[1:], others, strict=True):
        if differing := [name for name, value in first.items() if other[name] != value]:
            raise InputError(
                f"studies must be of one search but for the sampler and the seed, but {', '.join(differing)} of "
                f"'{study.name}' differ from those of '{studies[0].name}'."
            )


def volume(curve: Sequence[CurvePoint], seconds: float) -> float:
    """Return the hypervolume after so many seconds."""
    return max((point.hypervolume for point in curve if point.seconds <= seconds), default=0.0)


def mean_curve(
    curves: Sequence[Sequence[CurvePoint]], seconds: float
) -> tuple[list[float], list[float], list[float | None]]:
    """Return minutes, and the mean over searches with its standard error."""
    times = [seconds * step / _STEPS for step in range(_STEPS + 1)]
    values = [[volume(curve, time) for curve in curves] for time in times]
    errors = [statistics.stdev(at) / len(at) ** 0.5 if len(at) > 1 else None for at in values]
    return [time / 60 for time in times], [statistics.fmean(at) for at in values], errors


def main() -> None:
    """Print the hypervolumes and their ratio, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", nargs="+", required=True, metavar="STUDY")
    parser.add_argument("--others", nargs="+", required=True, metavar="STUDY")
    parser.add_argument("--minutes", type=float, default=math.inf, help="at most this time of each search")
    parser.add_argument("--workspace", type=Path, default=DEFAULT_WORKSPACE)
    parser.add_argument("--figure", type=Path, metavar="PNG")
    given = parser.parse_args()
    if len(given.ours) != len(given.others):
        parser.error(f"there must be as many studies of both, but got {len(given.ours)} and {len(given.others)}")
    workspace = Workspace(given.workspace)
    studies = {name: load_study(workspace, name) for name in (*given.ours, *given.others)}
    check_equal([one.settings for one in studies.values()])
    reference = studies[given.ours[0]].study
    records = {name: without_pauses(one.records) for name, one in studies.items()}
    scales = {}
    for ours, others in zip(given.ours, given.others, strict=True):
        scales[others], records[others] = scaled(records[others], records[ours])
    curves = {name: hypervolume_curve(reference, of_study) for name, of_study in records.items()}
    designs = {
        name: volume(hypervolume_curve(reference, [one for one in of_study if one.design]), math.inf)
        for name, of_study in records.items()
    }
    if empty := [name for name, curve in curves.items() if not curve]:
        raise SystemExit(f"each study must hold judged trials, but {', '.join(empty)} holds none.")
    seconds = min(60 * given.minutes, *(curve[-1].seconds for curve in curves.values()))
    for name, of_study in records.items():
        if free := sum(record.reused and record.ended_ms <= 1e3 * seconds for record in of_study):
            print(f"{name} has {free} trainings from the cache of its workspace, which cost it no time")
    columns = "hypervolume | beyond the designs | trials"
    print(f"after {seconds / 60:.0f} min | {columns} | others | {columns} | scale | ratio")
    ratios = []
    for names in zip(given.ours, given.others, strict=True):
        volumes = [volume(curves[name], seconds) for name in names]
        trials = [sum(point.seconds <= seconds for point in curves[name]) for name in names]
        ratios.append(volumes[0] / volumes[1] if volumes[1] else math.nan)
        cells = (f"{n} | {v:.3f} | {v - designs[n]:+.3f} | {t}" for n, v, t in zip(names, volumes, trials, strict=True))
        print(f"{' | '.join(cells)} | {scales[names[1]]:.3f} | {ratios[-1]:.3f}")
    print(f"ours/others {statistics.fmean(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    if given.figure:
        means = {
            f"{side}: {studies[names[0]].settings.sampler}": mean_curve([curves[name] for name in names], seconds)
            for side, names in (("ours", given.ours), ("others", given.others))
        }
        write_cost_curves(means, "minutes of search", given.figure)


if __name__ == "__main__":
    with told_errors("equal_time.py"):
        main()
