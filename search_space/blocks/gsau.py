"""GSAU, gated spatial attention unit: MAN's feed-forward part.

Reference: Wang et al., "Multi-scale Attention Network for Single Image Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2209.14145). The layer scale starts at 0, so the block is an identity at initialisation. MLKA
before this trunk is MAN's block (MAB).
"""

import torch
from torch import nn

from srnas.search_space.blocks.channel_norm import ChannelLayerNorm
from srnas.search_space.blocks.mlka import PAPER
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="gsau",
        role="trunk",
        paper=PAPER,
        residual=True,
        official_names={
            "norm": "norm",
            "scale": "scale",
            "Conv1": "project_in",
            "DWConv1": "depthwise",
            "Conv2": "project_out",
        },
    )
)
class GSAU(Block):
    """``x + scale * conv1x1(v * depthwise7x7(a))`` with ``(a, v)`` the halves of a 1x1 projection; shape kept."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.norm = ChannelLayerNorm(channels)
        self.project_in = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.project_out = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        attention, value = self.project_in(self.norm(x)).chunk(2, dim=1)
        refined: torch.Tensor = self.project_out(value * self.depthwise(attention)) * self.scale
        return x + refined

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``3 C^2 + 56 C``."""
        return 3 * channels**2 + 56 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(3 C^2 + 49 C) H W``."""
        return (3 * channels**2 + 49 * channels) * height * width
