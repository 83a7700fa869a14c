"""Whether an error of torch means that this process has lost its device."""

import torch

from srnas.nas.errors import DeviceLostError


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
