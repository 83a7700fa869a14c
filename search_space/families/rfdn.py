"""RFDN: chains of residual feature distillation, whose outputs are gathered.

Reference: Liu et al., "Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCVW 2020
(https://arxiv.org/abs/2009.11551). It is the baseline of NTIRE 2022 and 2023. The official class enlarges by 4 only.
"""

from srnas.search_space.architecture import Architecture
from srnas.search_space.blocks.esa import RFDN_PAPER
from srnas.search_space.choice import Choice
from srnas.search_space.families.base import PublishedNetwork, of_trunks
from srnas.search_space.position import Position


def _rfdn(scale: int) -> Architecture:
    return Architecture(
        scale=scale,
        channels=50,
        positions=(Position(trunk=Choice(name="rfdb"), residual=False),) * 4,
        end="conv",
        long_skip=True,
        gather="positions",
        global_skip="none",
        input_range=255,
    )


def _names(architecture: Architecture) -> dict[str, str]:
    names = {"fea_conv": "stem", "c.0": "gather.reduce", "LR_conv": "end", "upsampler.0": "tail.last"}
    return names | of_trunks(architecture, lambda depth: f"B{depth + 1}.")


NETWORKS = (PublishedNetwork("rfdn", RFDN_PAPER, _rfdn, _names, x3_width=427),)
