"""A2N: chains of attention in attention.

Reference: Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021
(https://arxiv.org/abs/2104.09497).
"""

from collections.abc import Callable

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.aab import PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork, of_block
from srnas.search_space.position import Position


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
    names = {"conv_first": "stem", "trunk_conv": "end", **of_block("", "tail.", "nearest_pa")}
    for index, position in enumerate(architecture.positions):
        names |= of_block(f"AAB_trunk.{index}.", f"body.{index}.blocks.0.", position.attention.name)
    return names


NETWORKS = (
    PublishedNetwork("a2n", PAPER, _a2n("aab"), _a2n_names),
    PublishedNetwork("a2n_m", PAPER, _a2n("aab_m"), _a2n_names),
)
