"""Which process judges a trial, and whether that process is alive."""

import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import psutil


class Owner(NamedTuple):
    """What tells a process from every other.

    Attributes:
        host: Name of the process's machine.
        pid: Number of the process on that machine.
        since: Unix time in seconds at which the process started: numbers are used again.
    """

    host: str
    pid: int
    since: float

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Return the process that :meth:`plain` wrote."""
        return cls(**data)

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        return self._asdict()

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to be dead; for a process of another host only its silence tells."""
        if self.host != socket.gethostname():
            return False
        try:
            # psutil adds ticks to the time of boot, which an adjusted clock moves a little.
            return bool(abs(psutil.Process(self.pid).create_time() - self.since) > 1)
        except psutil.NoSuchProcess:
            return True
