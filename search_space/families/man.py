"""MAN: chains of multi-scale large kernel attention.

Reference: Wang et al., "Multi-scale Attention Network for Single Image Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2209.14145).
"""

from collections.abc import Callable

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.mlka import PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork, of_block
from srnas.search_space.position import Position


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
    names |= of_block("body.0.body_t.", "end.", "lkat")
    for index in range(len(architecture.positions)):
        names |= of_block(f"body.0.body.{index}.LKA.", f"body.{index}.blocks.0.", "mlka")
        names |= of_block(f"body.0.body.{index}.LFE.", f"body.{index}.blocks.1.", "gsau")
    return names


NETWORKS = (
    PublishedNetwork("man_tiny", PAPER, _man(5, 48), _man_names, x3_width=427),
    PublishedNetwork("man_light", PAPER, _man(24, 60), _man_names, x3_width=427),
    PublishedNetwork("man", PAPER, _man(36, 180), _man_names, x3_width=427),
)
