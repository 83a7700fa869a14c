"""Figures of the real bench, graphs and rounds on a virtual device, where what is true is known."""

import contextlib
import io
import random
import sys
from dataclasses import replace

import pytest
import torch
from virtual_gpu import VirtualGpu, waited_ms

from srnas.profiling import CUDA_PROTOCOL, Target
from srnas.profiling.graphs import Recorder
from srnas.profiling.latency import summarise, time_rounds
from srnas.profiling.runtimes import Executable

DEVICE = torch.device("cuda", 0)
BRIEF = replace(
    CUDA_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.5, window_calls=2, burst_ms=4.0, min_rounds=6, max_rounds=6
)
KERNELS = 10
# No multiple of what an event tells apart.
REFERENCE_MS = 0.0103
# What the launches and the kernels of a network take together, from 0.03 to 4 ms.
LAUNCH_BOUND = [(0.03, 0.01), (0.1, 0.02), (0.4, 0.1), (1.5, 0.5), (2.0, 0.5), (2.5, 0.5), (4.0, 1.0)]
DEVICE_BOUND = [(0.03, 0.06), (0.1, 0.5), (0.4, 1.0), (1.0, 3.0), (4.0, 8.0)]


def executable(run, captured=True):
    return Executable(run, output=None, kernels=run if captured else None)


def measure(gpu, networks, *, cold=False, protocol=BRIEF):
    """Return the latencies of executables by name, in the rounds and beside the reference of a measurement."""
    with gpu.doubles():
        base = Target(DEVICE)
        reference = executable(gpu.network(1, 0.005, REFERENCE_MS))
        rounds = time_rounds(
            networks, reference, dict.fromkeys(networks, base), base, protocol, Recorder(DEVICE), cold=cold
        )
    return {name: summarise(rounds, name, protocol, first_call_ms=0.0) for name in networks}


def measured(host_ms, device_ms, **options):
    gpu = VirtualGpu(**options)
    network = gpu.network(KERNELS, host_ms / KERNELS, device_ms / KERNELS)
    return measure(gpu, {"a": executable(network)}, cold=True)["a"]


@pytest.mark.parametrize(("host_ms", "device_ms"), LAUNCH_BOUND + DEVICE_BOUND)
def test_figures_are_what_a_caller_waits_for_and_what_the_device_needs(host_ms, device_ms):
    latency = measured(host_ms, device_ms, cold=1.2)
    waited = waited_ms(KERNELS, host_ms / KERNELS, device_ms / KERNELS)
    assert latency.fastest_ms == pytest.approx(waited, rel=0.05)
    assert latency.median_ms == pytest.approx(waited, rel=0.05)
    assert latency.device_median_ms == pytest.approx(device_ms, rel=0.05)
    # The first kernel of a call finds the cache overwritten, and takes a fifth longer.
    assert latency.cold_median_ms == pytest.approx(device_ms * (1 + 0.2 / KERNELS), rel=0.05)
    assert latency.cold_median_ms >= latency.device_median_ms
    assert ("launch_bound" in latency.flags) == (waited > 1.15 * device_ms)
    assert "unsteady" not in latency.flags


@pytest.mark.parametrize(("host_ms", "device_ms"), LAUNCH_BOUND)
def test_the_host_decides_where_it_is_slower(host_ms, device_ms):
    assert measured(host_ms, device_ms).flags == ("launch_bound",)


def test_networks_of_different_launches_are_told_apart():
    gpu = VirtualGpu()
    networks = {str(ms): executable(gpu.network(KERNELS, ms / KERNELS, 0.002)) for ms in (1.5, 2.0, 2.5)}
    found = [latency.fastest_ms for latency in measure(gpu, networks).values()]
    # The launches, the last kernel of 2 us, and 2 us to see that it is done.
    assert found == pytest.approx([1.504, 2.004, 2.504], rel=0.01)


