"""The positions and skips that the constraints of their blocks and tails allow."""

from functools import cache

from srnas.search_space.architecture import GlobalSkip, check_skip
from srnas.search_space.choice import Choice
from srnas.search_space.errors import InputError
from srnas.search_space.position import Order, Position


def width_of(channels: int, fraction: float) -> int:
    """Return the number of active channels that a fraction of ``channels`` stands for."""
    return max(1, round(channels * fraction))


def has_width(position: Position, fraction: float, channels: int) -> bool:
    """Return whether this fraction of ``channels`` gives the active width of a position."""
    return position.is_identity or (position.active or channels) == width_of(channels, fraction)


@cache
def position_of(trunk: Choice, attention: Choice, fraction: float, channels: int) -> Position | None:
    """Return the position of these blocks, or ``None`` if it violates a constraint."""
    try:
        return Position(trunk=trunk, attention=attention, active=width_of(channels, fraction)).at(channels)
    except InputError:
        return None


@cache
def position_of_genes(
    trunk: Choice, attention: Choice, order: Order, residual: bool, active: int, channels: int
) -> Position:
    """Return the position of genes that are known to fit, in its canonical form."""
    return Position(trunk=trunk, attention=attention, order=order, residual=residual, active=active).at(channels)


def fits(global_skip: GlobalSkip, tail: Choice) -> bool:
    """Return whether a tail can serve a global skip."""
    try:
        check_skip(global_skip, tail)
    except InputError:
        return False
    return True
