"""The bench of a CPU: the clock of the host, and the load that others put on it."""

import os
import time
from collections.abc import Callable, Mapping

import psutil
import torch

from srnas.profiling.host_clock import HostClock
from srnas.profiling.rounds import DeviceState, Timed

Run = Callable[[], object]


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


class CpuBench(HostClock):
    """Times callables with the clock of the host.

    Args:
        runs: What is timed; before each call of what is timed cold, the caches are overwritten.
        threads: Torch's threads for each of them; what is missing here runs with those that are set.
    """

    def __init__(self, runs: Mapping[Timed, Run], threads: Mapping[Timed, int] | None = None) -> None:
        super().__init__(runs)
        self._threads = threads or {}
        self._load = HostLoad()

    def time(self, subject: Timed, calls: int) -> list[float]:
        """Run a subject a number of times and return the duration of each call in milliseconds."""
        threads = self._threads.get(subject)
        if threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(threads)
        return super().time(subject, calls)

    def state(self) -> DeviceState:
        """Return the load of other processes since the last call."""
        return DeviceState(other_load=self._load.share())
