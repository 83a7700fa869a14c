"""Whether what is measured on a GPU is true, and how fast it works."""

import contextlib
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any
from unittest import mock

import torch

from gpu.machine import Check, Machine, Seen, patches, search, small, within
from srnas.nas.training import loop
from srnas.nas.training.loop import Compute, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.profiling import CUDA_PROTOCOL, Latency, Target, measure_latency
from srnas.profiling.graphs import Recorder
from srnas.profiling.host_clock import Call
from srnas.profiling.latency import summarise, time_rounds
from srnas.profiling.runtimes import Executable
from srnas.profiling.statistics import kendall_tau
from srnas.search_space import Network, SearchSpace

_CUDA = torch.device("cuda", 0)
_BRIEF = replace(CUDA_PROTOCOL, warmup_min_s=0.1, max_rounds=16, max_time_s=20.0)
_SPUN_MS = 2.0
# Of a network on the virtual device: 10 kernels.
_KERNELS, _DEVICE_MS = 10, 0.5
_PROCESSES, _NETWORKS = 3, 12
SPACE = 'channels = [4, 6, 8, 10]\npositions = 2\ntrunk = ["conv"]\nattention = ["none", "pa"]\n'


def _launching(gpu: Any, *, waits: bool = False) -> Call:
    """Return a forward pass on the GPU or on its double; with ``waits`` the host waits for it."""
    if gpu is not None:
        launched: Call = gpu.network(_KERNELS, 0.01, _DEVICE_MS / _KERNELS, waits=waits)
        return launched
    network, x = small(channels=48).deploy().to(_CUDA), torch.rand(1, 3, 256, 256, device=_CUDA)
    return lambda: (network(x), torch.cuda.synchronize()) if waits else network(x)


def _spinning(gpu: Any, host_ms: float, launch: Call) -> Call:
    """Return what keeps the host busy for so long before it launches."""

    def run() -> None:
        started = time.perf_counter()
        while gpu is None and (time.perf_counter() - started) * 1e3 < host_ms:
            pass
        if gpu is not None:
            gpu.host(host_ms)
        launch()

    return run


def _latencies(runs: Mapping[str, tuple[Call, Call]], *, cold: bool = False) -> dict[str, Latency]:
    """Return the latencies of what runs and of what is captured of it, by name."""
    executables = {
        name: Executable(run, lambda: torch.empty(0), kernels=kernels) for name, (run, kernels) in runs.items()
    }
    base, reference = Target(_CUDA), next(reversed(executables.values()))
    targets = dict.fromkeys(runs, base)
    rounds = time_rounds(executables, reference, targets, base, _BRIEF, Recorder(_CUDA), cold=cold)
    return {name: summarise(rounds, name, _BRIEF, 0.0) for name in runs}


@contextlib.contextmanager
def _device(machine: Machine) -> Iterator[Any]:
    """Yield nothing, or a device with a virtual clock in place of CUDA's."""
    if not machine.dry:
        yield None
        return
    from virtual_gpu import VirtualGpu

    gpu = VirtualGpu(cold=1.2)
    with gpu.doubles():
        yield gpu


def _by_triton(run: Callable[[], object]) -> float:
    from triton.testing import do_bench_cudagraph

    return float(do_bench_cudagraph(run))


def spinning_host(machine: Machine) -> Seen:
    """A host that is busy for 2 ms is waited for, and is no work of the device."""
    with _device(machine) as gpu, torch.inference_mode():
        launch = _launching(gpu)
        latency = _latencies({"a": (_spinning(gpu, _SPUN_MS, launch), launch)})["a"]
    needed = latency.device_median_ms or math.nan
    found = within("ms", latency.fastest_ms, _SPUN_MS, _SPUN_MS + 2 * needed + 0.5)
    seen = f"{found.seen}, device {needed:.4g}, {', '.join(latency.flags)}"
    return replace(found, seen=seen, passed=found.passed and "launch_bound" in latency.flags)


def device_figure(machine: Machine) -> Seen:
    """What the device needs is what triton measures."""
    with _device(machine) as gpu, torch.inference_mode():
        launch = _launching(gpu)
        truth = _by_triton(launch) if gpu is None else _DEVICE_MS
        latency = _latencies({"a": (launch, launch)})["a"]
    return within("share of do_bench_cudagraph", (latency.device_median_ms or math.nan) / truth, 0.97, 1.03)


def cold(machine: Machine) -> Seen:
    """With overwritten caches nothing is faster."""
    with _device(machine) as gpu, torch.inference_mode():
        launch = _launching(gpu)
        latency = _latencies({"a": (launch, launch)}, cold=True)["a"]
    share = (latency.cold_median_ms or math.nan) / (latency.device_median_ms or math.nan)
    return within("share of warm", share, 0.99, 10.0)


