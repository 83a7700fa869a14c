"""Is what a search found better than what people draw? A study against its human designs.

Each human or published design of the study stands beside the searched network of the best PSNR that is at most as slow,
and beside the fastest searched network of at least its PSNR. Differences in PSNR are paired by photograph, over all
seeds that were trained. Members of the front are ahead where they are better by 0.1 dB at equal latency beyond the
interval, or 20 % faster than every human design that they are not better than beyond the interval. What is faster than
every human design is compared with none.

Latencies are those of the end of the study, where the front and the human designs were timed in the same rounds. With
``--retimed`` they are those that ``srnas retime STUDY`` gave on another day or device.

With ``--test`` the human designs, what stands beside them and the front are judged on other photographs as well, in
float32, with the weights that the workspace keeps.

    python benchmarks/proof.py STUDY [--workspace WORKSPACE] [--retimed RETIMED] [--test FOLDER ...]
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from scipy.stats import kendalltau

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.rank.front import non_dominated
from srnas.leaderboard.rank.picking import Contender, Duel, duel
from srnas.leaderboard.record.timed_quality import as_ranked, qualities_by_seed, replicates_as_ranked
from srnas.nas.cli.boundary import told_errors
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import load_pairs
from srnas.nas.run.request import DEFAULT_WORKSPACE
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.studies import load_snapshot
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space.checkpoints import load_network

AHEAD_DB, AHEAD_SHARE = 0.1, 0.2


def contenders(known: Snapshot) -> list[Contender]:
    """Return the trained networks of a study with the qualities of all their seeds, by rising latency."""
    assert known.study is not None
    records = as_ranked(known.study, known.records)
    qualities = qualities_by_seed(records, replicates_as_ranked(known.study, known.replicates))
    found = [Contender(record, tuple(qualities[record.number])) for record in records if record.point]
    return sorted(found, key=lambda one: one.fastest_ms)


def timed_as(networks: Sequence[Contender], retimed: Board) -> list[Contender]:
    """Return the networks of a retimed study with its latencies, by rising latency."""
    fastest_ms = retimed.rows.set_index("trial")["latency_fastest_ms"].to_dict()
    found = []
    for one in networks:
        if one.trial.number in fastest_ms and one.trial.latency:
            latency = replace(one.trial.latency, fastest_ms=fastest_ms[one.trial.number])
            found.append(replace(one, trial=one.trial.model_copy(update={"latency": latency})))
    return sorted(found, key=lambda one: one.fastest_ms)


def front_of(networks: Sequence[Contender]) -> list[Contender]:
    """Return the non-dominated networks, by rising latency."""
    front = non_dominated([(one.psnr_y_db, one.fastest_ms) for one in networks])
    return [one for one, is_on in zip(networks, front, strict=True) if is_on]


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
    """Return whether a network is ahead of the human designs.

    It is if it is better than all that are as fast, or faster than all that it is not better than.
    """
    rival = best_within(humans, one.fastest_ms)
    if rival is None:
        return False
    gap = duel(one, rival).difference
    equal_ms = [human.fastest_ms for human in humans if duel(one, human).difference.low_db <= 0]
    is_better = gap.mean_db >= AHEAD_DB and gap.low_db > 0
    return is_better or one.fastest_ms <= (1 - AHEAD_SHARE) * min(equal_ms, default=0)


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
    members = front_of(networks)
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


def on_test_set(workspace: Workspace, networks: Sequence[Contender], folder: Path) -> list[Contender]:
    """Return the networks with the qualities of their first seed on another set; a folder HR may hold its photographs.

    Networks whose weights are not kept are left out.

    Raises:
        SystemExit: If no weights are kept.
    """
    scale = networks[0].trial.architecture.scale
    pairs = load_pairs(folder, scale, min_size=max(one.trial.architecture.min_size for one in networks)).pairs
    judged = []
    with Progress(console=Console(stderr=True), transient=True) as bars:
        for one in bars.track(networks, description=folder.name):
            architecture, weights = one.trial.architecture, workspace.weights(one.trial)
            if not weights.is_file():
                continue
            network = load_network(architecture, weights).deploy()
            quality = evaluate(network, pairs, scale, torch.device("cpu"), with_ssim=False)
            judged.append(replace(one, qualities=(quality,)))
    if not judged:
        raise SystemExit(f"workspace '{workspace}' must keep weights of the study's networks, but it keeps none.")
    return judged


def print_test_set(name: str, judged: Sequence[Contender], networks: Sequence[Contender]) -> None:
    """Print what the networks that the validation set prefers are better by on another set."""
    on_it = {one.trial.number: one for one in judged}
    ranked = [one for one in networks if one.trial.number in on_it]
    searched = [one for one in ranked if not one.trial.design]
    tau = kendalltau([one.psnr_y_db for one in ranked], [on_it[one.trial.number].psnr_y_db for one in ranked]).statistic
    photographs = len(judged[0].qualities[0].psnr_y_db)
    kept = f"{len(judged)} of {len(networks)} networks have weights"
    print(f"\n{name}: {photographs} photographs, {kept}, tau with the validation set {tau:.2f}\n")
    print("| design | PSNR-Y dB | found, at most as slow | PSNR-Y dB | difference |")
    print("|---|---|---|---|---|")
    for human in (one for one in ranked if one.trial.design):
        rival, tested = best_within(searched, human.fastest_ms), on_it[human.trial.number]
        found = on_it[rival.trial.number] if rival else None
        figures = f"#{found.trial.number} | {found.psnr_y_db:.2f}" if found else " | "
        gap = shown(duel(found, tested) if found else None)
        print(f"| {human.trial.design} | {tested.psnr_y_db:.2f} | {figures} | {gap} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--workspace", type=Path, default=DEFAULT_WORKSPACE)
    parser.add_argument("--retimed", metavar="STUDY", help="a study by 'srnas retime', whose latencies are taken")
    parser.add_argument("--test", type=Path, nargs="*", default=[], metavar="FOLDER", help="photographs to test on")
    given = parser.parse_args()
    workspace = Workspace(given.workspace)
    known = load_snapshot(workspace, given.study)
    if known.joint is None and not given.retimed:
        print("the study has not ended with a joint timing: each latency is of another moment\n")
    networks = contenders(known)
    if given.retimed:
        retimed = load_board(workspace, given.retimed)
        if retimed.study.retimed_from != given.study:
            parser.error(f"--retimed must be a study by 'srnas retime {given.study}', but got '{given.retimed}'")
        trained, networks = len(networks), timed_as(networks, retimed)
        print(f"{len(networks)} of the {trained} networks were timed again, and the others are left out\n")
    if not networks:
        raise SystemExit(f"study '{given.study}' must hold networks that were trained to the end, but holds none.")
    humans = [one for one in networks if one.trial.design]
    searched = [one for one in networks if not one.trial.design]
    print_designs(searched, humans)
    print_front(networks, humans)
    found = [one for human in humans if (one := best_within(searched, human.fastest_ms))]
    chosen = {one.trial.number for one in (*humans, *found, *front_of(networks))}
    tested = [one for one in networks if one.trial.number in chosen]
    for folder in given.test:
        print_test_set(folder.name, on_test_set(workspace, tested, folder), tested)


if __name__ == "__main__":
    with told_errors("proof.py"):
        main()
