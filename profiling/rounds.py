"""The logic of a measurement, apart from any clock: warm-up, interleaved rounds, discarding, stopping.

A round times every subject and a fixed reference once, in random order; the round is the unit of replication. A round
is kept or discarded whole, by rules that are fixed beforehand.

The agent on another machine runs this module as it is: it keeps to Python 3.9.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple, Protocol

from srnas.profiling.order_statistics import median_interval


class Way(Enum):
    """How a network is timed."""

    WARM = "warm"
    ON_DEVICE = "device"
    COLD = "cold"
    REFERENCE = "reference"


class Timed(NamedTuple):
    """What is timed in every round.

    Attributes:
        name: What a user calls the network.
        way: How it is timed: as a caller waits for it, with the caches as the call before left them; as the device
            needs it, without the host's launches; with overwritten caches; or as the fixed reference.
    """

    name: str
    way: Way = Way.WARM


REFERENCE = Timed("reference", Way.REFERENCE)

# Fewer rounds than this are no distribution.
MIN_SAMPLES = 3

# A burst is timed with this many calls at most, so that one round stays short.
_MAX_BURST = 64

# The stop rule looks after so many rounds, as multiples of the least: looking after each would cost coverage, since an
# interval that is narrow by chance would end the measurement.
_LOOKS = (1.0, 1.5, 2.25, 3.375)


@dataclass(frozen=True)
class DeviceState:
    """What the device tells about the time since it was last asked, and the machine; ``None``: they do not tell.

    Attributes:
        clock_mhz: Clock of the processing units.
        throttled: Whether power or heat holds the clock down.
        intruders: Other processes on a GPU; those that are there all the time, as a paused training is, do not count.
        other_load: Share of all CPU cores that other processes have kept busy since they were first asked.
    """

    clock_mhz: float | None = None
    throttled: bool = False
    intruders: int = 0
    other_load: float | None = None


class Bench(Protocol):
    """What is measured and the clock it is measured with."""

    def time(self, subject: Timed, calls: int) -> Sequence[float]:
        """Run a subject a number of times and return the duration of each call in milliseconds."""

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""

    def rest(self, seconds: float) -> None:
        """Let the device idle."""

    def state(self) -> DeviceState:
        """Return what the device tells about the time since the last call."""


@dataclass(frozen=True)
class LatencyProtocol:
    """The rules of a measurement: when it is steady, how long it lasts, and what disturbs it.

    Attributes:
        warmup_min_s: Least warm-up time of each subject.
        warmup_cap_s: Longest warm-up, of three calls at least; a subject that is not steady then is flagged
            ``unsteady``.
        window_calls: Calls per warm-up window.
        window_tolerance: Two consecutive windows' medians must agree within this share.
        device_tolerance: The same for what the device needs, which no other process of the host moves.
        burst_ms: Time of one subject in one round; at least one call.
        gap_ms: Idle time after each burst, so that the load does not lower the clocks.
        min_rounds: Least number of kept rounds, or of rounds once ``max_time_s`` is over.
        max_rounds: Greatest number of rounds, discarded ones included.
        max_time_s: No round starts after this time, once ``min_rounds`` are done.
        give_up_s: No round starts after this time, once ``MIN_SAMPLES`` are done.
        interval: Rounds stop when every interval is within this share of its median.
        clock_tolerance: A round is discarded whose clock is lower than the run's median by more than this share.
        reference_tolerance: A round is discarded whose reference is further from its median than this share.
        discarded_share: With a greater share of discarded rounds the run is invalid, and flagged.
        other_load: Others keep a greater share of the cores busy on average: the measurement is ``disturbed``.
    """

    warmup_min_s: float = 0.3
    warmup_cap_s: float = 5.0
    window_calls: int = 32
    window_tolerance: float = 0.03
    device_tolerance: float = 0.005
    burst_ms: float = 5.0
    gap_ms: float = 2.0
    min_rounds: int = 12
    max_rounds: int = 60
    max_time_s: float = 60.0
    give_up_s: float = 120.0
    interval: float = 0.01
    clock_tolerance: float = 0.03
    reference_tolerance: float = 0.03
    discarded_share: float = 0.25
    other_load: float = 0.25


CUDA_PROTOCOL = LatencyProtocol()
CPU_PROTOCOL = replace(
    CUDA_PROTOCOL,
    warmup_cap_s=1.0,
    window_calls=8,
    gap_ms=0.0,
    max_time_s=2.0,
    give_up_s=20.0,
    reference_tolerance=0.1,
)


@dataclass(frozen=True)
class Rounds:
    """What a run of rounds gave, raw.

    Attributes:
        steady: Whether each subject reached a steady state in its warm-up.
        calls_ms: For each subject, the durations of its calls, round by round.
        states: What the device told after each round.
        uncaptured: Names of networks that a CUDA device cannot be given as a graph.
    """

    steady: Mapping[Timed, bool]
    calls_ms: Mapping[Timed, list[tuple[float, ...]]] = field(default_factory=dict)
    states: list[DeviceState] = field(default_factory=list)
    uncaptured: frozenset[str] = frozenset()

    def figures_ms(self, subject: Timed) -> list[float]:
        """Return one figure per round: the median of the burst."""
        return [statistics.median(calls) for calls in self.calls_ms[subject]]

    def discarded(self, protocol: LatencyProtocol) -> list[str]:
        """Return, for each round, why it is discarded, or an empty text."""
        reference = self.figures_ms(REFERENCE)
        usual = statistics.median(reference)
        clocks = [state.clock_mhz for state in self.states if state.clock_mhz is not None]
        fewest = min((state.intruders for state in self.states), default=0)
        slowest = (1 - protocol.clock_tolerance) * statistics.median(clocks) if clocks else 0.0
        reasons = []
        for number, state in enumerate(self.states):
            value = reference[number]
            rules = (
                (state.throttled, "throttled"),
                (state.clock_mhz is not None and state.clock_mhz < slowest, "clock"),
                (state.intruders > fewest, "process"),
                (abs(value - usual) > protocol.reference_tolerance * usual, "reference"),
            )
            reasons.append(next((reason for broken, reason in rules if broken), ""))
        return reasons

    def kept(self, protocol: LatencyProtocol) -> list[int]:
        """Return the numbers of the rounds that count."""
        return kept_rounds(self.discarded(protocol))


def kept_rounds(reasons: Sequence[str]) -> list[int]:
    """Return the numbers of the rounds without a reason to discard them; all of them where too few would be left."""
    kept = [number for number, reason in enumerate(reasons) if not reason]
    return kept if len(kept) >= MIN_SAMPLES else list(range(len(reasons)))


def run_rounds(
    bench: Bench,
    subjects: Iterable[Timed],
    protocol: LatencyProtocol,
    rng: random.Random,
    on_round: Callable[[int], None] = lambda _: None,
) -> Rounds:
    """Warm the subjects and the reference up, and time them round by round until every interval is narrow.

    Args:
        bench: Knows how to run ``subjects`` and ``REFERENCE``.
        subjects: What is timed beside the reference.
        protocol: The rules.
        rng: Draws the order within the rounds.
        on_round: Told of the number of rounds that are done.
    """
    every = [*subjects, REFERENCE]
    warm = {subject: _warm_up(bench, subject, protocol) for subject in every}
    burst = {subject: max(1, min(_MAX_BURST, int(protocol.burst_ms / ms))) for subject, (ms, _) in warm.items()}
    rounds = Rounds({subject: steady for subject, (_, steady) in warm.items()}, {subject: [] for subject in every})
    # Read once and dropped: the load counts from here, without the warm-up.
    bench.state()
    started = bench.now_s()
    while not _is_done(rounds, protocol, bench.now_s() - started):
        for subject in rng.sample(every, len(every)):
            rounds.calls_ms[subject].append(tuple(bench.time(subject, burst[subject])))
            bench.rest(protocol.gap_ms / 1e3)
        rounds.states.append(bench.state())
        on_round(len(rounds.states))
    return rounds


def _warm_up(bench: Bench, subject: Timed, protocol: LatencyProtocol) -> tuple[float, bool]:
    """Return the last window's median in milliseconds, and whether two windows agreed."""
    started = bench.now_s()
    tolerance = protocol.device_tolerance if subject.way is Way.ON_DEVICE else protocol.window_tolerance
    first_ms = bench.time(subject, 1)[0]
    calls = max(1, min(protocol.window_calls, int(protocol.warmup_cap_s * 1000 / 2 / first_ms)))
    previous = statistics.median(bench.time(subject, calls))
    while True:
        current = statistics.median(bench.time(subject, calls))
        elapsed = bench.now_s() - started
        agreed = abs(current - previous) <= tolerance * previous
        if (agreed and elapsed >= protocol.warmup_min_s) or elapsed >= protocol.warmup_cap_s:
            return current, agreed
        previous = current


def _is_done(rounds: Rounds, protocol: LatencyProtocol, elapsed_s: float) -> bool:
    number = len(rounds.states)
    if number < MIN_SAMPLES:
        return False
    if number >= protocol.max_rounds or elapsed_s > protocol.give_up_s:
        return True
    if number < protocol.min_rounds:
        return False
    if elapsed_s > protocol.max_time_s:
        return True
    if number not in {int(look * protocol.min_rounds) for look in _LOOKS}:
        return False
    kept = rounds.kept(protocol)
    figures = [rounds.figures_ms(subject) for subject in rounds.calls_ms]
    return len(kept) >= protocol.min_rounds and all(is_narrow([f[i] for i in kept], protocol) for f in figures)


def is_narrow(samples: Sequence[float], protocol: LatencyProtocol) -> bool:
    """Return whether the interval of the median is within the protocol's share of it."""
    low, high = median_interval(samples)
    middle = statistics.median(samples)
    return max(high - middle, middle - low) <= protocol.interval * middle
