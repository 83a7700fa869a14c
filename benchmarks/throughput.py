"""Candidates per hour of ``srnas search``, beside another version, or this one, with one worker.

Both search the same space from the same photographs for as many trials of equal length, in a new workspace each, in
turns, so that what else the machine does meets both. The time is that of the whole command, from the start of Python to
the figures. Overhead is the share of the workers' time that is not spent in training steps.

    python benchmarks/throughput.py [--baseline PYTHON] [--trials 24] [--rounds 2] [--options "--iterations 400"]

``--baseline`` is the Python of an environment with the other version, which has one worker; without it the baseline is
this version with one worker.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

_PROGRAM = ("-P", "-c", "from srnas.nas.cli import main; main()")


@dataclass(frozen=True)
class Run:
    """One search: its wall time, its number of trials, and the time that they spent in training steps."""

    wall_s: float
    trials: int
    train_s: float
    workers: int

    @property
    def per_hour(self) -> float:
        """Candidates per hour."""
        return 3600 * self.trials / self.wall_s

    @property
    def overhead(self) -> float:
        """What the workers' time holds beside training steps, as a share of it."""
        return 1 - self.train_s / (self.wall_s * self.workers)


def run(python: str, workers: int, trials: int, options: list[str]) -> Run:
    """Search in a workspace of its own; every trial is trained to its end."""
    with tempfile.TemporaryDirectory() as folder:
        asked = ("--workspace", folder, "--trials", str(trials), "--workers", str(workers), "--rungs", "none", "--json")
        command = [python, *_PROGRAM, "search", *asked, *options]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        wall_s = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"a search must end well, but {' '.join(command)} said:\n{done.stderr}")
    rows = json.loads(done.stdout)
    return Run(wall_s, len(rows), sum(row["train_s"] or 0.0 for row in rows), workers)


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", help="Python of the other version")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--options", default="", help="of both searches")
    given = parser.parse_args()
    both = given.options.split()
    ways = {"baseline": (given.baseline or sys.executable, 1), "ours": (sys.executable, given.workers)}
    found: dict[str, list[Run]] = {name: [] for name in ways}
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("searches", total=len(ways) * given.rounds)
        for _ in range(given.rounds):
            for name, (python, workers) in ways.items():
                bars.update(task, description=name)
                found[name].append(run(python, workers, given.trials, both))
                bars.advance(task)
    table = Table(title=f"{given.trials} trials, {given.rounds} rounds in turn: medians")
    for head in ("", "workers", "wall s", "candidates/h", "overhead"):
        table.add_column(head, justify="right" if head else "left")
    for name, runs in found.items():
        wall, rate, overhead = (
            statistics.median(getattr(one, what) for one in runs) for what in ("wall_s", "per_hour", "overhead")
        )
        table.add_row(name, str(runs[0].workers), f"{wall:.0f}", f"{rate:.0f}", f"{overhead:.0%}")
    Console().print(table)
    ratios = [ours.per_hour / theirs.per_hour for ours, theirs in zip(found["ours"], found["baseline"], strict=True)]
    print(f"ours/baseline {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
