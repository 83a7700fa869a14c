"""How much faster several workers are than one, on simulated trials that only wait.

What is left is what workers cost each other: claims under a lock, proposals, the storage and MLflow. The rate is that
of a whole study, from the start of its first trial to the end of its last; one worker and several do the same study in
turns, since a proposal takes longer the more is known.

    python benchmarks/workers.py [--workers 4] [--trials 48] [--seconds 1] [--storage postgresql://USER@HOST/DATABASE]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from srnas.leaderboard.store.store import Store
from srnas.nas.cli.boundary import told_errors
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nas"))
from simulated import nursery

_POLL_S = 0.2


def rate(number: int, trials: int, seconds: float, sampler: str, storage: str | None) -> float:
    """Return the trials per second of a fresh study with so many workers."""
    name = f"workers-{time.time_ns()}"
    with tempfile.TemporaryDirectory() as folder:
        url = Workspace(Path(folder)).study_url(name, storage)
        Store(Path(folder))  # Made once, whoever works.
        with nursery(url, folder, name, "tiny", trials, seconds, sampler) as start:
            workers = [start() for _ in range(number)]
            while any(map(psutil.pid_exists, workers)):
                time.sleep(_POLL_S)
        _, _, records = load_study(Workspace(Path(folder)), name, storage)
    elapsed_ms = max(record.ended_ms for record in records) - min(record.started_ms for record in records)
    return len(records) / elapsed_ms * 1e3


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=48, help="of a study")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samplers", default="front,random")
    parser.add_argument("--storage", help="default: SQLite in a temporary folder")
    given = parser.parse_args()
    table = Table(title=f"Trials of {given.seconds:g} s per second, median of {given.rounds} rounds")
    for head in ("storage", "sampler", "one worker", f"{given.workers} workers", "ratio (least)"):
        table.add_column(head)
    samplers = given.samplers.split(",")
    rounds = [(sampler, turn) for sampler in samplers for turn in range(given.rounds)]
    found: dict[str, list[tuple[float, float]]] = {sampler: [] for sampler in samplers}
    for sampler, _ in track(rounds, console=Console(stderr=True), transient=True):
        few, many = (rate(number, given.trials, given.seconds, sampler, given.storage) for number in (1, given.workers))
        found[sampler].append((few, many))
    for sampler, rates in found.items():
        few, many = (statistics.median(column) for column in zip(*rates, strict=True))
        ratios = [b / a for a, b in rates]
        storage = "PostgreSQL" if given.storage else "SQLite"
        row = f"{few:.3f}", f"{many:.3f}", f"{statistics.median(ratios):.2f} ({min(ratios):.2f})"
        table.add_row(storage, sampler, *row)
    Console().print(table)


if __name__ == "__main__":
    with told_errors("workers.py"):
        main()
