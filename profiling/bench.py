"""The bench of a CPU: the clock of the host, and the load that others put on it."""

import os
import time
from collections.abc import Mapping

import psutil
import torch

from srnas.profiling.agent.machine import Load
from srnas.profiling.host_clock import Call, HostClock
from srnas.profiling.rounds import DeviceState, Timed


def host_load() -> Load:
    """Return what tells the load that other processes put on the cores of this machine, on any system."""
    process = psutil.Process()

    def seconds() -> tuple[float, float, float]:
        cores, own = psutil.cpu_times(), process.cpu_times()
        # What follows the first eight is time of guests, which is part of the user's already.
        busy = sum(cores[:8]) - cores.idle - getattr(cores, "iowait", 0.0)
        return time.monotonic() * (os.cpu_count() or 1), busy, own.user + own.system

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
