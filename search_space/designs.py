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
    whether it takes half of the positions, as designs of trunk and attention do. ``ends``: trunk of its first and last
    position, if that is another one.
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
    ends: str = ""


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
_FSRCNN = _Design("FSRCNN-like", "conv", skip="bilinear", closed=False, plain=True, ends="conv1")


def human_designs(space: SearchSpace) -> dict[str, Architecture]:
    """Return the published networks that ``space`` contains, then designs after them that fit it, by name.

    The designs have the width that is nearest to the middle one of those that their blocks can have. Their host follows
    the publication as far as the space offers it. ``MAN-like`` has convolutions where MAN has GSAU, and ``FSRCNN-like``
    has one width. Plain chains of the smallest width (one position, half and all of them), ``FSRCNN-like`` and plain
    chains of the greatest width mark the ends of the latency range. Of equal designs the first is kept.
    """
    published_ones = {name: published(name, space.scale) for name in PUBLISHED}
    found = {name: network for name, network in published_ones.items() if space.contains(network)}
    widths = sorted(set(space.content.channels))
    middle = len(widths) // 2
    by_distance = sorted(widths, key=lambda width: abs(widths.index(width) - middle))
    for design in _DESIGNS:
        bodies = ((channels, _body(space, channels, design)) for channels in by_distance)
        if fitting := next(((channels, body) for channels, body in bodies if body is not None), None):
            found[design.name] = _host(space, *fitting, design)
    for name, design, channels, share in (
        ("ESPCN-like", _PLAIN, widths[0], 0.0),
        ("plain-half", _PLAIN, widths[0], 0.5),
        ("plain-small", _PLAIN, widths[0], 1.0),
        ("FSRCNN-like", _FSRCNN, widths[0], 1.0),
        ("plain-large", _PLAIN, widths[-1], 1.0),
    ):
        body = _body(space, channels, design)
        if body is not None:
            kept = max(1, round(share * len(body)))
            found[name] = _host(space, channels, body[:kept], design)
    distinct = {network: name for name, network in reversed(found.items()) if space.contains(network)}
    return {name: found[name] for name in found if name in distinct.values()}


def _body(space: SearchSpace, channels: int, design: _Design) -> tuple[Position, ...] | None:
    inner = _position(space, channels, design, design.trunk)
    depth = space.content.positions
    if inner is None or not depth:
        return None
    halved = (design.halved or NONE not in (design.trunk, design.attention)) and depth > 1
    body = (inner,) * (depth // 2 if halved else depth)
    if not design.ends:
        return body
    end = _position(space, channels, design, design.ends)
    return (end, *body[2:], end) if end and len(body) > 2 else None


def _position(space: SearchSpace, channels: int, design: _Design, trunk: str) -> Position | None:
    fitting = [one for one in space.alphabet(channels, (trunk, design.attention)) if one.active is None]
    return min(fitting, key=lambda one: (one.order != design.order, one.residual == design.plain), default=None)


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
