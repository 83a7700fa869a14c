"""Human designs as chains of a given space: the candidates that a study judges first."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from srnas.search_space.architecture import CONV, Architecture
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.position import Position
from srnas.search_space.published import PUBLISHED, published
from srnas.search_space.space import SearchSpace

T = TypeVar("T")


class _Design(NamedTuple):
    """A design in the words of this package; what a space does not offer of the host is left to it.

    ``closed``: whether it has an end and a long skip. ``plain``: whether its positions add no residual. ``halved``:
    whether it takes half of the positions, as designs of trunk and attention do.
    """

    name: str
    trunk: str
    attention: str = NONE
    order: str = "after"
    tail: str = "pixelshuffle"
    skip: str = "none"
    closed: bool = True
    plain: bool = False
    halved: bool = False
    stem: str = CONV
    gather: str = NONE


_DESIGNS = (
    _Design("EDSR-like", "conv"),
    _Design("PlainUSR-like", "conv", "lia", skip="nearest", closed=False),
    _Design("A2N-like", NONE, "aab", tail="nearest_pa", skip="bilinear"),
    _Design("A2N-M-like", NONE, "aab_m", tail="nearest_pa", skip="bilinear"),
    _Design("MAN-like", "conv", "mlka", "before"),
    _Design("CBAM-like", "conv", "cbam"),
    _Design("SPAN-like", "spab", closed=False, plain=True, halved=True, stem="conv3xc", gather="stem+body+first+inner"),
    _Design("ECBSR-like", "ecb", skip="nearest", closed=False, plain=True, stem="ecb"),
)
_PLAIN = _Design("plain", "conv", skip="bilinear", closed=False)


def human_designs(space: SearchSpace) -> dict[str, Architecture]:
    """Return the published networks that ``space`` contains, then designs after them that fit it, by name.

    The designs have the least, middle or greatest width. Their host follows the publication as far as the space offers
    it. ``MAN-like`` has convolutions where MAN has GSAU. Plain chains of the smallest width (one position, half and all
    of them) and of the greatest mark the ends of the latency range. Of equal designs the first is kept.
    """
    published_ones = {name: published(name, space.scale) for name in PUBLISHED}
    found = {name: network for name, network in published_ones.items() if space.contains(network)}
    widths = sorted(set(space.content.channels))
    for design in _DESIGNS:
        channels = widths[len(widths) // 2]
        body = _body(space, channels, design)
        if body is not None:
            found[design.name] = _host(space, channels, body, design)
    for name, channels, share in (
        ("ESPCN-like", widths[0], 0.0),
        ("plain-half", widths[0], 0.5),
        ("plain-small", widths[0], 1.0),
        ("plain-large", widths[-1], 1.0),
    ):
        body = _body(space, channels, _PLAIN)
        if body is not None:
            kept = max(1, round(share * len(body)))
            found[name] = _host(space, channels, body[:kept], _PLAIN)
    distinct = {network: name for name, network in reversed(found.items()) if space.contains(network)}
    return {name: found[name] for name in found if name in distinct.values()}


def _body(space: SearchSpace, channels: int, design: _Design) -> tuple[Position, ...] | None:
    blocks = (design.trunk, design.attention)
    fitting = [position for position in space.alphabet(channels, blocks) if position.active is None]
    fitting.sort(key=lambda position: (position.order != design.order, position.residual == design.plain))
    depth = space.content.positions
    if not fitting or not depth:
        return None
    halved = (design.halved or NONE not in blocks) and depth > 1
    return (fitting[0],) * (depth // 2 if halved else depth)


def _host(space: SearchSpace, channels: int, body: tuple[Position, ...], design: _Design) -> Architecture:
    content = space.content
    tail = _named(design.tail, content.tail)
    return Architecture(
        scale=space.scale,
        channels=channels,
        stem=_named(design.stem, content.stem),
        positions=body,
        end=_prefer("conv" if design.closed else "none", content.end),
        long_skip=_prefer(design.closed, content.long_skip),
        gather=_prefer(design.gather, content.gather),
        tail=tail,
        global_skip=_prefer(design.skip, space.skips(tail)),
        input_range=content.input_range[0],
        mean_shift=content.mean_shift[0],
        colours=content.colours[0],
    )


def _prefer(wanted: object, offered: Sequence[T]) -> T:
    return next((choice for choice in offered if choice == wanted), offered[0])


def _named(wanted: str, offered: Sequence[Choice]) -> Choice:
    return next((choice for choice in offered if choice.name == wanted), offered[0])