def test_a_runtime_with_a_stream_of_its_own_is_timed_to_its_end():
    gpu = VirtualGpu()
    latency = measure(gpu, {"a": executable(gpu.network(24, 0.01, 0.1, own_stream=True), captured=False)})["a"]
    assert latency.fastest_ms == pytest.approx(2.41, rel=0.01)
    assert latency.device_median_ms is None
    assert latency.flags == ()


def test_cold_by_the_clock_of_the_host_is_after_the_flush():
    gpu = VirtualGpu(flush_ms=0.3, cold=1.5)
    run = gpu.network(1, 0.005, 1.0, own_stream=True)
    latency = measure(gpu, {"a": executable(run, captured=False)}, cold=True)["a"]
    assert latency.cold_median_ms == pytest.approx(1.5, rel=0.02)


def test_what_no_graph_can_hold_is_timed_by_the_host_and_says_so():
    gpu = VirtualGpu(cold=1.5)
    networks = {
        "waits": executable(gpu.network(10, 0.01, 0.1, waits=True)),
        "other": executable(gpu.network(10, 0.01, 0.1)),
    }
    current = gpu.current
    found = measure(gpu, networks, cold=True)
    assert found["waits"].fastest_ms == pytest.approx(1.0, rel=0.05)
    assert found["waits"].device_median_ms is None
    assert found["waits"].cold_median_ms == pytest.approx(1.05, rel=0.05)
    assert found["waits"].cold_median_ms > found["waits"].median_ms
    assert found["waits"].flags == ("uncaptured",)
    # The capture that failed has left nothing behind.
    assert found["other"].device_median_ms == pytest.approx(1.0, rel=0.05)
    assert found["other"].flags == ()
    assert gpu.current is current


def test_all_graphs_of_a_measurement_share_one_pool():
    gpu = VirtualGpu()
    measure(gpu, {str(i): executable(gpu.network(2, 0.01, 0.1)) for i in range(5)}, cold=True)
    assert gpu.pools == 1


def test_the_reference_is_a_graph_of_a_millisecond():
    gpu = VirtualGpu()
    latency = measure(gpu, {"a": executable(gpu.network(1, 0.01, 1.0))})["a"]
    # An event of a single call would tell 10 or 10.5 us.
    assert latency.reference_rounds_ms == pytest.approx([REFERENCE_MS] * len(latency.reference_rounds_ms), rel=0.001)
    assert latency.reference_ratio == pytest.approx(1.012 / REFERENCE_MS, rel=0.001)


def jittering(share, seed=0):
    rng = random.Random(seed)
    while True:
        yield rng.lognormvariate(0, share)


@pytest.mark.parametrize("seed", range(4))
def test_a_host_that_is_not_quite_steady_is_no_unsteady_network(seed):
    """A launch varies by a twentieth, as on a host with other work, and so the medians of windows by 1 or 2 %."""
    gpu = VirtualGpu(jitter=jittering(0.05, seed))
    network = {"a": executable(gpu.network(1, 0.5, 0.05))}
    latency = measure(gpu, network, protocol=replace(BRIEF, window_calls=32, warmup_cap_s=0.05))["a"]
    assert "unsteady" not in latency.flags


def test_the_load_of_the_host_is_recorded():
    gpu = VirtualGpu(load=0.4)
    latency = measure(gpu, {"a": executable(gpu.network(1, 0.01, 1.0))})["a"]
    assert latency.other_load == pytest.approx(0.4, abs=0.01)
    assert latency.flags == ("disturbed",)


def test_what_is_imported_on_the_double_stays_imported(monkeypatch):
    sys.modules.pop("this", None)
    monkeypatch.setitem(sys.modules, "pynvml", "before")
    with VirtualGpu().doubles(), contextlib.redirect_stdout(io.StringIO()):
        import this

        assert sys.modules["pynvml"] is None
    assert sys.modules.get("this") is this
    assert sys.modules["pynvml"] == "before"
