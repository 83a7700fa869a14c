"""A machine with an agent, as a target."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Board:
    """A machine with an agent.

    Attributes:
        name: What the user calls it.
        url: Where its agent listens.
        token: What it must be shown.
        machine: What it says it is.
        cores: How many cores the agent may use.
        runtimes: Name of each of its runtimes, with name and version of its library.
    """

    name: str
    url: str
    token: str = field(default="", repr=False)
    machine: str = ""
    cores: int = 1
    runtimes: tuple[tuple[str, str], ...] = ()

    def version(self, runtime: str) -> str:
        """Return name and version of a runtime's library there; empty where it has none."""
        return dict(self.runtimes).get(runtime, "")
