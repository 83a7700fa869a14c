"""PA, pixel attention: every element weighed by a 1x1 convolution of its pixel.

Reference: Zhao et al., "Efficient Image Super-Resolution Using Pixel Attention", ECCVW 2020
(https://arxiv.org/abs/2010.01073). Part of A2N's tail.
"""

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="pa",
        role="attention",
        paper="Zhao et al., PAN, ECCVW 2020, https://arxiv.org/abs/2010.01073",
        official_names={"conv": "conv"},
    )
)
class PA(Block):
    """``x * sigmoid(conv1x1(x))``, shape kept."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.attention_weights(x)["gate"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the ``gate`` of every element."""
        return {"gate": self.conv(x).sigmoid()}

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``C^2 + C``."""
        return channels**2 + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``C^2 H W``."""
        return channels**2 * height * width
