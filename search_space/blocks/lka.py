"""LKA, large kernel attention: a decomposed large kernel weighs its own input, without a sigmoid.

Reference: Guo et al., "Visual Attention Network", 2022 (https://arxiv.org/abs/2202.09741).

Deviation: the kernels 7 and 9 with dilation 4 are those that MAN's ablation uses
(https://arxiv.org/abs/2209.14145).
"""

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="lka",
        role="attention",
        paper="Guo et al., Visual Attention Network, 2022, https://arxiv.org/abs/2202.09741",
        unbounded=True,
    )
)
class LKA(Block):
    """``x * conv1x1(dw9x9(dw7x7(x)))``, the 9x9 with dilation 4, shape kept; it reaches over 39 pixels."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.local = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.dilated = nn.Conv2d(channels, channels, 9, padding=16, dilation=4, groups=channels)
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.attention_weights(x)["weights"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return ``weights`` of every element, without bounds."""
        return {"weights": self.point(self.dilated(self.local(x)))}

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``C^2 + 133 C``."""
        return channels**2 + 133 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(C^2 + 130 C) H W``."""
        return (channels**2 + 130 * channels) * height * width
