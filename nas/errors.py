"""Errors of searches and trainings, and how names are listed in messages."""

from collections.abc import Sequence

from srnas.search_space import InputError


class OverBudgetError(Exception):
    """A candidate exceeds a budget."""


class StoppedError(Exception):
    """A candidate does not get beyond a rung."""


class TimedOutError(Exception):
    """A candidate is trained for too long."""


class DivergedError(ArithmeticError):
    """The loss or the result of a training is not finite."""


class DiskFullError(InputError):
    """A file of the workspace cannot be written."""


class DeviceLostError(InputError):
    """A device answers nothing that this process asks; another process may use it."""


class StorageLostError(InputError):
    """A storage does not answer."""


class LeaderFailedError(InputError):
    """The first process of a team could not do what the others waited for."""


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
