"""Whether an error that judging a candidate raises is none of the candidate's."""

import sqlite3

import torch

from srnas.nas.errors import DeviceLostError
from srnas.search_space import InputError


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


def check_machine(error: Exception) -> None:
    """See whether an error, or what caused it, is one of files: of the lease, a full disk, too many that are open.

    Raises:
        InputError: If it is.
    """
    for one in (error, error.__cause__):
        # Libraries raise OSError without a number for much else.
        if isinstance(one, sqlite3.Error) or (isinstance(one, OSError) and one.errno is not None):
            raise InputError(
                f"this machine must be able to judge candidates, but {type(one).__name__}: {one}; correct that and run "
                "the same command again: it continues from here."
            ) from error
