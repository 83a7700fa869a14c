"""A double of what CUDA does with time: streams, events, kernels, graphs and a sleeping device, on a virtual clock.

The host's clock moves when the host works: it launches a kernel, a graph or an event, or waits. A kernel begins when it
is launched and the stream is free. Times are in milliseconds.
"""

import contextlib
import sys
from collections import namedtuple
from types import SimpleNamespace
from unittest import mock

import torch

# What an event tells apart. source: CUDA's documentation of cudaEventElapsedTime.
_RESOLUTION_MS = 0.0005
_CYCLES_PER_MS = 2_000_000

_Times = namedtuple("_Times", "user nice system idle iowait irq softirq steal")


class Stream:
    """Kernels that run one after the other; none waits for another stream.

    Args:
        device: Whose it is.
    """

    def __init__(self, device=None):
        self.device, self.free_at = device, 0.0

    def wait_stream(self, other):
        self.free_at = max(self.free_at, other.free_at)


class VirtualGpu:
    """A device and its host.

    Args:
        launch_ms: What the host needs to launch a graph.
        wait_ms: What the host needs beyond the device to see that it is done.
        flush_ms: What the device needs to overwrite its cache.
        cold: How much longer a kernel takes on an overwritten cache.
        load: Share of the cores that other processes keep busy.
        jitter: Yields factors of what the host needs, call by call.
    """

    def __init__(self, *, launch_ms=0.01, wait_ms=0.002, flush_ms=0.02, cold=1.0, load=0.0, jitter=None):
        self.launch_ms, self.wait_ms, self.flush_ms, self.cold, self.load = launch_ms, wait_ms, flush_ms, cold, load
        self.jitter = jitter
        self.now, self.is_cold = 0.0, False
        self.current = Stream("current")
        self.streams = [self.current]
        self.capturing = None
        self.pools = 0

    def stream(self, device=None):
        self.streams.append(Stream(device))
        return self.streams[-1]

    def host(self, ms):
        self.now += ms * (next(self.jitter) if self.jitter else 1.0)

    def kernel(self, device_ms, host_ms=0.0, stream=None, flushes=False):
        """Launch a kernel, or add it to the graph that is being captured."""
        self.host(host_ms)
        if self.capturing is not None:
            self.capturing.kernels.append((device_ms, flushes))
            return
        stream = stream or self.current
        stream.free_at = max(stream.free_at, self.now) + self._runs(device_ms, flushes)

    def _runs(self, device_ms, flushes):
        cold, self.is_cold = self.is_cold and not flushes, flushes
        return device_ms * (self.cold if cold else 1.0)

    def network(self, kernels, host_ms, device_ms, *, own_stream=False, waits=False):
        """Return a forward pass of so many kernels, by what each needs of the host and of the device.

        Args:
            kernels: How many.
            host_ms: To launch one.
            device_ms: To run one.
            own_stream: Whether they run on a stream that does not wait for others, as those of ONNX Runtime.
            waits: Whether the host reads a result in the middle of it, which no capture allows.
        """
        stream = self.stream() if own_stream else None

        def run():
            for number in range(kernels):
                self.kernel(device_ms, host_ms, stream)
                if waits and number == kernels // 2:
                    self.synchronize()
            if own_stream:
                self.now = max(self.now, stream.free_at) + self.wait_ms

        return run

    def synchronize(self, device=None):
        if self.capturing is not None:
            self.capturing.invalid = True
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self.now = max(self.now, *(stream.free_at for stream in self.streams))
        self.host(self.wait_ms)

    def doubles(self):
        """Return a context in which torch and psutil are this device and its host."""
        gpu = self

        class Event:
            def __init__(self, enable_timing=False):
                assert enable_timing

            def record(self):
                gpu.host(0.001)
                gpu.current.free_at = max(gpu.current.free_at, gpu.now)
                self.at = gpu.current.free_at

            def elapsed_time(self, end):
                assert max(self.at, end.at) <= gpu.now, "the device has not come to this event"
                return round((end.at - self.at) / _RESOLUTION_MS) * _RESOLUTION_MS

        class Graph:
            def __init__(self):
                self.kernels, self.invalid = [], False

            def replay(self):
                gpu.host(gpu.launch_ms)
                took = sum(gpu._runs(*kernel) for kernel in self.kernels)
                gpu.current.free_at = max(gpu.current.free_at, gpu.now) + took

        class Capture:
            def __init__(self, graph, pool=None, stream=None, check_input_liveness=False):
                self.graph, self.side = graph, stream

            def __enter__(self):
                gpu.synchronize()
                self.before, gpu.current, gpu.capturing = gpu.current, self.side, self.graph

            def __exit__(self, *_):
                gpu.capturing = None
                if self.graph.invalid:
                    raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
                gpu.current = self.before

        @contextlib.contextmanager
        def use(stream):
            before, gpu.current = gpu.current, stream
            try:
                yield
            finally:
                gpu.current = before

        def pool():
            gpu.pools += 1
            return gpu.pools

        def on_cuda(*size, device=None, **options):
            if torch.device(device or "cpu").type != "cuda":
                return empty(*size, device=device, **options)
            return SimpleNamespace(fill_=lambda _: gpu.kernel(gpu.flush_ms, 0.005, flushes=True))

        def cpu_times(percpu):
            assert percpu
            busy = gpu.load * gpu.now / 1e3
            return [_Times(busy, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)] * torch.multiprocessing.cpu_count()

        def sleep(seconds):
            gpu.now += seconds * 1e3

        clock = SimpleNamespace(perf_counter_ns=lambda: gpu.now * 1e6, monotonic=lambda: gpu.now / 1e3, sleep=sleep)
        empty, own = torch.empty, SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=0.0, system=0.0))
        cuda = {
            "Stream": gpu.stream,
            "Event": Event,
            "CUDAGraph": Graph,
            "graph": Capture,
            "graph_pool_handle": pool,
            "stream": use,
            "device": lambda _: contextlib.nullcontext(),
            "current_stream": lambda _=None: gpu.current,
            "synchronize": gpu.synchronize,
            "_sleep": lambda cycles: gpu.kernel(cycles / _CYCLES_PER_MS, 0.002),
            "get_device_properties": lambda _: SimpleNamespace(L2_cache_size=1, uuid="8-4-4"),
        }
        stack = contextlib.ExitStack()
        for name, double in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, double))
        stack.enter_context(mock.patch.object(torch, "empty", on_cuda))
        # By hand: patch.dict forgets at its end what was imported meanwhile, and torch cannot be imported twice.
        stack.callback(sys.modules.update, {name: sys.modules[name] for name in ("pynvml",) if name in sys.modules})
        stack.callback(sys.modules.pop, "pynvml")
        sys.modules["pynvml"] = None
        stack.enter_context(mock.patch.multiple("psutil", cpu_times=cpu_times, Process=lambda: own))
        for room in ("bench", "cuda_bench"):
            with contextlib.suppress(ModuleNotFoundError, AttributeError):
                stack.enter_context(mock.patch(f"srnas.profiling.{room}.time", clock))
        return stack


def waited_ms(kernels, host_ms, device_ms, wait_ms=0.002):
    """Return what a caller waits for such a network: the slower of host and device, and one kernel of the other."""
    return max(kernels * host_ms + device_ms, host_ms + kernels * device_ms) + wait_ms
