"""ECA, efficient channel attention: every channel weighed by a convolution over the averages of its neighbours.

Reference: Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", CVPR 2020
(https://arxiv.org/abs/1910.03151), equation 5.

Deviation: the size of the kernel is a choice, and does not follow from the number of channels.
"""

from typing import Literal

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="eca",
        role="attention",
        paper="Wang et al., ECA-Net, CVPR 2020, https://arxiv.org/abs/1910.03151",
        tile_invariant=False,  # the average is over the whole image
    )
)
class ECA(Block):
    """``x * sigmoid(conv1d(mean(x)))``, shape kept; depends on the whole image."""

    class Config(BlockConfig):
        """``kernel`` of the convolution over channels."""

        kernel: Literal[3, 5, 7] = 3

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.conv = nn.Conv1d(1, 1, config.kernel, padding=config.kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.attention_weights(x)["channel"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the weight of every ``channel``."""
        averages = x.mean((-2, -1))[:, None]
        return {"channel": self.conv(averages)[:, 0, :, None, None].sigmoid()}

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``k``."""
        return config.kernel

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``C k``."""
        return channels * config.kernel
