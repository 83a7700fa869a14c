"""What samplers find on the embedded photographs in the same wall time: ``front`` with rungs beside the baselines.

Each run is a fresh ``srnas search`` in a workspace of its own, interrupted after ``--seconds``; the samplers take turns
within each seed, so that what else the machine does meets all of them. All trials of a run that were finished by then
count, human designs included, which every sampler tries first. One reference point holds for all: bicubic's PSNR, and
the greatest latency of what any run has trained to the end.

    python benchmarks/search.py [--seconds 300] [--seeds 3] [--samplers front,gp] [--json] [-- --scale 2 ...]
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from srnas.leaderboard.rank.front import hypervolume, non_dominated
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.cli.boundary import told_errors
from srnas.nas.strategy.samplers import BASELINES, FRONT, check_sampler
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace

_STUDY = "race"
_ENDLESS = 1000
_PROGRAM = (sys.executable, "-c", "from srnas.nas.cli import main; main()")


def run(sampler: str, seed: int, seconds: float, trials: int, options: list[str]) -> tuple[float, list[TrialRecord]]:
    """Return bicubic's PSNR and the finished trials of a search that is interrupted after a while."""
    rungs = "halving" if sampler == FRONT else "none"
    with tempfile.TemporaryDirectory() as folder:
        given = f"--sampler {sampler} --rungs {rungs} --seed {seed} --trials {trials} --study {_STUDY}".split()
        process = subprocess.Popen(
            [*_PROGRAM, "search", *given, "--workspace", folder, "--workers", "1", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said = process.communicate(timeout=seconds if math.isfinite(seconds) else None)[1]
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()
        else:
            if process.returncode or trials == _ENDLESS:
                raise SystemExit(f"the search with {sampler} must last {seconds} s, but it ended:\n{said}")
        _, study, records = load_study(Workspace(Path(folder)), _STUDY)
        return study.reference_psnr_y_db, records


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="of each search; inf: until its trials are judged")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=_ENDLESS, help="after which a search ends before its time")
    parser.add_argument("--samplers", default=",".join((FRONT, *BASELINES)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("options", nargs="*", help="of srnas search, after --")
    given = parser.parse_args()
    names, console = given.samplers.split(","), Console()
    for name in names:
        check_sampler(name)
    found: dict[str, list[list[TrialRecord]]] = {name: [] for name in names}
    bicubic_db = 0.0
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("runs", total=len(names) * given.seeds)
        for seed in range(given.seeds):
            for name in names:
                bars.update(task, description=f"seed {seed} {name}")
                bicubic_db, records = run(name, seed, given.seconds, given.trials, given.options)
                found[name].append(records)
                points_found = [record.point for record in records if record.point]
                bars.console.print(f"seed {seed} {name}: {sorted(points_found, key=lambda point: point[1])}")
                bars.advance(task)
    points = {name: [[r.point for r in one if r.point] for one in runs] for name, runs in found.items()}
    latencies = [latency for runs in points.values() for one in runs for _, latency in one]
    if not latencies:
        raise SystemExit(f"some trial must be trained to the end, but none was within {given.seconds:g} s.")
    reference = bicubic_db, max(latencies)
    rows: list[dict[str, Any]] = [
        {
            "sampler": name,
            "trials": [len(records) for records in found[name]],
            "trained": [len(one) for one in runs],
            "front": [sum(non_dominated(one)) for one in runs],
            "hypervolume": [hypervolume(one, reference) for one in runs],
        }
        for name, runs in points.items()
    ]
    first = statistics.fmean(rows[0]["hypervolume"])
    if given.json:
        print(json.dumps({"reference": reference, "rows": rows}, indent=2))
        return
    table = Table(
        title=f"{given.seconds:g} s of search, {given.seeds} seeds; hypervolume in dB x ln(ms) against "
        f"({reference[0]:.2f} dB, {reference[1]:.1f} ms)"
    )
    for head in ("sampler", "trials", "trained to the end", "front", "hypervolume", "mean", f"{names[0]} / it"):
        table.add_column(head, justify="left" if head == "sampler" else "right")
    for row in rows:
        mean = statistics.fmean(row["hypervolume"])
        lists = [" ".join(map(str, row[key])) for key in ("trials", "trained", "front")]
        volumes = " ".join(f"{volume:.3f}" for volume in row["hypervolume"])
        table.add_row(row["sampler"], *lists, volumes, f"{mean:.3f}", f"{first / mean:.3f}" if mean else "")
    console.print(table)


if __name__ == "__main__":
    with told_errors("search.py"):
        main()
