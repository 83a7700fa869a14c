"""The lease of a device: exclusive for measuring, shared for training, across processes, freed when a holder dies.

A process that waits to measure goes before those that ask for a share later, so that training gives way at its next
:meth:`Share.give_way`.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from filelock import ReadWriteLock, Timeout

from srnas.profiling.preflight import gpu_uuid

TIMEOUT_S = 120.0

# A share is offered back no more often.
_GIVE_WAY_S = 0.5
# A training that has begun waits this long for a measurement to end: making a block table takes many minutes.
_PAUSE_S = 3600.0


class DeviceBusyError(RuntimeError):
    """Other processes hold the device for longer than the timeout."""


@contextlib.contextmanager
def device_lease(device: torch.device, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Hold ``device`` alone, for measuring; the operating system frees it if this process dies.

    Raises:
        DeviceBusyError: If other processes hold it for longer than ``timeout_s``.
    """
    lock = _open(device)
    _acquire(lock, "write", device, timeout_s)
    try:
        _write_note(device)
        yield
    finally:
        lock.release()
        _remove_note(device)


@contextlib.contextmanager
def device_share(device: torch.device, timeout_s: float = TIMEOUT_S) -> "Iterator[Share]":
    """Hold ``device`` together with others that do not measure, for training.

    Raises:
        DeviceBusyError: If another process measures for longer than ``timeout_s``.
    """
    share = Share(device, timeout_s)
    try:
        yield share
    finally:
        share.release()


class Share:
    """A shared hold of a device.

    Args:
        device: What is held.
        timeout_s: How long to wait at first for a measurement to end.
    """

    def __init__(self, device: torch.device, timeout_s: float) -> None:
        self._device = device
        self._lock = _open(device)
        self._take(timeout_s)

    def _take(self, timeout_s: float) -> None:
        _acquire(self._lock, "read", self._device, timeout_s)
        _write_note(self._device)
        self._since = time.monotonic()

    def release(self) -> None:
        """Give the share back."""
        self._lock.release(force=True)
        _remove_note(self._device)

    def give_way(self) -> None:
        """Let a process that waits to measure go first; call it often, it is almost always free.

        Raises:
            DeviceBusyError: If that process measures for more than an hour.
        """
        if time.monotonic() - self._since >= _GIVE_WAY_S:
            self.release()
            self._take(_PAUSE_S)


def _acquire(lock: ReadWriteLock, mode: str, device: torch.device, timeout_s: float) -> None:
    acquire = lock.acquire_write if mode == "write" else lock.acquire_read
    try:
        acquire(timeout_s)
    except Timeout:
        purpose = "for measuring" if mode == "write" else "of measurements"
        raise DeviceBusyError(
            f"device '{device}' must be free {purpose}, but {_holders(device)} held it for {timeout_s:g} s; "
            "wait for it or stop it."
        ) from None


def _folder() -> Path:
    # All users and jobs of a machine share its devices: a folder that everybody may write, wherever TMPDIR points.
    usual = Path("/tmp" if os.name == "posix" else tempfile.gettempdir()) / "srnas-leases"
    folder = Path(os.environ.get("SRNAS_LEASES", usual))
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # Another user was faster.
            folder.chmod(0o777)
    return folder


def _name(device: torch.device) -> str:
    """Return a name that is the same in every process, whatever devices are visible there."""
    if device.type == "cuda":
        # Numbers of GPUs differ between processes that see different ones.
        return f"cuda-{gpu_uuid(device)}"
    return str(device)


def _open(device: torch.device) -> ReadWriteLock:
    path = _folder() / f"{_name(device)}.lease"
    lock = ReadWriteLock(path, is_singleton=False)
    with contextlib.suppress(PermissionError):  # It is another user's, who did this.
        path.chmod(0o666)
    return lock


def _note(device: torch.device) -> Path:
    """Return the file that says that this process holds the device, for the message of those who wait in vain."""
    return _folder() / f"{_name(device)}.{os.getpid()}.holder"


def _write_note(device: torch.device) -> None:
    # A note of a dead process of another user may have this number, or the disk be full: then nobody is named.
    with contextlib.suppress(OSError):
        _note(device).write_text(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), "utf-8", "replace")


def _remove_note(device: torch.device) -> None:
    with contextlib.suppress(OSError):
        _note(device).unlink(missing_ok=True)


def _holders(device: torch.device) -> str:
    """Return the processes that hold ``device``, in words; notes of dead processes are removed."""
    found = []
    for note in _folder().glob(f"{_name(device)}.*.holder"):
        pid = int(note.suffixes[-2].removeprefix("."))
        if psutil.pid_exists(pid):
            with contextlib.suppress(OSError):
                found.append(f"process {pid} ({note.read_text(encoding='utf-8')})")
        else:
            with contextlib.suppress(OSError):
                note.unlink()
    return " and ".join(sorted(found)) or "another process"
