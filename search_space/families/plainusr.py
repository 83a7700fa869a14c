"""PlainUSR: plain U-Nets in channels.

Reference: Wang et al., "PlainUSR: Chasing Faster ConvNet for Efficient Super-Resolution", ACCV 2024
(https://arxiv.org/abs/2409.13435).
"""

from collections.abc import Callable

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.lia import PAPER
from srnas.search_space.blocks.repmb import OFFICIAL_NAMES as REPMB_CONV_NAMES
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.families.base import PublishedNetwork, of_block
from srnas.search_space.position import Position


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
            names |= of_block(f"{official}body.{index}.", f"{ours}1.", attention)
    return names


NETWORKS = (
    PublishedNetwork("plainusr_u", PAPER, _plainusr((16, 8), None), _plainusr_names),
    PublishedNetwork("plainusr_t", PAPER, _plainusr((32, 16), None), _plainusr_names),
    PublishedNetwork("plainusr_s", PAPER, _plainusr((32, 16, 8), 4), _plainusr_names),
    PublishedNetwork("plainusr_m", PAPER, _plainusr((48, 32, 16), 8), _plainusr_names),
    PublishedNetwork("plainusr", PAPER, _plainusr((64, 48, 32), 16), _plainusr_names),
    PublishedNetwork("plainusr_l", PAPER, _plainusr((80, 64, 48), 16, convolutions=3), _plainusr_names),
)
