"""The rules of a measurement on a simulated device: noise, drift, throttling, a competing process, a cold start."""

import random
import statistics
from dataclasses import replace

import pytest

from srnas.profiling import CPU_PROTOCOL, CUDA_PROTOCOL
from srnas.profiling.latency import summarise
from srnas.profiling.rounds import REFERENCE, DeviceState, Timed, run_rounds

RUNS = 500


class SimulatedBench:
    """A device with a virtual clock: each call takes its true time, times noise, times the slowdown of that moment.

    Args:
        truth: True latency in milliseconds by name; the reference takes 1 ms.
        noise: Standard deviation of the logarithm of each call's time.
        round_noise: The same for what all calls of one burst share.
        slowdown: From the virtual time in seconds to a factor.
        first_ms: How much longer the first calls take, as with lazy loading.
        state: From the virtual time to what the device tells.
    """

    def __init__(self, truth, *, noise=0.01, round_noise=0.0, slowdown=None, first_ms=0.0, state=None, seed=0):
        self.truth = {REFERENCE: 1.0, **{Timed(name): ms for name, ms in truth.items()}}
        self.noise, self.round_noise, self.first_ms = noise, round_noise, first_ms
        self.slowdown = slowdown or (lambda _: 1.0)
        self._state = state or (lambda _: DeviceState())
        self.rng = random.Random(seed)
        self.clock = 0.0
        self.started = set()
        self.asked = []

    def time(self, subject, calls):
        self.asked.append((subject.name, calls))
        shared = self.rng.lognormvariate(0, self.round_noise)
        durations = []
        for _ in range(calls):
            factor = self.slowdown(self.clock) * shared * self.rng.lognormvariate(0, self.noise)
            durations.append(self.truth[subject] * factor + (0 if subject in self.started else self.first_ms))
            self.started.add(subject)
            self.clock += durations[-1] / 1e3
        return durations

    def now_s(self):
        return self.clock

    def rest(self, seconds):
        self.clock += seconds

    def state(self):
        return self._state(self.clock)


# The CUDA protocol has all the rules; a shorter warm-up keeps hundreds of runs short, and is the same rule.
PROTOCOL = replace(CUDA_PROTOCOL, warmup_min_s=0.02, warmup_cap_s=0.1, window_tolerance=0.02)


def measure(bench, protocol=PROTOCOL, seed=0):
    subjects = [subject for subject in bench.truth if subject != REFERENCE]
    rounds = run_rounds(bench, subjects, protocol, random.Random(seed))
    return {name: summarise(rounds, name, protocol, first_call_ms=0.0) for name, _ in subjects}


def throttled_between(start, end, told):
    """Return slowdown and state of a device that is throttled for a while, and tells so by a bit or by its clock."""

    def state(now):
        inside = start <= now < end
        clock = 1400.0 if inside else 1980.0
        return DeviceState(throttled=inside) if told == "bit" else DeviceState(clock_mhz=clock)

    return {"slowdown": lambda now: 1.4 if start <= now < end else 1.0, "state": state}


def bursts(period, length, factor):
    return lambda now: factor if now % period < length else 1.0


