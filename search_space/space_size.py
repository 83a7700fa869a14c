"""How many distinct networks the choices of a space make."""

import itertools

from srnas.search_space.architecture import GlobalSkip
from srnas.search_space.choice import NO_BLOCK, NONE, Choice
from srnas.search_space.fitting import fits, position_of
from srnas.search_space.position import Position
from srnas.search_space.space_file import SpaceFile


def count_networks(content: SpaceFile) -> int:
    """Return the number of distinct networks (not of genotypes: identity positions and dead choices count once)."""
    hosts = sum(len(set(fitting_skips(content, tail))) for tail in set(content.tail))
    for choices in (content.end, content.long_skip, content.input_range, content.mean_shift):
        hosts *= len(set(choices))
    return hosts * sum(_count_bodies(content, channels) for channels in set(content.channels))


def _count_bodies(content: SpaceFile, channels: int) -> int:
    blocks = count_blocks(content, channels)
    depths = range(content.positions + 1) if has_identity(content) else (content.positions,)
    return sum(blocks**depth for depth in depths)


def count_blocks(content: SpaceFile, channels: int) -> int:
    """Return the number of distinct positions that hold a block and fit ``channels``."""
    orders, residuals = len(set(content.order)), len(set(content.residual))
    count = 0
    for position in _fitting_positions(content, channels):
        twofold = NONE not in (position.trunk.name, position.attention.name)
        block = not position.is_identity
        count += block * (orders if twofold else 1) * (residuals if position.has_free_residual else 1)
    return count


def _fitting_positions(content: SpaceFile, channels: int) -> set[Position]:
    genes = itertools.product(content.trunk, content.attention, content.active)
    return {position for gene in genes if (position := position_of(*gene, channels))}


def has_identity(content: SpaceFile) -> bool:
    """Return whether a position may stay empty."""
    return NO_BLOCK in content.trunk and NO_BLOCK in content.attention


def fitting_skips(content: SpaceFile, tail: Choice) -> list[GlobalSkip]:
    """Return the global skips that ``tail`` can serve."""
    return [skip for skip in content.global_skip if fits(skip, tail)]
