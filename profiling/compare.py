"""Two networks or two targets, paired: timed in the same rounds, in several fresh processes, with a plain verdict.

Within one process the memory layout of the day is part of every sample, so that an interval of one process promises too
much. The verdict holds only where every process agrees.
"""

import multiprocessing
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

from srnas.profiling.counting import InputShape
from srnas.profiling.device import DeviceProfile, Target
from srnas.profiling.latency import measure_latency
from srnas.profiling.measurement import Latency
from srnas.profiling.order_statistics import Interval, median_interval
from srnas.profiling.rounds import LatencyProtocol
from srnas.search_space import Architecture, Network

# What the second side is, beside the first.
Verdict = Literal["faster", "slower", "tie"]


@dataclass(frozen=True)
class Side:
    """One of the two: an architecture on a target, at an input."""

    architecture: Architecture
    target: Target
    input_shape: InputShape


@dataclass(frozen=True)
class Ratio:
    """Latency of the second side over that of the first: the median over rounds, with its 95 % interval."""

    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What the second side is, beside the first."""
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "tie"


@dataclass(frozen=True)
class Comparison:
    """What all processes say.

    Attributes:
        processes: The ratio in each process.
        latencies: Latencies of both sides, in each process.
        devices: Device profiles of both sides.
    """

    processes: tuple[Ratio, ...]
    latencies: tuple[tuple[Latency, Latency], ...]
    devices: tuple[DeviceProfile, DeviceProfile]

    @property
    def overall(self) -> Ratio:
        """The median ratio of the processes, within the least interval that holds all of theirs."""
        return combine(self.processes)


def combine(ratios: Sequence[Ratio]) -> Ratio:
    """Return the median ratio, within the least interval that holds the interval of each."""
    return Ratio(statistics.median(r.ratio for r in ratios), min(r.low for r in ratios), max(r.high for r in ratios))


def paired_ratio(first_ms: Sequence[float], second_ms: Sequence[float], kept: Sequence[int]) -> Ratio:
    """Return the ratio of two subjects over the rounds that are kept."""
    ratios = [second_ms[number] / first_ms[number] for number in kept]
    interval: Interval = median_interval(ratios)
    return Ratio(statistics.median(ratios), *interval)


def compare(
    first: Side,
    second: Side,
    *,
    processes: int = 3,
    protocol: LatencyProtocol | None = None,
    on_process: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Time both sides, interleaved, in fresh processes one after the other.

    Args:
        first: What the ratio is relative to.
        second: What is compared with it.
        processes: How many; with fewer than 3 the layout of a process's memory may decide.
        protocol: Rules of the measurement; by default those of the device.
        on_process: Told of the number of processes that are done.

    Raises:
        InputError: If the sides are on different devices, or a runtime cannot run one.
        DeviceBusyError: If another process holds the device for too long.
    """
    found = []
    context = multiprocessing.get_context("spawn")
    for number in range(processes):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(_compare_once, first, second, protocol, number).result())
        on_process(number + 1)
    ratios, latencies, devices = zip(*found, strict=True)
    return Comparison(ratios, latencies, devices[0])


def _compare_once(
    first: Side, second: Side, protocol: LatencyProtocol | None, seed: int
) -> tuple[Ratio, tuple[Latency, Latency], tuple[DeviceProfile, DeviceProfile]]:
    sides = {"first": first, "second": second}
    names = random.Random(seed).sample(list(sides), 2)  # The one that is built first may get the better memory.
    measured = measure_latency(
        {name: Network(sides[name].architecture).deploy() for name in names},
        {name: sides[name].input_shape for name in names},
        {name: sides[name].target for name in names},
        protocol=protocol,
        seed=seed,
    )
    a, b = measured.latencies["first"], measured.latencies["second"]
    ratio = paired_ratio(a.rounds_ms, b.rounds_ms, a.kept)
    return ratio, (a, b), (measured.devices["first"], measured.devices["second"])