SCENARIOS = {
    "noise": {"noise": 0.02, "round_noise": 0.01},
    "much noise": {"noise": 0.2, "round_noise": 0.05},
    "almost none": {"noise": 0.0, "round_noise": 0.002},
    "cold start": {"first_ms": 800.0, "slowdown": lambda now: 1 + 0.5 * 2 ** (-now / 0.005), "round_noise": 0.01},
    "throttled, told": {**throttled_between(0.3, 0.45, "bit"), "round_noise": 0.005},
    "throttled, by the clock": {**throttled_between(0.3, 0.45, "clock"), "round_noise": 0.005},
    "a competing process now and then": {"slowdown": bursts(0.4, 0.06, 1.5), "round_noise": 0.005},
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_interval_covers_the_truth(scenario):
    covered = 0
    for seed in range(RUNS):
        latency = measure(SimulatedBench({"a": 3.0}, **scenario, seed=seed), seed=seed)["a"]
        covered += latency.low_ms <= 3.0 <= latency.high_ms
    assert covered >= 0.93 * RUNS


def test_the_interval_covers_the_truth_under_drift():
    """The truth is the median of what the device needed at the times of the rounds."""
    covered = 0
    for seed in range(RUNS):
        bench = SimulatedBench({"a": 3.0}, round_noise=0.005, slowdown=lambda now: 1 + 0.05 * now, seed=seed)
        bench.time(REFERENCE, 1)
        started = bench.clock
        latency = measure(bench, seed=seed)["a"]
        # Rounds are evenly spaced: the warm-up takes three quarters of the run's first 0.1 s.
        middle = (started + 0.1 + bench.clock) / 2
        covered += latency.low_ms <= 3.0 * (1 + 0.05 * middle) <= latency.high_ms
    assert covered >= 0.93 * RUNS


@pytest.mark.parametrize("scenario", ["noise", "throttled, told", "a competing process now and then", "cold start"])
def test_an_injected_slowdown_of_3_percent_is_found(scenario):
    found = 0
    for seed in range(50):
        bench = SimulatedBench({"a": 3.0, "b": 3.0 * 1.03}, **SCENARIOS[scenario], seed=seed)
        measured = measure(bench, seed=seed)
        found += measured["a"].high_ms < measured["b"].low_ms
    assert found >= 0.9 * 50


def test_a_constant_device_gives_its_time():
    latency = measure(SimulatedBench({"a": 3.0}, noise=0.0))["a"]
    assert latency.median_ms == latency.low_ms == latency.high_ms == latency.fastest_ms == 3.0
    assert latency.reference_ratio == 3.0
    assert latency.iqr_ms == 0.0
    assert latency.flags == ()
    assert latency.discarded == ("",) * PROTOCOL.min_rounds
    assert [len(calls) for calls in latency.calls_ms] == [1] * PROTOCOL.min_rounds


def test_a_long_first_call_is_in_no_figure():
    latency = measure(SimulatedBench({"a": 2.0}, noise=0.0, first_ms=500.0))["a"]
    assert max(latency.rounds_ms) == 2.0


def test_rounds_go_on_until_the_interval_is_narrow():
    few = measure(SimulatedBench({"a": 3.0}, noise=0.0, round_noise=0.005))["a"]
    more = measure(SimulatedBench({"a": 3.0}, noise=0.0, round_noise=0.03))["a"]
    assert PROTOCOL.min_rounds <= len(few.rounds_ms) < len(more.rounds_ms) <= PROTOCOL.max_rounds
    assert few.high_ms - few.median_ms <= PROTOCOL.interval * few.median_ms


def test_a_wide_interval_is_flagged():
    latency = measure(SimulatedBench({"a": 3.0}, round_noise=0.3))["a"]
    assert len(latency.rounds_ms) == PROTOCOL.max_rounds
    assert "wide" in latency.flags


def test_what_never_settles_is_flagged():
    bench = SimulatedBench({"a": 1.0}, slowdown=lambda now: 1 + 2 * now)
    assert "unsteady" in measure(bench)["a"].flags


def test_throttled_rounds_are_discarded_and_said():
    latency = measure(SimulatedBench({"a": 3.0}, noise=0.0, **throttled_between(0.15, 0.2, "bit")))["a"]
    assert "throttled" in latency.discarded
    assert "throttled" in latency.flags
    assert latency.num_discarded < 0.25 * len(latency.rounds_ms)
    assert latency.median_ms == 3.0


def test_another_process_on_the_gpu_discards_the_round():
    state = lambda now: DeviceState(intruders=int(now % 0.03 < 0.01))  # noqa: E731
    latency = measure(SimulatedBench({"a": 3.0}, noise=0.0, state=state))["a"]
    assert set(latency.discarded) == {"", "process"}
    assert "disturbed" in latency.flags


def test_a_competing_process_is_seen_in_the_reference():
    latency = measure(SimulatedBench({"a": 3.0}, noise=0.0, slowdown=bursts(0.05, 0.02, 2.0)))["a"]
    assert "reference" in latency.discarded
    assert "disturbed" in latency.flags


def test_load_of_others_is_recorded_and_flagged():
    quiet = SimulatedBench({"a": 3.0}, noise=0.0, state=lambda _: DeviceState(other_load=0.1))
    loaded = SimulatedBench({"a": 3.0}, noise=0.0, state=lambda _: DeviceState(other_load=0.5))
    assert measure(quiet)["a"].flags == ()
    assert measure(loaded)["a"].flags == ("disturbed",)
    assert measure(loaded)["a"].other_load == pytest.approx(0.5)


def test_with_too_few_rounds_kept_all_are_used():
    state = lambda _: DeviceState(throttled=True)  # noqa: E731
    latency = measure(SimulatedBench({"a": 3.0}, noise=0.0, state=state))["a"]
    assert latency.num_discarded == len(latency.rounds_ms)
    assert latency.median_ms == 3.0
    assert "throttled" in latency.flags


def test_a_discarded_round_is_not_the_fastest():
    boost = SimulatedBench(
        {"a": 3.0},
        noise=0.0,
        slowdown=lambda now: 0.8 if 0.2 <= now < 0.23 else 1.0,
        state=lambda now: DeviceState(throttled=0.19 <= now < 0.26),
    )
    latency = measure(boost)["a"]
    assert latency.num_discarded > 0
    assert min(latency.rounds_ms) < 3.0
    assert (latency.fastest_ms, latency.reference_ratio) == (3.0, 3.0)


def test_many_discarded_rounds_make_a_run_invalid():
    state = lambda now: DeviceState(throttled=now % 0.03 < 0.015)  # noqa: E731
    assert "invalid" in measure(SimulatedBench({"a": 3.0}, noise=0.0, state=state))["a"].flags


def test_a_process_that_is_there_all_the_time_is_no_reason():
    latency = measure(SimulatedBench({"a": 3.0}, noise=0.0, state=lambda _: DeviceState(intruders=1)))["a"]
    assert latency.num_discarded == 0


def test_drift_cancels_in_the_ratio():
    """The fastest rounds of both lie at the same end of a drift."""
    ratios = []
    for seed in range(20):
        bench = SimulatedBench({"a": 3.0}, slowdown=lambda now: 1 + 0.3 * now, seed=seed)
        ratios.append(measure(bench, seed=seed)["a"].reference_ratio)
    assert statistics.median(ratios) == pytest.approx(3.0, rel=0.01)


def test_slow_subjects_get_one_call_and_fast_ones_a_burst():
    bench = SimulatedBench({"slow": 400.0, "fast": 0.01}, noise=0.0)
    measure(bench)
    asked = {name: [calls for other, calls in bench.asked if other == name] for name in ("slow", "fast")}
    assert asked["slow"][-1] == 1
    assert asked["fast"][-1] == 64


def test_order_within_rounds_is_random_and_seeded():
    orders = []
    for seed in (0, 0, 1):
        bench = SimulatedBench({"a": 1.0, "b": 1.0}, noise=0.0)
        measure(bench, seed=seed)
        orders.append([name for name, _ in bench.asked])
    assert orders[0] == orders[1] != orders[2]


def test_time_limits():
    brief = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.05, max_time_s=1.0, give_up_s=5.0)
    latency = measure(SimulatedBench({"a": 50.0}, round_noise=0.2), brief)["a"]
    assert 1.0 / 0.055 * 0.8 < len(latency.rounds_ms) < 1.0 / 0.055 * 1.3
    slow = measure(SimulatedBench({"a": 3000.0}), brief)["a"]
    assert len(slow.rounds_ms) == 3
    # The range of three rounds is no 95 % interval.
    assert "few" in slow.flags


@pytest.mark.parametrize("scenario", ["noise", "cold start", "a competing process now and then"])
def test_the_interval_covers_the_truth_by_the_rules_of_a_cpu(scenario):
    protocol = replace(CPU_PROTOCOL, warmup_min_s=0.02, warmup_cap_s=0.1)
    covered = 0
    for seed in range(RUNS):
        latency = measure(SimulatedBench({"a": 3.0}, **SCENARIOS[scenario], seed=seed), protocol, seed=seed)["a"]
        covered += latency.low_ms <= 3.0 <= latency.high_ms
    assert covered >= 0.93 * RUNS
