"""The published networks as architectures of the one grammar, and the names of their official weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from srnas.search_space.architecture import Architecture, check_scale
from srnas.search_space.blocks.aab import PAPER as _A2N
from srnas.search_space.blocks.lia import PAPER as _PLAINUSR
from srnas.search_space.blocks.mlka import PAPER as _MAN
from srnas.search_space.blocks.repmb import OFFICIAL_NAMES as REPMB_CONV_NAMES
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.errors import unknown_name
from srnas.search_space.position import Position
from srnas.search_space.registry import REGISTRY


@dataclass(frozen=True)
class PublishedNetwork:
    """A network as its authors published it.

    Attributes:
        name: The name by which :func:`published` gives it.
        paper: Authors, title, venue and link.
        architecture: Function from the scale to the architecture.
        official_names: Function from the architecture to prefixes of official parameter names and ours.
        x3_width: Width of the input, in pixels, with which its authors count MACs at scale 3 (1280 / 3 is no integer).
    """

    name: str
    paper: str
    architecture: Callable[[int], Architecture]
    official_names: Callable[[Architecture], dict[str, str]]
    x3_width: int = 426


def published(name: str, scale: int) -> Architecture:
    """Return a published network, whose official weights load into it.

    Args:
        name: One of :data:`PUBLISHED`.
        scale: Upscaling factor: 2, 3 or 4.

    Raises:
        InputError: If the name or the scale is unknown.
    """
    check_scale(scale)
    if name not in PUBLISHED:
        raise unknown_name("network", name, PUBLISHED)
    return PUBLISHED[name].architecture(scale)


def _plainusr(widths: tuple[int, ...], features: int | None, convolutions: int = 2) -> Callable[[int], Architecture]:
    """A plain U-Net in channels; ``features`` of LIA, or ``None``: LIA-speed in the middle and nothing else."""

    def position(width: int, attention: Choice) -> Position:
        options = (("convolutions", convolutions), ("gate", attention.name != NONE))
        trunk = Choice(name="repmb", options=options)
        return Position(trunk=trunk, attention=attention, active=width, residual=False)

    def architecture(scale: int) -> Architecture:
        outer = Choice(name=NONE) if features is None else Choice(name="lia", options=(("features", features),))
        inner = Choice(name="lia_speed") if features is None else outer
        down = [position(width, outer) for width in widths[:-1]]
        return Architecture(
            scale=scale,
            channels=widths[0],
            positions=(*down, position(widths[-1], inner), *reversed(down)),
            global_skip="carriers",
        )

    return architecture


def _plainusr_names(architecture: Architecture) -> dict[str, str]:
    names = {"head": "stem", "tail.0": "tail.last"}
    depth = len(architecture.positions)
    blocks = [f"block{i}" for i in range(1, depth)]
    blocks.insert(depth // 2, "blockm")
    for index, (block, position) in enumerate(zip(blocks, architecture.positions, strict=True)):
        convolutions = int(dict(position.trunk.options).get("convolutions", 2))
        names |= plainusr_block_names(f"{block}.", f"body.{index}.blocks.", convolutions, position.attention.name)
    return names


def plainusr_block_names(official: str, ours: str, convolutions: int, attention: str) -> dict[str, str]:
    """Return the official names below ``official`` of one PlainUSR block, in training and in deploy form.

    Deployed, the attention stands one place earlier, where PConv was.
    """
    names = {}
    for i in range(convolutions):
        place, convolution = f"{official}body.{2 * i}", f"{ours}0.convolutions.{i}"
        names[place] = convolution
        names |= {f"{place}.{a}": f"{convolution}.{b}" for a, b in REPMB_CONV_NAMES.items()}
    last = 2 * convolutions - 1
    names[f"{official}body.{last}.conv"] = f"{ours}0.gate.conv"
    if attention != NONE:
        for index in (last, last + 1):
            names |= _of_block(f"{official}body.{index}.", f"{ours}1.", attention)
    return names


def _of_block(official: str, ours: str, block: str) -> dict[str, str]:
    names = REGISTRY.entry(block).info.official_names
    return {f"{official}{a}": f"{ours}{b}" for a, b in names.items()}


def _a2n(block: str) -> Callable[[int], Architecture]:
    def architecture(scale: int) -> Architecture:
        return Architecture(
            scale=scale,
            channels=40,
            positions=(Position(attention=Choice(name=block)),) * 16,
            end="conv",
            long_skip=True,
            tail=Choice(name="nearest_pa"),
            input_range=255,
        )

    return architecture


def _a2n_names(architecture: Architecture) -> dict[str, str]:
    names = {"conv_first": "stem", "trunk_conv": "end", **_of_block("", "tail.", "nearest_pa")}
    for index, position in enumerate(architecture.positions):
        names |= _of_block(f"AAB_trunk.{index}.", f"body.{index}.blocks.0.", position.attention.name)
    return names


def _man(depth: int, channels: int) -> Callable[[int], Architecture]:
    def architecture(scale: int) -> Architecture:
        block = Position(trunk=Choice(name="gsau"), attention=Choice(name="mlka"), order="before")
        return Architecture(
            scale=scale,
            channels=channels,
            positions=(block,) * depth,
            end="lkat",
            long_skip=True,
            global_skip="none",
            mean_shift="div2k",
        )

    return architecture


def _man_names(architecture: Architecture) -> dict[str, str]:
    names = {name: name for name in ("sub_mean", "add_mean")} | {"head": "stem", "tail.0": "tail.last"}
    names |= _of_block("body.0.body_t.", "end.", "lkat")
    for index in range(len(architecture.positions)):
        names |= _of_block(f"body.0.body.{index}.LKA.", f"body.{index}.blocks.0.", "mlka")
        names |= _of_block(f"body.0.body.{index}.LFE.", f"body.{index}.blocks.1.", "gsau")
    return names


_ALL = (
    PublishedNetwork("plainusr_u", _PLAINUSR, _plainusr((16, 8), None), _plainusr_names),
    PublishedNetwork("plainusr_t", _PLAINUSR, _plainusr((32, 16), None), _plainusr_names),
    PublishedNetwork("plainusr_s", _PLAINUSR, _plainusr((32, 16, 8), 4), _plainusr_names),
    PublishedNetwork("plainusr_m", _PLAINUSR, _plainusr((48, 32, 16), 8), _plainusr_names),
    PublishedNetwork("plainusr", _PLAINUSR, _plainusr((64, 48, 32), 16), _plainusr_names),
    PublishedNetwork("plainusr_l", _PLAINUSR, _plainusr((80, 64, 48), 16, convolutions=3), _plainusr_names),
    PublishedNetwork("a2n", _A2N, _a2n("aab"), _a2n_names),
    PublishedNetwork("a2n_m", _A2N, _a2n("aab_m"), _a2n_names),
    PublishedNetwork("man_tiny", _MAN, _man(5, 48), _man_names, x3_width=427),
    PublishedNetwork("man_light", _MAN, _man(24, 60), _man_names, x3_width=427),
    PublishedNetwork("man", _MAN, _man(36, 180), _man_names, x3_width=427),
)

PUBLISHED: Mapping[str, PublishedNetwork] = MappingProxyType({network.name: network for network in _ALL})
"""All published networks by name, family by family, the smallest first."""
