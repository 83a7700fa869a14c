"""The bench of a CPU: the clock of the host, and the load that others put on it."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch

from srnas.profiling.rounds import DeviceState, Timed, Way

Run = Callable[[], object]

# What a cold measurement writes between calls, as a multiple of the last cache. source: Triton's do_bench clears more
# than the cache as well.
COLD_FACTOR = 2
_FALLBACK_CACHE = 64 * 2**20


class HostLoad:
    """The load that other processes put on the cores of this machine."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._seen = self._read()

    def _read(self) -> tuple[float, float, float]:
        machine, own = psutil.cpu_times(), self._process.cpu_times()
        # What follows the first eight is time of guests, which is part of the user's already.
        busy = sum(machine[:8]) - machine.idle - getattr(machine, "iowait", 0.0)
        return time.monotonic(), busy, own.user + own.system

    def share(self) -> float:
        """Return the share of all cores that others have kept busy since the last call."""
        before, self._seen = self._seen, self._read()
        elapsed, busy, own = (after - earlier for after, earlier in zip(self._seen, before, strict=True))
        return (busy - own) / max(elapsed, 1e-9) / (os.cpu_count() or 1)


class CpuBench:
    """Times callables with the clock of the host.

    Args:
        runs: What is timed; before each call of what is timed cold, the caches are overwritten.
        threads: Torch's threads for each of them; what is missing here runs with those that are set.
    """

    def __init__(self, runs: Mapping[Timed, Run], threads: Mapping[Timed, int] | None = None) -> None:
        self._runs = runs
        self._threads = threads or {}
        self._flush = torch.empty(COLD_FACTOR * last_cache_bytes() if _any_cold(runs) else 0, dtype=torch.uint8)
        self._load = HostLoad()

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

    def state(self) -> DeviceState:
        """Return the load of other processes since the last call."""
        return DeviceState(other_load=self._load.share())


def _any_cold(runs: Mapping[Timed, Run]) -> bool:
    return any(subject.way is Way.COLD for subject in runs)


def last_cache_bytes() -> int:
    """Return the size of the CPU's last cache, or of a usual one where the system does not tell."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KMG")) * unit)
    return max(sizes, default=_FALLBACK_CACHE)
