"""How many distinct networks the choices of a space make."""

import itertools
from functools import cache

from srnas.search_space.architecture import GlobalSkip, stem_at
from srnas.search_space.choice import NO_BLOCK, NONE, Choice
from srnas.search_space.fitting import fits, width_of
from srnas.search_space.position import Position
from srnas.search_space.space_file import SpaceFile


def count_networks(content: SpaceFile) -> int:
    """Return the number of distinct networks (not of genotypes: identity positions and dead choices count once)."""
    hosts = sum(len(set(fitting_skips(content, tail))) for tail in set(content.tail))
    for gene in ("end", "long_skip", "gather", "input_range", "mean_shift", "colours"):
        hosts *= len(set(getattr(content, gene)))
    return hosts * sum(_count_stems(content, c) * _count_bodies(content, c) for c in set(content.channels))


def _count_stems(content: SpaceFile, channels: int) -> int:
    return len({stem_at(stem, channels) for stem in content.stem})


def _count_bodies(content: SpaceFile, channels: int) -> int:
    blocks = count_blocks(content, channels)
    depths = range(content.positions + 1) if has_identity(content) else (content.positions,)
    return sum(blocks**depth for depth in depths)


def count_blocks(content: SpaceFile, channels: int) -> int:
    """Return the number of distinct positions that hold a block and fit ``channels``."""
    orders, residuals = len(set(content.order)), len(set(content.residual))
    count = 0
    for width in {width_of(channels, fraction) for fraction in content.active}:
        pairs = itertools.product(_fitting(content.trunk, width), _fitting(content.attention, width))
        for trunk, attention in pairs:
            twofold = NONE not in (trunk.name, attention.name)
            free = _has_free_residual(trunk.name, attention.name)
            block = trunk.name != NONE or attention.name != NONE
            count += block * (orders if twofold else 1) * (residuals if free else 1)
    return count


def _fitting(choices: tuple[Choice, ...], width: int) -> set[Choice]:
    return {choice.at(width) for choice in choices if choice.name == NONE or choice.constraint.allows(width)}


@cache
def _has_free_residual(trunk: str, attention: str) -> bool:
    return Position(trunk=Choice(name=trunk), attention=Choice(name=attention)).has_free_residual


def has_identity(content: SpaceFile) -> bool:
    """Return whether a position may stay empty."""
    return NO_BLOCK in content.trunk and NO_BLOCK in content.attention


def fitting_skips(content: SpaceFile, tail: Choice) -> list[GlobalSkip]:
    """Return the global skips that ``tail`` can serve."""
    return [skip for skip in content.global_skip if fits(skip, tail)]
