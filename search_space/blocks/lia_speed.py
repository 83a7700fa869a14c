"""LIA without its pyramid: the importance map is one convolution at full resolution.

Reference: Wang et al., "PlainUSR: Chasing Faster ConvNet for Efficient Super-Resolution", ACCV 2024
(https://arxiv.org/abs/2409.13435), as in PlainUSR-U and -T. The gate is one value per pixel, shared by all channels.
"""

import torch
from torch import nn

from srnas.search_space.blocks.lia import PAPER
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(BlockInfo(name="lia_speed", role="attention", paper=PAPER, official_names={"body.0": "importance"}))
class SpeedLIA(Block):
    """``x * sigmoid(conv3x3(x)) * sigmoid(x[:, 0])``, shape kept."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.importance = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        weights = self.attention_weights(x)
        return x * weights["importance"] * weights["gate"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return ``importance``, ``(B, C, H, W)``, and ``gate``, ``(B, 1, H, W)``."""
        return {"importance": self.importance(x).sigmoid(), "gate": x[:, :1].sigmoid()}

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``9 C^2 + C``."""
        return 9 * channels**2 + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``9 C^2 H W``."""
        return 9 * channels**2 * height * width
