"""A machine with an agent, as a target."""

from dataclasses import dataclass, field
from typing import NamedTuple


class BoardRuntime(NamedTuple):
    """A runtime that a board has: name and version of its library, and the data types it may be asked for."""

    name: str
    version: str
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """A machine with an agent.

    Attributes:
        name: What the user calls it.
        url: Where its agent listens.
        token: What it must be shown.
        machine: What it says it is.
        cores: How many cores the agent may use.
        runtimes: What it has.
        int8_saturates: Whether its products of 8 bits can overflow.
    """

    name: str
    url: str
    token: str = field(default="", repr=False)
    machine: str = ""
    cores: int = 1
    runtimes: tuple[BoardRuntime, ...] = ()
    int8_saturates: bool = False

    def version(self, runtime: str) -> str:
        """Return name and version of a runtime's library there; empty where it has none."""
        return next((known.version for known in self.runtimes if known.name == runtime), "")
