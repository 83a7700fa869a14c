"""Peak memory of one forward pass beyond what was resident before it, and errors of too little memory."""

import os
from collections.abc import Callable

import torch

# Runtimes that allocate through torch in each pass; the others have allocators of their own, or allocate beforehand.
_TORCH_RUNTIMES = frozenset(("eager", "compile"))
# On a CPU torch raises a plain RuntimeError, and on CUDA an AcceleratorError or that of cuBLAS: only the text tells.
# source: c10/core/impl/alloc_cpu.cpp, cudaErrorMemoryAllocation, cublasStatus_t
_OF_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_memory(error: Exception) -> bool:
    """Return whether an error is that of a lack of memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OF_MEMORY)


def peak_memory_mib(run: Callable[[], object], runtime: str, device: torch.device) -> float | None:
    """Return the peak of one warm call in MiB, or ``None`` where the runtime does not allocate through torch."""
    if runtime not in _TORCH_RUNTIMES:
        return None
    return _peak_on_cuda(run, device) if device.type == "cuda" else _peak_on_cpu(run)


def _peak_on_cuda(run: Callable[[], object], device: torch.device) -> float:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    resident = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - resident) / 2**20


def _peak_on_cpu(run: Callable[[], object]) -> float:
    # The profiler's library announces itself on the standard error stream otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()  # Kept until the record ends: an output is part of the peak.
    del result
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    live = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak / 2**20
