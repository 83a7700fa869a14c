"""Latency as a distribution: warm-up to a steady state, interleaved rounds with a reference, an interval.

A round times every network and a fixed reference convolution once, in random order; the round is the unit of
replication. The median over rounds carries a 95 % confidence interval. The fastest round is the statistic that
repeats best on a shared machine, and the one that a search ranks by.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

import torch
from torch import nn

from srnas.profiling.counting import InputShape, check_input_shape
from srnas.profiling.device import DeviceProfile, describe_device, measuring_context
from srnas.profiling.lease import device_lease

REFERENCE = "reference"
REFERENCE_SHAPE: InputShape = (1, 48, 64, 64)

# Fewer rounds than this are no distribution.
MIN_SAMPLES = 3

# A burst is timed with this many calls at most, so that one round stays short.
_MAX_BURST = 64

Timer = Callable[[int], Sequence[float]]
"""Runs a network so many times and returns the duration of each call in milliseconds."""


@dataclass(frozen=True)
class LatencyProtocol:
    """When a measurement is steady, how long it goes on, and what disturbs it.

    Attributes:
        warmup_min_s: Least warm-up time.
        warmup_cap_s: Longest warm-up; a network that is not steady then is flagged ``unsteady``.
        window_calls: Calls per warm-up window.
        window_tolerance: Two consecutive windows' medians must agree within this share.
        burst_ms: Time of one network in one round; at least one call.
        min_rounds: Least number of rounds.
        max_rounds: Greatest number of rounds.
        max_time_s: No round starts after this time, once ``min_rounds`` are done.
        give_up_s: No round starts after this time, once ``MIN_SAMPLES`` are done.
        interval: Rounds stop when every interval is within this share of its median.
        reference_tolerance: A round whose reference is further from its median is disturbed.
        disturbed_share: With a greater share of disturbed rounds the measurement is flagged ``disturbed``.
    """

    warmup_min_s: float = 0.3
    warmup_cap_s: float = 5.0
    window_calls: int = 32
    window_tolerance: float = 0.005
    burst_ms: float = 5.0
    min_rounds: int = 12
    max_rounds: int = 60
    max_time_s: float = 60.0
    give_up_s: float = 120.0
    interval: float = 0.01
    reference_tolerance: float = 0.03
    disturbed_share: float = 0.25


CUDA_PROTOCOL = LatencyProtocol()
CPU_PROTOCOL = replace(
    CUDA_PROTOCOL,
    warmup_cap_s=1.0,
    window_calls=8,
    window_tolerance=0.03,
    max_time_s=2.0,
    give_up_s=20.0,
    reference_tolerance=0.1,
)


@dataclass(frozen=True)
class Latency:
    """The distribution of a network's latency over rounds, in milliseconds.

    Attributes:
        latency_ms: Median over rounds.
        low_ms: Lower end of the median's 95 % confidence interval.
        high_ms: Upper end of it.
        stable_ms: The fastest round: what a search ranks by.
        reference_ratio: Fastest round over the reference's fastest round of the same rounds.
        first_call_ms: The first call, with lazy initialisation; in no other figure.
        rounds_ms: The figure of each round (median of its burst).
        reference_rounds_ms: The reference's figure of each round.
        flags: ``unsteady``, ``disturbed``, ``wide`` (interval beyond the protocol's), or nothing.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    stable_ms: float
    reference_ratio: float
    first_call_ms: float
    rounds_ms: tuple[float, ...]
    reference_rounds_ms: tuple[float, ...]
    flags: tuple[str, ...]


def measure_latency(
    networks: Mapping[str, nn.Module],
    input_shape: InputShape,
    device: torch.device,
    *,
    threads: int = 1,
    protocol: LatencyProtocol | None = None,
    seed: int = 0,
) -> tuple[dict[str, Latency], DeviceProfile]:
    """Time forward passes of ``networks``, interleaved, on ``device``.

    Args:
        networks: In eval mode and deploy form, on ``device``; they are not changed.
        input_shape: ``(B, C, H, W)`` of the input of every network.
        device: A CPU or a CUDA device.
        threads: CPU threads; 1 is the comparable figure, all cores the practical one.
        protocol: ``CPU_PROTOCOL`` or ``CUDA_PROTOCOL`` by default.
        seed: Of the order within the rounds.

    Raises:
        InputError: If ``input_shape`` is not four positive integers.
        DeviceBusyError: If another process measures on this device for longer than the lease's timeout.
    """
    check_input_shape(input_shape)
    protocol = protocol or (CUDA_PROTOCOL if device.type == "cuda" else CPU_PROTOCOL)
    reference = nn.Conv2d(REFERENCE_SHAPE[1], REFERENCE_SHAPE[1], 3, padding=1).to(device).eval()
    with device_lease(device), measuring_context(device, threads):
        timers = {name: make_timer(network, input_shape, device) for name, network in networks.items()}
        timers[REFERENCE] = make_timer(reference, REFERENCE_SHAPE, device)
        return measure_rounds(timers, protocol, random.Random(seed)), describe_device(device, threads)


def make_timer(network: nn.Module, input_shape: InputShape, device: torch.device) -> Timer:
    """Return a timer of ``network``: CUDA events queued behind one another, or ``perf_counter_ns`` on a CPU."""
    x = torch.rand(input_shape, device=device)

    def time_on_cpu(calls: int) -> list[float]:
        durations = []
        for _ in range(calls):
            start = time.perf_counter_ns()
            network(x)
            durations.append((time.perf_counter_ns() - start) / 1e6)
        return durations

    def time_on_cuda(calls: int) -> list[float]:
        pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(calls)]
        torch.cuda.synchronize(device)
        # Launches queue behind this sleep (about 1 ms), so that the host's pace is not measured.
        torch.cuda._sleep(2_000_000)
        for start, end in pairs:
            start.record()
            network(x)
            end.record()
        torch.cuda.synchronize(device)
        return [start.elapsed_time(end) for start, end in pairs]

    return time_on_cuda if device.type == "cuda" else time_on_cpu


