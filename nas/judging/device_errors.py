"""What an error of torch means: too little memory on the device, or a device that this process has lost."""

import torch

from srnas.nas.errors import DeviceLostError

# On a CPU torch raises a plain RuntimeError, and on CUDA an AcceleratorError or that of cuBLAS: only the text tells.
# source: c10/core/impl/alloc_cpu.cpp, cudaErrorMemoryAllocation, cublasStatus_t
_OF_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_memory(error: Exception) -> bool:
    """Return whether an error is that of a lack of memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OF_MEMORY)


def check_device(device: torch.device, error: Exception) -> None:
    """See after an error whether the device still answers.

    After some errors, such as an illegal access, CUDA refuses everything that the process asks for.

    Raises:
        DeviceLostError: If it does not.
    """
    if device.type != "cuda" or not isinstance(error, RuntimeError):
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as lost:
        raise DeviceLostError(
            f"{device} must answer, but says '{str(lost).partition(chr(10))[0]}' since '{type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}'; run the same command again, in a process of its own."
        ) from error
