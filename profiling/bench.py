"""The benches of real devices: the clocks of a CPU and of a CUDA device, and what these tell about themselves."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch

from srnas.profiling.preflight import read_gpu
from srnas.profiling.rounds import DeviceState, Timed, Way

Run = Callable[[], object]

# What a cold measurement writes between calls, as a multiple of the last cache. source: Triton's do_bench clears more
# than the cache as well.
_COLD_FACTOR = 2
_FALLBACK_CACHE = 64 * 2**20
# One replay of a CUDA graph takes at least this long, so that its launch does not count.
_MIN_REPLAY_MS = 1.0
_MAX_CAPTURED = 1000
# Cycles that a CUDA device sleeps while launches queue up behind: about 1 ms.
_SLEEP_CYCLES = 2_000_000


class CpuBench:
    """Times callables with the clock of the host.

    Args:
        runs: What is timed; before each call of what is timed cold, the caches are overwritten.
        threads: Torch's threads for each of them; what is missing here runs with those that are set.
    """

    def __init__(self, runs: Mapping[Timed, Run], threads: Mapping[Timed, int] | None = None) -> None:
        self._runs = runs
        self._threads = threads or {}
        self._flush = torch.empty(_COLD_FACTOR * last_cache_bytes() if _any_cold(runs) else 0, dtype=torch.uint8)
        self._process = psutil.Process()
        self._seen = self._read()

    def time(self, subject: Timed, calls: int) -> list[float]:
        """Run a subject so many times and return the duration of each call in milliseconds."""
        run, clock = self._runs[subject], time.perf_counter_ns
        threads = self._threads.get(subject)
        if threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(threads)
        durations = []
        for _ in range(calls):
            if subject.way is Way.COLD:
                self._flush.fill_(1)
            start = clock()
            run()
            durations.append((clock() - start) / 1e6)
        return durations

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def rest(self, seconds: float) -> None:
        """Let the device idle."""
        if seconds > 0:
            time.sleep(seconds)

    def _read(self) -> tuple[float, float, float]:
        machine, own = psutil.cpu_times(), self._process.cpu_times()
        # What follows the first eight is time of guests, which is part of the user's already.
        busy = sum(machine[:8]) - machine.idle - getattr(machine, "iowait", 0.0)
        return time.monotonic(), busy, own.user + own.system

    def state(self) -> DeviceState:
        """Return the load of other processes since the last call."""
        before, self._seen = self._seen, self._read()
        elapsed, busy, own = (after - earlier for after, earlier in zip(self._seen, before, strict=True))
        cores = os.cpu_count() or 1
        return DeviceState(other_load=(busy - own) / max(elapsed, 1e-9) / cores)


class CudaBench:
    """Times callables with CUDA events, queued behind a sleep kernel, one synchronisation per burst.

    Args:
        runs: What is timed; before each call of what is timed cold, the L2 cache is overwritten.
        device: Where they run.
    """

    def __init__(self, runs: Mapping[Timed, Run], device: torch.device) -> None:
        self._runs = runs
        self._device = device
        size = _COLD_FACTOR * torch.cuda.get_device_properties(device).L2_cache_size if _any_cold(runs) else 0
        self._flush = torch.empty(size, dtype=torch.uint8, device=device)

    def time(self, subject: Timed, calls: int) -> list[float]:
        """Run a subject so many times, in whole replays, and return the duration of a call in milliseconds for each."""
        run = self._runs[subject]
        per_run = run.calls_per_run if isinstance(run, GraphReplay) else 1
        pairs = [(_event(), _event()) for _ in range(max(1, calls // per_run))]
        torch.cuda.synchronize(self._device)
        torch.cuda._sleep(_SLEEP_CYCLES)
        for start, end in pairs:
            if subject.way is Way.COLD:
                self._flush.fill_(1)
            start.record()
            run()
            end.record()
        torch.cuda.synchronize(self._device)
        return [start.elapsed_time(end) / per_run for start, end in pairs]

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def rest(self, seconds: float) -> None:
        """Let the device idle."""
        time.sleep(seconds)

    def state(self) -> DeviceState:
        """Return clock, throttling and other processes as the driver tells them now."""
        gpu = read_gpu(self._device)
        return DeviceState(gpu.clock_mhz, gpu.throttled, gpu.intruders)


def _any_cold(runs: Mapping[Timed, Run]) -> bool:
    return any(subject.way is Way.COLD for subject in runs)


class GraphReplay:
    """Many calls captured in a CUDA graph: what the device needs without the host's launches.

    Args:
        run: One call.
        device: Where it runs.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        # A graph is captured after a few calls on a stream that is not the default one, as PyTorch asks.
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
            start, end = _event(), _event()
            start.record()
            run()
            end.record()
        torch.cuda.current_stream(device).wait_stream(side)
        torch.cuda.synchronize(device)
        call_ms = max(start.elapsed_time(end), 1e-3)
        self.calls_per_run = min(_MAX_CAPTURED, 1 + int(_MIN_REPLAY_MS / call_ms))
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            for _ in range(self.calls_per_run):
                run()

    def __call__(self) -> None:
        """Run all captured calls."""
        self._graph.replay()


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def last_cache_bytes() -> int:
    """Return the size of the CPU's last cache, or of a usual one where the system does not tell."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KMG")) * unit)
    return max(sizes, default=_FALLBACK_CACHE)
