"""The measured roofline of a device, its limits of arithmetic and memory, and which share of it a network reaches.

Reference: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model", CACM 52(4), 2009.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from srnas.profiling.bench import CpuBench
from srnas.profiling.counting import Counts
from srnas.profiling.cuda_bench import CudaBench
from srnas.profiling.device import Target, measuring_context
from srnas.profiling.graphs import GraphReplay, Recorder
from srnas.profiling.host_clock import last_cache_bytes
from srnas.profiling.lease import device_lease
from srnas.profiling.rounds import Timed

# Sides of the square matrix products whose best rate is the peak of arithmetic.
_MATRIX_SIDES = (256, 512, 1024)
_MATRIX_SIDES_ON_GPU = (2048, 4096, 8192)
# Bytes that a copy touches: from an inner cache on, and last so many times the last cache.
_BUFFERS = tuple(2**power for power in range(16, 26, 2))
_BEYOND_CACHE = 4
_TIME_S = 0.1
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Roofline:
    """Peak rates of a device at a data type.

    Attributes:
        macs_per_s: Multiply-accumulates per second of the best matrix product.
        bytes_per_s: Bytes read and written per second by a copy, by the bytes that it touches.
    """

    macs_per_s: float
    bytes_per_s: Mapping[int, float]

    def bandwidth(self, working_set: float) -> float:
        """Return the rate at which a number of bytes is moved: that of the next greater buffer."""
        sizes = sorted(self.bytes_per_s)
        return self.bytes_per_s[next((size for size in sizes if size >= working_set), sizes[-1])]

    def bound_ms(self, counts: Counts) -> float:
        """Return the least time that arithmetic and memory allow if nothing is fused, in milliseconds.

        Every operator reads and writes its tensors; the cache that serves them is the one that holds what an operator
        touches on average. A runtime that fuses operators can be faster.
        """
        working_set = counts.bytes_moved / max(1, counts.operators)
        return 1e3 * max(counts.macs / self.macs_per_s, counts.bytes_moved / self.bandwidth(working_set))


def measure_roofline(target: Target) -> Roofline | None:
    """Measure the peaks with torch on the target's device, data type and threads; ``None`` for int8.

    Raises:
        DeviceBusyError: If another process holds the device for too long.
    """
    dtype, device = _DTYPES.get(target.dtype), target.device
    if dtype is None:
        return None
    runs: dict[str, tuple[Callable[[], object], float]] = {}
    for side in _MATRIX_SIDES_ON_GPU if device.type == "cuda" else _MATRIX_SIDES:
        matrix = torch.rand(side, side, device=device, dtype=dtype)
        runs[f"product {side}"] = (_product(matrix), float(side**3))
    buffers = (*_BUFFERS, _BEYOND_CACHE * _last_cache(device))
    for size in buffers:
        source = torch.zeros(size // 2, dtype=torch.uint8, device=device)
        runs[f"copy {size}"] = (_copy(source), float(size))
    with device_lease(device), measuring_context(target):
        bench = _bench({Timed(name): run for name, (run, _) in runs.items()}, device)
        rates = {name: work / (_fastest_ms(bench, Timed(name)) / 1e3) for name, (_, work) in runs.items()}
    return Roofline(
        macs_per_s=max(rate for name, rate in rates.items() if name.startswith("product")),
        bytes_per_s={size: rates[f"copy {size}"] for size in buffers},
    )


def _bench(runs: Mapping[Timed, Callable[[], object]], device: torch.device) -> CpuBench | CudaBench:
    if device.type != "cuda":
        return CpuBench(runs)
    # A peak of the device is without the host's launches, which take longer than a small copy.
    recorder = Recorder(device)
    return CudaBench({subject: GraphReplay(run, recorder) for subject, run in runs.items()}, device)


def _last_cache(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    return last_cache_bytes()


def _product(matrix: torch.Tensor) -> Callable[[], object]:
    return lambda: matrix @ matrix


def _copy(source: torch.Tensor) -> Callable[[], object]:
    sink = torch.empty_like(source)
    return lambda: sink.copy_(source)


def _fastest_ms(bench: CpuBench | CudaBench, subject: Timed) -> float:
    started = time.monotonic()
    fastest = min(bench.time(subject, 3))
    while time.monotonic() - started < _TIME_S:
        fastest = min(fastest, *bench.time(subject, 3))
    return fastest
