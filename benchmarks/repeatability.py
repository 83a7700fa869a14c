"""How well the figure of a block repeats from one process to the next: ours beside two usual ways to time.

Ten blocks are timed in fresh processes, by each way in turn within the same time, once on a quiet machine and once
beside a process that keeps one core busy. Printed are, over the processes, the coefficient of variation of the reported
figure (mean over the blocks), that of its ratio to a fixed 3x3 convolution timed by the same way in the same process
(relative CV), and Kendall's tau between the rankings of two processes (mean over pairs).
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.utils import benchmark

from srnas.nas.cli.boundary import told_errors
from srnas.profiling import CPU_PROTOCOL, Target, describe_device, measure_latency
from srnas.profiling.latency import REFERENCE_SHAPE
from srnas.profiling.statistics import kendall_tau
from srnas.search_space import build_block
from srnas.search_space.registry import fold_all

BLOCKS = ("lia", "aab", "mlka", "psa_parallel", "cbam", "se", "sk", "pa", "lkat", "gsau")
CHANNELS = 24
REFERENCE = "reference"
GOALS = {"quiet": "relative CV at most 3 %, tau at least .98", "loaded": "relative CV at most 7 %, tau at least .98"}
# Keeps one core, its share of the caches and of the memory busy, as another experiment would.
COMPETITOR = """
import torch
torch.set_num_threads(1)
convolution, x = torch.nn.Conv2d(48, 48, 3), torch.rand(1, 48, 256, 256)
while True:
    convolution(x)
"""

Figures = dict[str, float]


def modules() -> dict[str, torch.nn.Module]:
    """Return the blocks in deploy form."""
    return {name: fold_all(build_block(name, CHANNELS).eval()) for name in BLOCKS}


def _runs(side: int) -> Mapping[str, Callable[[], object]]:
    x = torch.rand(1, CHANNELS, side, side)
    reference, y = (
        torch.nn.Conv2d(REFERENCE_SHAPE[1], REFERENCE_SHAPE[1], 3, padding=1).eval(),
        torch.rand(REFERENCE_SHAPE),
    )
    runs: dict[str, Callable[[], object]] = {name: (lambda m=m: m(x)) for name, m in modules().items()}
    return {**runs, REFERENCE: lambda: reference(y)}


def ours(budget_s: float, side: int) -> Figures:
    """Interleaved rounds until the time is up; the fastest round."""
    warmup = 0.02 * budget_s
    protocol = replace(
        CPU_PROTOCOL, warmup_min_s=warmup / 3, warmup_cap_s=warmup, interval=0.0, max_rounds=10**6,
        max_time_s=0.75 * budget_s, give_up_s=0.75 * budget_s,
    )  # fmt: skip
    seed = int.from_bytes(os.urandom(2))
    measured = measure_latency(modules(), (1, CHANNELS, side, side), Target(), protocol=protocol, seed=seed)
    found = {name: latency.fastest_ms for name, latency in measured.latencies.items()}
    latency = measured.latencies[BLOCKS[0]]
    return {**found, REFERENCE: latency.fastest_ms / latency.reference_ratio}


def blocked_autorange(budget_s: float, side: int) -> Figures:
    """The median of ``torch.utils.benchmark``."""
    share = budget_s / (len(BLOCKS) + 1)
    timers = {name: benchmark.Timer("run()", globals={"run": run}, num_threads=1) for name, run in _runs(side).items()}
    return {name: timer.blocked_autorange(min_run_time=share).median * 1e3 for name, timer in timers.items()}


def plain_mean(budget_s: float, side: int) -> Figures:
    """The mean of 100 calls, and of 100 more while there is time."""
    share = budget_s / (len(BLOCKS) + 1)
    found = {}
    for name, run in _runs(side).items():
        started, calls = time.perf_counter(), 0
        while not calls or time.perf_counter() - started < share:
            for _ in range(100):
                run()
            calls += 100
        found[name] = (time.perf_counter() - started) / calls * 1e3
    return found


WAYS: dict[str, Callable[[float, int], Figures]] = {
    "ours, fastest round": ours,
    "torch.utils.benchmark": blocked_autorange,
    "mean of 100 calls": plain_mean,
}


def one_process(way: str, budget_s: float, side: int) -> dict[str, Any]:
    """Return the figures of all blocks by one way, and the seconds that they took."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    with torch.inference_mode():
        figures = WAYS[way](budget_s, side)
    return {"figures": figures, "seconds": time.perf_counter() - started}


def fresh_process(way: str, budget_s: float, side: int) -> dict[str, Any]:
    """Return the same of a process that has just started."""
    command = [sys.executable, __file__, "--way", way, "--budget-s", str(budget_s), "--side", str(side)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _variation(values: list[float]) -> float:
    return statistics.stdev(values) / statistics.fmean(values)


def summary(processes: list[Figures]) -> tuple[float, float, float]:
    """Return CV, relative CV and tau over processes."""
    absolute = [_variation([p[name] for p in processes]) for name in BLOCKS]
    relative = [_variation([p[name] / p[REFERENCE] for p in processes]) for name in BLOCKS]
    pairs = itertools.combinations([[p[name] for name in BLOCKS] for p in processes], 2)
    return statistics.fmean(absolute), statistics.fmean(relative), statistics.fmean(kendall_tau(a, b) for a, b in pairs)


def run(condition: str, processes: int, timed: Callable[[str], dict[str, Any]]) -> None:
    """Run all ways in turn and print a line for each."""
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(processes):
        for way in WAYS:
            result = timed(way)
            found[way].append(result["figures"])
            seconds[way].append(result["seconds"])
    print(f"\n{condition} (goal for ours: {GOALS[condition]})")
    print(f"{'':24}{'CV':>8}{'relative CV':>14}{'tau':>8}{'s each':>8}")
    for way, figures in found.items():
        absolute, relative, tau = summary(figures)
        print(f"{way:24}{absolute:8.1%}{relative:14.1%}{tau:8.3f}{statistics.fmean(seconds[way]):8.1f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=7, help="fresh processes for each way")
    parser.add_argument("--budget-s", type=float, default=12.0, help="seconds in each of them")
    parser.add_argument("--side", type=int, default=64, help="of the blocks' input, in pixels")
    parser.add_argument("--smoke", action="store_true", help="time twice in this process: whether it runs, no more")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.processes < 2:
        parser.error(
            f"--processes >= 2 must hold, since their spread is what is printed, but got {arguments.processes}"
        )
    if arguments.way:
        print(json.dumps(one_process(arguments.way, arguments.budget_s, arguments.side)))
        return
    processes = 2 if arguments.smoke else arguments.processes
    print(f"{len(BLOCKS)} blocks, {CHANNELS} channels, {arguments.side}x{arguments.side}, {processes} processes")
    print(f"{describe_device(Target())}, {os.cpu_count()} cores, torch {torch.__version__}")

    def timed(way: str) -> dict[str, Any]:
        if arguments.smoke:
            return one_process(way, 0.01, arguments.side)
        return fresh_process(way, arguments.budget_s, arguments.side)

    run("quiet", processes, timed)
    with subprocess.Popen([sys.executable, "-c", COMPETITOR]) as competitor:
        try:
            time.sleep(0 if arguments.smoke else 5)
            run("loaded", processes, timed)
        finally:
            competitor.kill()


if __name__ == "__main__":
    with told_errors("repeatability.py"):
        main()
