"""The logic of rounds on simulated timers, the interval against theory, and one real measurement."""

import random
from dataclasses import replace

import pytest
import torch
from scipy.stats import binom
from torch import nn

from srnas.profiling import CPU_PROTOCOL, CUDA_PROTOCOL, measure_latency
from srnas.profiling.latency import REFERENCE, measure_rounds, median_interval
from srnas.search_space import InputError

FAST = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.05)


def noisy(milliseconds, spread, seed):
    rng = random.Random(seed)
    return lambda calls: [milliseconds * rng.lognormvariate(0, spread) for _ in range(calls)]


def measure(timers, protocol=FAST, seed=0):
    timers = {REFERENCE: noisy(1.0, 0.0, 1), **timers}
    return measure_rounds(timers, protocol, random.Random(seed))


def test_a_constant_device_gives_its_time():
    latency = measure({"a": noisy(3.0, 0.0, 0)})["a"]
    assert (latency.latency_ms, latency.low_ms, latency.high_ms, latency.stable_ms) == (3.0, 3.0, 3.0, 3.0)
    assert latency.reference_ratio == 3.0
    assert latency.flags == ()
    assert len(latency.rounds_ms) == FAST.min_rounds


def test_the_first_call_is_in_no_other_figure():
    durations = iter([500.0])
    latency = measure({"a": lambda calls: [next(durations, 2.0) for _ in range(calls)]})["a"]
    assert latency.first_call_ms == 500.0
    assert max(latency.rounds_ms) == 2.0


def test_rounds_go_on_until_the_interval_is_narrow():
    latency = measure({"a": noisy(3.0, 0.05, 0)})["a"]
    assert FAST.min_rounds < len(latency.rounds_ms) <= FAST.max_rounds
    assert latency.low_ms < latency.latency_ms < latency.high_ms
    if len(latency.rounds_ms) < FAST.max_rounds:
        assert "wide" not in latency.flags


def test_a_wide_interval_is_flagged():
    latency = measure({"a": noisy(3.0, 0.5, 0)}, replace(FAST, max_rounds=12))["a"]
    assert "wide" in latency.flags


def test_a_network_that_never_settles_is_flagged():
    state = {"ms": 1.0}

    def warming(calls):
        state["ms"] *= 1.5
        return [state["ms"]] * calls

    assert "unsteady" in measure({"a": warming}, replace(FAST, max_rounds=12))["a"].flags


def test_a_competing_process_is_seen_in_the_reference():
    rng = random.Random(0)
    timers = {REFERENCE: lambda calls: [rng.choice((1.0, 2.0))] * calls, "a": noisy(3.0, 0.0, 0)}
    latency = measure_rounds(timers, replace(FAST, max_rounds=20), random.Random(0))["a"]
    assert "disturbed" in latency.flags


def test_drift_cancels_in_the_ratio():
    state = {"calls": 0}

    def drifting(milliseconds):
        def timer(calls):
            state["calls"] += 1
            return [milliseconds * (1 + state["calls"] / 1000)] * calls

        return timer

    timers = {REFERENCE: drifting(1.0), "a": drifting(3.0)}
    latency = measure_rounds(timers, FAST, random.Random(0))["a"]
    assert latency.reference_ratio == pytest.approx(3.0, rel=0.01)


def test_an_injected_slowdown_of_3_percent_is_found():
    timers = {"a": noisy(3.0, 0.01, 1), "b": noisy(3.0 * 1.03, 0.01, 2)}
    measured = measure(timers)
    assert measured["a"].high_ms < measured["b"].low_ms


def test_slow_networks_get_few_calls():
    calls = []

    def slow(n):
        calls.append(n)
        return [400.0] * n

    measure({"a": slow})
    assert max(calls) == 1


@pytest.mark.parametrize("n", [6, 7, 12, 25, 60])
def test_interval_of_the_median_has_its_coverage(n):
    low, high = median_interval(list(range(n)))
    rank = round(low) + 1
    assert high == n - rank
    # Conservative, and one rank further in would not be.
    assert 1 - 2 * binom.cdf(rank - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, n, 0.5) < 0.95


def test_few_samples_give_their_range():
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert median_interval([2.0]) == (2.0, 2.0)


def test_interval_covers_the_truth():
    rng = random.Random(0)
    covered = 0
    for _ in range(500):
        low, high = median_interval([rng.lognormvariate(0, 0.3) for _ in range(15)])
        covered += low <= 1.0 <= high
    assert covered >= 0.93 * 500


def test_real_measurement_on_the_cpu():
    threads = torch.get_num_threads()
    networks = {"small": nn.Conv2d(4, 4, 3).eval(), "large": nn.Conv2d(64, 64, 3).eval()}
    shapes_differ = {name: nn.Sequential(nn.Conv2d(3, m.in_channels, 1), m) for name, m in networks.items()}
    measured, profile = measure_latency(shapes_differ, (1, 3, 48, 48), torch.device("cpu"), protocol=FAST)
    assert measured["large"].latency_ms > 2 * measured["small"].latency_ms > 0
    assert measured["large"].stable_ms <= measured["large"].latency_ms
    assert (profile.device, profile.threads, profile.runtime, profile.dtype) == ("cpu", 1, "eager", "float32")
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_input_shape_is_checked():
    with pytest.raises(InputError, match="four positive integers"):
        measure_latency({"a": nn.ReLU()}, (1, 3, 8), torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_real_measurement_on_a_gpu():
    device = torch.device("cuda", 0)
    networks = {c: nn.Conv2d(3, c, 3).eval().to(device) for c in (8, 512)}
    measured, profile = measure_latency(
        {str(c): network for c, network in networks.items()},
        (1, 3, 256, 256),
        device,
        protocol=replace(CUDA_PROTOCOL, max_time_s=3.0),
    )
    assert measured["512"].latency_ms > measured["8"].latency_ms > 0
    assert profile.driver.startswith("CUDA")
