"""One latency measurement at a time per device: an exclusive lease across processes, freed when its holder dies."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout


class DeviceBusyError(RuntimeError):
    """Another process holds the device for longer than the timeout."""


@contextlib.contextmanager
def device_lease(device: torch.device, timeout_s: float = 120.0) -> Iterator[None]:
    """Hold ``device`` for measuring; the operating system frees it if this process dies.

    Raises:
        DeviceBusyError: If another process holds it for longer than ``timeout_s``.
    """
    # All users of a machine share its devices, hence the machine's temporary folder.
    path = Path(tempfile.gettempdir()) / f"srnas-{str(device).replace(':', '-')}.lease"
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        holder = path.with_suffix(".pid")
        pid = holder.read_text().strip() if holder.is_file() else "unknown"
        raise DeviceBusyError(
            f"device '{device}' must be free for measuring, but process {pid} held it for {timeout_s:g} s; "
            "wait for it or stop it."
        ) from None
    try:
        path.with_suffix(".pid").write_text(str(os.getpid()))
        yield
    finally:
        lock.release()
