"""Which process judges a trial, and whether that process is alive."""

import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import psutil

# psutil tells starts and the boot by the clock, which may be adjusted a little between the two.
_TOLERANCE_S = 1.0


class Owner(NamedTuple):
    """What tells a process from every other.

    Attributes:
        host: Name of the process's machine.
        pid: Number of the process on that machine.
        since: Seconds from the machine's start to that of the process: numbers are used again.
        namespace: Where that number holds: containers may share a machine's name and have numbers of their own.
    """

    host: str
    pid: int
    since: float
    namespace: str = ""

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return a process that is seen from here.

        Raises:
            psutil.NoSuchProcess: If there is none of that number.
        """
        # In this order: older versions of psutil add the boot as it was asked for last to a process's start.
        booted = psutil.boot_time()
        return cls(socket.gethostname(), pid, psutil.Process(pid).create_time() - booted, _namespace())

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Return the process that :meth:`plain` wrote."""
        return cls(**data)

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        return self._asdict()

    @property
    def is_this(self) -> bool:
        """Whether it is this process."""
        return self.pid == os.getpid() and self.is_here and not self.is_dead

    @property
    def is_here(self) -> bool:
        """Whether the process, if it lives, is seen from here."""
        return (self.host, self.namespace) == (socket.gethostname(), _namespace())

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to be dead; of one that is not seen from here only its silence tells."""
        if not self.is_here:
            return False
        try:
            return abs(Owner.of(self.pid).since - self.since) > _TOLERANCE_S
        except psutil.NoSuchProcess:
            return True


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # Only Linux has them.
        return ""
