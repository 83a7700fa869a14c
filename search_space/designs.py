"""Human designs as chains of a given space: the candidates that a study judges first."""

from collections.abc import Sequence
from typing import TypeVar

from srnas.search_space.architecture import Architecture
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.position import Position
from srnas.search_space.published import PUBLISHED, published
from srnas.search_space.space import SearchSpace

T = TypeVar("T")

# (design, trunk, attention, order, tail, global skip, end and long skip) in the words of this package.
_DESIGNS: tuple[tuple[str, str, str, str, str, str, bool], ...] = (
    ("EDSR-like", "conv", NONE, "after", "pixelshuffle", "none", True),
    ("PlainUSR-like", "conv", "lia", "after", "pixelshuffle", "nearest", False),
    ("A2N-like", NONE, "aab", "after", "nearest_pa", "bilinear", True),
    ("A2N-M-like", NONE, "aab_m", "after", "nearest_pa", "bilinear", True),
    ("MAN-like", "conv", "mlka", "before", "pixelshuffle", "none", True),
    ("CBAM-like", "conv", "cbam", "after", "pixelshuffle", "none", True),
)


def human_designs(space: SearchSpace) -> dict[str, Architecture]:
    """Return the published networks that ``space`` contains, then designs after them that fit it, by name.

    The designs have the least, middle or greatest width. Their host follows the publication as far as the space offers
    it. ``MAN-like`` has convolutions where MAN has GSAU. Plain chains of the smallest width (one position, half and all
    of them) and of the greatest mark the ends of the latency range. Of equal designs the first is kept.
    """
    published_ones = {name: published(name, space.scale) for name in PUBLISHED}
    found = {name: network for name, network in published_ones.items() if space.contains(network)}
    widths = sorted(set(space.content.channels))
    for name, trunk, attention, order, tail, skip, closed in _DESIGNS:
        channels = widths[len(widths) // 2]
        body = _body(space, channels, trunk, attention, order)
        if body is not None:
            found[name] = _host(space, channels, body, tail, skip, closed)
    for name, channels, share in (
        ("ESPCN-like", widths[0], 0.0),
        ("plain-half", widths[0], 0.5),
        ("plain-small", widths[0], 1.0),
        ("plain-large", widths[-1], 1.0),
    ):
        body = _body(space, channels, "conv", NONE, "after")
        if body is not None:
            kept = max(1, round(share * len(body)))
            found[name] = _host(space, channels, body[:kept], "pixelshuffle", "bilinear", False)
    distinct = {design: name for name, design in reversed(found.items()) if space.contains(design)}
    return {name: found[name] for name in found if name in distinct.values()}


def _body(space: SearchSpace, channels: int, trunk: str, attention: str, order: str) -> tuple[Position, ...] | None:
    fitting = [position for position in space.alphabet(channels, (trunk, attention)) if position.active is None]
    fitting.sort(key=lambda position: (position.order != order, not position.residual))
    depth = space.content.positions
    if not fitting or not depth:
        return None
    return (fitting[0],) * (depth // 2 if trunk != NONE and attention != NONE and depth > 1 else depth)


def _host(
    space: SearchSpace, channels: int, body: tuple[Position, ...], tail: str, skip: str, closed: bool
) -> Architecture:
    content = space.content
    chosen_tail = _tail(tail, content.tail)
    return Architecture(
        scale=space.scale,
        channels=channels,
        positions=body,
        end=_prefer("conv" if closed else "none", content.end),
        long_skip=_prefer(closed, content.long_skip),
        tail=chosen_tail,
        global_skip=_prefer(skip, space.skips(chosen_tail)),
        input_range=content.input_range[0],
        mean_shift=content.mean_shift[0],
    )


def _prefer(wanted: object, offered: Sequence[T]) -> T:
    return next((choice for choice in offered if choice == wanted), offered[0])


def _tail(wanted: str, offered: Sequence[Choice]) -> Choice:
    return next((choice for choice in offered if choice.name == wanted), offered[0])