def uncaptured(machine: Machine) -> Seen:
    """What no graph can hold is timed by the host, and the next network is captured as if nothing had been."""
    with _device(machine) as gpu, torch.inference_mode():
        runs = {name: _launching(gpu, waits=name == "waits") for name in ("waits", "other")}
        found = _latencies({name: (run, run) for name, run in runs.items()})
    flags, needed = found["waits"].flags, found["other"].device_median_ms
    passed = "uncaptured" in flags and needed is not None
    return Seen("the first uncaptured, the second not", f"{', '.join(flags)}; {needed} ms on the device", passed)


def _networks() -> dict[str, Network]:
    rng, space = random.Random(0), SearchSpace.load("tiny", 2)
    found: dict[str, Network] = {}
    while len(found) < _NETWORKS:
        network = Network(space.sample(rng)).eval().deploy()
        found.setdefault(network.architecture.key, network)
    return found


def _of_process(seed: int) -> Mapping[str, float]:
    measured = measure_latency(_networks(), (1, 3, 180, 320), Target(_CUDA), protocol=_BRIEF, seed=seed)
    return {name: latency.fastest_ms for name, latency in measured.latencies.items()}


def _of_double(seed: int) -> Mapping[str, float]:
    from virtual_gpu import VirtualGpu

    rng = random.Random(seed)
    gpu = VirtualGpu(jitter=iter(lambda: rng.lognormvariate(0, 0.02), None))
    with gpu.doubles():
        base = Target(_CUDA)
        networks = {
            str(n): Executable(run := gpu.network(4, 0.05 + 0.005 * n, 0.01), lambda: torch.empty(0), kernels=run)
            for n in range(_NETWORKS)
        }
        brief = replace(_BRIEF, warmup_cap_s=0.2, min_rounds=6, max_rounds=6)
        targets = dict.fromkeys(networks, base)
        rounds = time_rounds(networks, networks["0"], targets, base, brief, Recorder(_CUDA), seed=seed)
    return {name: summarise(rounds, name, brief, 0.0).fastest_ms for name in networks}


def repeatability(machine: Machine) -> Seen:
    """Three processes rank twelve networks alike."""
    if machine.dry:
        found = [_of_double(seed) for seed in range(_PROCESSES)]
    else:
        found = []
        for seed in range(_PROCESSES):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found.append(pool.submit(_of_process, seed).result())
    names = list(found[0])
    taus = [kendall_tau([a[n] for n in names], [b[n] for n in names]) for a, b in itertools.combinations(found, 2)]
    return within("least Kendall's tau", min(taus), 0.95, 1.0)


def _steps_per_s(machine: Machine, *, reads: bool, channels_last: bool) -> float:
    """Return the rate of training steps, which waits for each step with ``reads``."""
    steps = 2 if machine.dry else 300
    config = TrainingConfig(iterations=steps, patch=48, batch=16, learning_rate=1e-3)
    config = config.model_copy(update={"patch": 8, "batch": 1}) if machine.dry else config
    layout = torch.channels_last if channels_last else torch.contiguous_format
    often = mock.patch.object(loop, "_REPORT_EVERY", 1 if reads else 100)
    with often, mock.patch.object(torch, "channels_last", layout):
        _, train_s = train(small(), patches(machine, config.patch), config, Compute(machine.device))
    return steps / train_s


def steps(machine: Machine) -> Seen:
    """Steps per second of a small network; a step that is waited for is no faster."""
    ways = {
        f"{'read each' if reads else 'free'}, {'channels last' if last else 'nchw'}": _steps_per_s(
            machine, reads=reads, channels_last=last
        )
        for reads in (True, False)
        for last in (True, False)
    }
    waiting, free = ways["read each, channels last"], ways["free, channels last"]
    said = "; ".join(f"{name} {rate:.1f}" for name, rate in ways.items())
    return Seen("free at least as fast", said, machine.dry or free >= 0.95 * waiting)


def workers(machine: Machine) -> Seen:
    """All candidates of one, two and four workers are judged; how many of them an hour is a figure, and no check."""
    numbers, each = ((1,), 1) if machine.dry else ((1, 2, 4), 4)
    options = ("--iterations", "4" if machine.dry else "400", "--batch", "1" if machine.dry else "16")
    rates, complete = {}, True
    for number in numbers:
        wall_s, rows = search(machine, f"workers{number}", SPACE, each * number, number, *options)
        rates[number] = 3600 * len(rows) / wall_s
        complete &= all(row["state"] == "complete" for row in rows)
    said = "; ".join(f"{number}: {rate:.0f}/h" for number, rate in rates.items())
    return Seen("all complete", f"{said}{'' if complete else '; not all complete'}", complete)


CHECKS: tuple[Check, ...] = (spinning_host, device_figure, cold, uncaptured, repeatability, steps, workers)
