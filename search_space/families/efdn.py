"""EFDN: four cells that are joined across, which is no chain: the body is one block (``efdn``).

Reference: Wang, "Edge-Enhanced Feature Distillation Network for Efficient Super-Resolution", CVPRW 2022
(https://arxiv.org/abs/2204.08759). It is the baseline of NTIRE 2025, whose copy clamps the output to 0 to 1.
"""

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.edbb import PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork
from srnas.search_space.position import Position


def _efdn(scale: int) -> Architecture:
    return Architecture(scale=scale, channels=48, positions=(Position(trunk=Choice(name="efdn")),), global_skip="none")


NETWORKS = (PublishedNetwork("efdn", PAPER, _efdn, lambda _: {}, x3_width=427),)
