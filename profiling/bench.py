"""The bench of a CPU: the clock of the host, and the load that others put on it."""

import time
from collections.abc import Mapping

import psutil
import torch

from srnas.profiling.agent.machine import Load
from srnas.profiling.host_clock import Call, HostClock
from srnas.profiling.rounds import DeviceState, Timed


def host_load() -> Load:
    """Return what tells the load that other processes put on the cores that this one may use, on any system."""
    process = psutil.Process()

    def seconds() -> tuple[float, float, float]:
        every, own = psutil.cpu_times(percpu=True), process.cpu_times()
        # macOS binds no process to cores.
        numbers = process.cpu_affinity() if hasattr(process, "cpu_affinity") else range(len(every))
        cores = [every[number] for number in numbers if number < len(every)]
        # What follows the first eight is time of guests, which is part of the user's already.
        busy = sum(sum(core[:8]) - core.idle - getattr(core, "iowait", 0.0) for core in cores)
        return time.monotonic() * len(cores), busy, own.user + own.system

    return Load(seconds)


class CpuBench(HostClock):
    """Times callables with the clock of the host.

    Args:
        runs: What is timed; before each call of what is timed cold, the caches are overwritten.
        threads: Torch's threads for each of them; what is missing here runs with those that are set.
    """

    def __init__(self, runs: Mapping[Timed, Call], threads: Mapping[Timed, int] | None = None) -> None:
        super().__init__(runs)
        self._threads = threads or {}
        self._load = host_load()

    def time(self, subject: Timed, calls: int) -> list[float]:
        """Run a subject a number of times and return the duration of each call in milliseconds."""
        threads = self._threads.get(subject)
        if threads not in (None, torch.get_num_threads()):
            torch.set_num_threads(threads)
        return super().time(subject, calls)

    def state(self) -> DeviceState:
        """Return the load of other processes since the last call."""
        return DeviceState(other_load=self._load.read())
