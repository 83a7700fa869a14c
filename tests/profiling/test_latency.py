"""Real measurements: on the CPU, and on a GPU where there is one."""

import statistics
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from srnas.profiling import CPU_PROTOCOL, CUDA_PROTOCOL, Target, measure_latency
from srnas.profiling import rounds as rules
from srnas.profiling.bench import CpuBench
from srnas.profiling.boards.board import Board
from srnas.profiling.rounds import Timed, Way
from srnas.search_space import InputError

FAST = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.05, max_time_s=0.0)


def networks(*channels):
    return {str(c): nn.Sequential(nn.Conv2d(3, c, 1), nn.Conv2d(c, c, 3)).eval() for c in channels}


def test_real_measurement_on_the_cpu():
    threads = torch.get_num_threads()
    prepared, rounds = [], []
    measured = measure_latency(
        networks(4, 64), (1, 3, 48, 48), Target(), protocol=FAST, on_prepared=prepared.append, on_round=rounds.append
    )
    small, large = measured.latencies["4"], measured.latencies["64"]
    assert large.median_ms > 2 * small.median_ms > 0
    assert large.fastest_ms <= large.low_ms <= large.median_ms <= large.high_ms
    assert len(large.calls_ms) == len(large.rounds_ms) == len(large.discarded) == len(rounds) >= 12
    assert prepared == ["4", "64"]
    assert large.first_call_ms > 0
    device = measured.device
    assert (device.device, device.threads, device.runtime, device.dtype) == ("cpu", 1, "eager", "float32")
    assert measured.preflight["torch"] == torch.__version__
    assert measured.preflight["cpu"] == device.name
    assert 0 <= large.other_load <= 1
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_peak_memory_of_a_convolution():
    network = nn.Conv2d(8, 8, 1).eval()
    measured = measure_latency({"a": network}, (1, 8, 128, 128), Target(), protocol=FAST)
    # Its output is 8 * 128 * 128 floats: 0.5 MiB; oneDNN may take as much again for another layout.
    assert 0.5 <= measured.peak_memory_mib["a"] <= 1.6


def test_overwriting_the_cache_is_not_timed():
    nothing = Timed("nothing", Way.COLD)
    bench = CpuBench({nothing: lambda: None})
    started = time.perf_counter()
    durations = bench.time(nothing, 10)
    # Twice the last cache is written ten times, and nothing is timed.
    assert 10 * statistics.median(durations) < (time.perf_counter() - started) * 1000 / 10


def test_cold_and_warm_are_timed_in_the_same_rounds():
    latency = measure_latency(networks(4), (1, 3, 16, 16), Target(), protocol=FAST, cold=True).latencies["4"]
    assert 0 < latency.cold_fastest_ms <= latency.cold_median_ms
    assert measure_latency(networks(4), (1, 3, 16, 16), Target(), protocol=FAST).latencies["4"].cold_median_ms is None


def test_each_network_has_its_own_input():
    shapes = {"4": (1, 3, 16, 16), "64": (1, 3, 32, 32)}
    measured = measure_latency(networks(4, 64), shapes, Target(), protocol=FAST)
    assert set(measured.latencies) == {"4", "64"}


def test_a_network_may_have_any_name():
    """What else is timed in the rounds, the reference and the cold runs, is told apart by more than a name."""
    names = ["reference", "a", "a (cold)", "a (device)"]
    protocol = replace(FAST, burst_ms=0.0)  # One call a round: caches are overwritten before each.
    found = measure_latency(
        dict.fromkeys(names, nn.ReLU().eval()), (1, 3, 8, 8), Target(), protocol=protocol, cold=True
    )
    assert list(found.latencies) == names
    for latency in found.latencies.values():
        assert latency.reference_rounds_ms == found.latencies["a"].reference_rounds_ms != latency.rounds_ms
        assert latency.cold_fastest_ms > 0


def test_input_shape_is_checked():
    with pytest.raises(InputError, match="four positive integers"):
        measure_latency({"a": nn.ReLU()}, (1, 3, 8), Target())  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_real_measurement_on_a_gpu():
    target = Target(device=torch.device("cuda", 0))
    protocol = replace(CUDA_PROTOCOL, max_time_s=3.0)
    measured = measure_latency(networks(8, 512), (1, 3, 256, 256), target, protocol=protocol)
    small, large = measured.latencies["8"], measured.latencies["512"]
    assert large.median_ms > small.median_ms > 0
    assert 0 < small.device_median_ms <= small.median_ms * 1.05
    assert "launch_bound" in small.flags
    assert "launch_bound" not in large.flags
    assert measured.peak_memory_mib["512"] >= 512 * 254 * 254 * 4 / 2**20
    assert measured.device.driver.startswith("CUDA")


@pytest.mark.parametrize("board", [None, Board("pi", "http://pi", cores=4)])
def test_networks_that_share_a_pool_have_its_threads(board):
    target = Target(runtime="executorch", board=board)
    targets = {"a": target, "b": replace(target, threads=2), "c": Target(threads=4, board=board)}
    networks = dict.fromkeys(targets, nn.Conv2d(3, 8, 3))
    with pytest.raises(InputError, match="threads must be equal for networks .* in executorch, .* got threads=1 and 2"):
        measure_latency(networks, (1, 3, 8, 8), targets)


def test_side_by_side_each_network_has_as_long_as_by_itself(monkeypatch):
    protocols = []

    def run_rounds(bench, subjects, protocol, *given):
        protocols.append(protocol)
        return rules.run_rounds(bench, subjects, FAST, *given)

    monkeypatch.setattr("srnas.profiling.latency.run_rounds", run_rounds)
    for widths in ((4,), (4, 5)):
        measure_latency(networks(*widths), (1, 3, 8, 8), Target())
    alone = CPU_PROTOCOL
    assert protocols == [alone, replace(alone, max_time_s=2 * alone.max_time_s, give_up_s=2 * alone.give_up_s)]
