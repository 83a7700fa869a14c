"""The bench of a CUDA device, whose figures are of two kinds.

*What a caller waits for*: the host's clock around one call and a synchronisation. Every runtime has this figure, a CPU
has the same one, and a budget of latency means it: it ranks. Where the host launches more slowly than the device
computes, it is the host's time; ``launch_bound`` says so, and the runtimes ``compile`` and ``cudagraph`` are the cure.

*What the device needs*: events around replays of a graph that holds many calls. It tells what is left to gain by that
cure, and is what a profile of a single block is about.
"""

import time
from collections.abc import Mapping

import torch

from srnas.profiling.bench import host_load
from srnas.profiling.graphs import ColdReplay, GraphReplay
from srnas.profiling.host_clock import COLD_FACTOR, Call
from srnas.profiling.preflight import read_gpu
from srnas.profiling.rounds import DeviceState, Timed, Way


class CudaBench:
    """Times callables with the clock of the host, and graphs with events of the device.

    Args:
        runs: What is timed.
        device: Where they run.
        flush: Overwrites the L2 cache before each call of what is timed cold by the clock of the host.
    """

    def __init__(
        self,
        runs: Mapping[Timed, Call | GraphReplay | ColdReplay],
        device: torch.device,
        flush: Call = lambda: None,
    ) -> None:
        self._runs = runs
        self._device = device
        self._flush = flush
        self._load = host_load()

    def time(self, subject: Timed, calls: int) -> list[float]:
        """Return the duration in milliseconds of each of so many calls; of a call in each replay, of a graph."""
        run, clock = self._runs[subject], time.perf_counter_ns
        if isinstance(run, (GraphReplay, ColdReplay)):
            return run.times_ms(calls)
        durations = []
        for _ in range(calls):
            if subject.way is Way.COLD:
                self._flush()
            torch.cuda.synchronize(self._device)
            start = clock()
            run()
            # All streams: a runtime may have its own.
            torch.cuda.synchronize(self._device)
            durations.append((clock() - start) / 1e6)
        return durations

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def rest(self, seconds: float) -> None:
        """Let the device idle."""
        time.sleep(seconds)

    def state(self) -> DeviceState:
        """Return clock, throttling and other processes as the driver tells them now, and the load of the host."""
        gpu = read_gpu(self._device)
        return DeviceState(gpu.clock_mhz, gpu.throttled, gpu.intruders, self._load.read())


def overwriting(device: torch.device) -> Call:
    """Return what overwrites the L2 cache of a device."""
    size = COLD_FACTOR * torch.cuda.get_device_properties(device).L2_cache_size
    buffer = torch.empty(size, dtype=torch.uint8, device=device)
    return lambda: buffer.fill_(1)
