"""Is what a search found better than what people draw? A study against its human designs, and against random search.

Each human or published design of the study stands beside the searched network of the best PSNR that is at most as slow,
and beside the fastest searched network of at least its PSNR. Differences in PSNR are paired by photograph, over all
seeds that were trained. Members of the front are ahead where they are better by 0.1 dB at equal latency beyond the
interval, or 20 % faster at equal PSNR.

With ``--time`` the human designs, the front and what is within 0.1 dB and 10 % of it are timed anew, all in the same
rounds on one thread of this CPU; else latencies are those of the study, where candidates were timed one by one.

With ``--random`` the hypervolume of the study stands beside that of studies by random search, both after the time that
the shortest of them took, from the reference point of the study. Time in which no process was at a study is left out.

    python benchmarks/proof.py STUDY [--workspace WORKSPACE] [--time] [--random STUDY ...]
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from srnas.leaderboard.rank.confidence import near_front
from srnas.leaderboard.rank.curve import CurvePoint, hypervolume_curve
from srnas.leaderboard.rank.front import non_dominated
from srnas.leaderboard.rank.picking import Contender, Duel, duel
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.stored import StoredStudy
from srnas.nas.training.loop import build_seeded
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target, default_protocol, measure_latency

AHEAD_DB, AHEAD_SHARE = 0.1, 0.2
NEAR_DB, NEAR_SHARE = 0.1, 0.1


def snapshot(workspace: Workspace, study: str) -> Snapshot:
    """Return what a study holds."""
    stored = StoredStudy.find(workspace.study_url(study, None), study)
    if stored is None:
        raise SystemExit(f"workspace '{workspace}' must hold study '{study}', but it does not.")
    return stored.snapshot()


def contenders(known: Snapshot) -> list[Contender]:
    """Return the trained networks of a study with the qualities of all their seeds, by rising latency."""
    others = {record.number: [] for record in known.records}
    for replicate in known.replicates:
        others[replicate.number].append(replicate.quality)
    found = [Contender(r, (r.quality, *others[r.number])) for r in known.records if r.quality and r.point]
    return sorted(found, key=lambda one: one.fastest_ms)


def timed_together(known: Snapshot, networks: Sequence[Contender]) -> list[Contender]:
    """Return the human designs and what is near the front, with latencies of one run, by rising latency."""
    assert known.settings
    near = {record.number for record in near_front(known.ranked, NEAR_DB, NEAR_SHARE)}
    chosen = [one for one in networks if one.trial.design or one.trial.number in near]
    target = Target(torch.device("cpu"))
    alone = default_protocol(target)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"timing {len(chosen)} networks", total=None)
        measured = measure_latency(
            {str(one.trial.number): build_seeded(one.trial.architecture, 0).deploy() for one in chosen},
            (1, 3, *known.settings.latency_input),
            target,
            protocol=replace(alone, max_time_s=len(chosen) * alone.max_time_s, give_up_s=len(chosen) * alone.give_up_s),
            on_round=lambda done: bars.update(task, completed=done),
        )
    timed = (
        replace(one, trial=one.trial.model_copy(update={"latency": measured.latencies[str(one.trial.number)]}))
        for one in chosen
    )
    return sorted(timed, key=lambda one: one.fastest_ms)


def best_within(networks: Iterable[Contender], limit_ms: float) -> Contender | None:
    """Return the network of the best PSNR of those that are fast enough."""
    return max((one for one in networks if one.fastest_ms <= limit_ms), key=lambda one: one.psnr_y_db, default=None)


def fastest_of(networks: Iterable[Contender], least_db: float) -> Contender | None:
    """Return the fastest network of those that are good enough."""
    return min((one for one in networks if one.psnr_y_db >= least_db), key=lambda one: one.fastest_ms, default=None)


def shown(fought: Duel | None) -> str:
    """Return a difference with its interval."""
    if fought is None:
        return "none is as fast"
    gap = fought.difference
    return f"{gap.mean_db:+.2f} ({gap.low_db:+.2f} to {gap.high_db:+.2f})"


def is_ahead(one: Contender, humans: Sequence[Contender]) -> bool:
    """Return whether a network is better than every human design at its latency, or faster at its PSNR."""
    rival = best_within(humans, one.fastest_ms)
    if rival is None:
        return False
    gap = duel(one, rival).difference
    equal = fastest_of(humans, one.psnr_y_db)
    is_better = gap.mean_db >= AHEAD_DB and gap.low_db > 0
    return is_better or (equal is not None and one.fastest_ms <= (1 - AHEAD_SHARE) * equal.fastest_ms)


def print_designs(searched: Sequence[Contender], humans: Sequence[Contender]) -> None:
    """Print each human design beside what was found."""
    print("| design | ms | PSNR-Y dB | found, at most as slow: dB | found, at least as good: ms |")
    print("|---|---|---|---|---|")
    for human in humans:
        better, quicker = best_within(searched, human.fastest_ms), fastest_of(searched, human.psnr_y_db)
        gain = shown(duel(better, human) if better else None)
        saved = f"{quicker.fastest_ms:.2f} ({quicker.fastest_ms / human.fastest_ms - 1:+.0%})" if quicker else "none"
        print(f"| {human.trial.design} | {human.fastest_ms:.2f} | {human.psnr_y_db:.2f} | {gain} | {saved} |")


def print_front(networks: Sequence[Contender], humans: Sequence[Contender]) -> None:
    """Print the members of the front, and how many of the searched ones are ahead of every human design."""
    front = non_dominated([(one.psnr_y_db, one.fastest_ms) for one in networks])
    members = [one for one, is_on in zip(networks, front, strict=True) if is_on]
    print("\n| front | ms | PSNR-Y dB | seeds | over the best human design as fast: dB | ahead |")
    print("|---|---|---|---|---|---|")
    for one in members:
        rival = best_within(humans, one.fastest_ms)
        gain = "" if one.trial.design else shown(duel(one, rival)) if rival else "none is as fast"
        ahead = "" if one.trial.design else "yes" if is_ahead(one, humans) else "no"
        name = one.trial.design or f"`{one.trial.architecture}`"
        figures = f"{one.fastest_ms:.2f} | {one.psnr_y_db:.2f} | {len(one.qualities)}"
        print(f"| #{one.trial.number} {name} | {figures} | {gain} | {ahead} |")
    searched = [one for one in members if not one.trial.design]
    ahead_of = sum(is_ahead(one, humans) for one in searched)
    print(f"\n{len(searched)} of {len(members)} members of the front were searched, {ahead_of} are ahead")


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


def volume(curve: Sequence[CurvePoint], seconds: float) -> float:
    """Return the hypervolume after so many seconds."""
    return max((point.hypervolume for point in curve if point.seconds <= seconds), default=0.0)


def print_volumes(known: Snapshot, rivals: Sequence[Snapshot]) -> None:
    """Print the hypervolume beside that of random search after equal time."""
    assert known.study
    curves = [hypervolume_curve(known.study, without_pauses(one.records)) for one in (known, *rivals)]
    seconds = min(curve[-1].seconds for curve in curves)
    ours, *theirs = (volume(curve, seconds) for curve in curves)
    ratios = [ours / one for one in theirs if one]
    print(f"\nhypervolume after {seconds / 60:.0f} min: {ours:.3f}, random {', '.join(f'{one:.3f}' for one in theirs)}")
    if ratios:
        print(f"ours/random {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--time", action="store_true", help="time all anew in the same rounds")
    parser.add_argument("--random", nargs="*", default=[], metavar="STUDY", help="studies by random search")
    given = parser.parse_args()
    workspace = Workspace(given.workspace)
    known = snapshot(workspace, given.study)
    networks = timed_together(known, contenders(known)) if given.time else contenders(known)
    humans = [one for one in networks if one.trial.design]
    print_designs([one for one in networks if not one.trial.design], humans)
    print_front(networks, humans)
    if given.random:
        print_volumes(known, [snapshot(workspace, name) for name in given.random])


if __name__ == "__main__":
    main()