def measure_rounds(timers: Mapping[str, Timer], protocol: LatencyProtocol, rng: random.Random) -> dict[str, Latency]:
    """Warm the timers up, run the rounds, and return a latency for each timer but the reference."""
    first = {name: timer(1)[0] for name, timer in timers.items()}
    warm = {name: _warm_up(timer, first[name], protocol) for name, timer in timers.items()}
    burst = {name: max(1, min(_MAX_BURST, int(protocol.burst_ms / ms))) for name, (ms, _) in warm.items()}
    rounds: dict[str, list[float]] = {name: [] for name in timers}
    started = time.monotonic()
    for number in range(protocol.max_rounds):
        elapsed = time.monotonic() - started
        enough = number >= protocol.min_rounds
        if enough and (elapsed > protocol.max_time_s or _settled(rounds, protocol)):
            break
        if number >= MIN_SAMPLES and elapsed > protocol.give_up_s:
            break
        for name in rng.sample(list(timers), len(timers)):
            rounds[name].append(statistics.median(timers[name](burst[name])))
    return {
        name: _summarise(rounds[name], rounds[REFERENCE], first[name], warm[name][1], protocol)
        for name in timers
        if name != REFERENCE
    }


def _warm_up(timer: Timer, first_ms: float, protocol: LatencyProtocol) -> tuple[float, bool]:
    """Return the last window's median in milliseconds, and whether two windows agreed."""
    started = time.monotonic()
    calls = max(1, min(protocol.window_calls, int(protocol.warmup_cap_s * 1000 / 2 / first_ms)))
    previous = statistics.median(timer(calls))
    while True:
        current = statistics.median(timer(calls))
        elapsed = time.monotonic() - started
        agreed = abs(current - previous) <= protocol.window_tolerance * previous
        if (agreed and elapsed >= protocol.warmup_min_s) or elapsed >= protocol.warmup_cap_s:
            return current, agreed
        previous = current


def _settled(rounds: Mapping[str, Sequence[float]], protocol: LatencyProtocol) -> bool:
    return all(_is_narrow(samples, protocol) for samples in rounds.values())


def _is_narrow(samples: Sequence[float], protocol: LatencyProtocol) -> bool:
    low, high = median_interval(samples)
    middle = statistics.median(samples)
    return max(high - middle, middle - low) <= protocol.interval * middle


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the distribution-free confidence interval of the median from order statistics.

    The interval ``[x(k), x(n+1-k)]`` covers the median with probability ``1 - 2 P(Bin(n, 1/2) < k)``; the greatest k
    that keeps ``confidence`` is taken. Fewer than 6 samples give their range.

    Reference: Conover, "Practical Nonparametric Statistics", 3rd ed., 1999, section 3.2.
    """
    ordered = sorted(samples)
    n = len(ordered)
    below, k = 0.0, 0
    while k < n // 2 and 2 * (below + comb(n, k) / 2**n) <= 1 - confidence:
        below += comb(n, k) / 2**n
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]


def _summarise(
    samples: Sequence[float], reference: Sequence[float], first: float, steady: bool, protocol: LatencyProtocol
) -> Latency:
    low, high = median_interval(samples)
    middle = statistics.median(reference)
    off = sum(abs(value - middle) > protocol.reference_tolerance * middle for value in reference) / len(reference)
    flags = {
        "unsteady": not steady,
        "disturbed": off > protocol.disturbed_share,
        "wide": not _is_narrow(samples, protocol),
    }
    return Latency(
        latency_ms=statistics.median(samples),
        low_ms=low,
        high_ms=high,
        stable_ms=min(samples),
        reference_ratio=min(samples) / min(reference),
        first_call_ms=first,
        rounds_ms=tuple(samples),
        reference_rounds_ms=tuple(reference),
        flags=tuple(name for name, raised in flags.items() if raised),
    )
