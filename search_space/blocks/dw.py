"""The depthwise-separable form of the plain trunk: each 3x3 convolution as a depthwise 3x3 and a 1x1.

Reference: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017
(https://arxiv.org/abs/1704.04861).

Deviation: no batch norm, and no activation between a depthwise convolution and its 1x1, whose bias serves both.
"""

import torch
from torch import nn

from srnas.search_space.blocks.conv import Activation, make_activation
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


def _separable(channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(channels, channels, 1))


@REGISTRY.register(
    BlockInfo(
        name="dw",
        role="trunk",
        paper="Howard et al., MobileNets, 2017, https://arxiv.org/abs/1704.04861",
    )
)
class DepthwiseSeparable(Block):
    """``conv1x1(dw3x3(activation(conv1x1(dw3x3(x)))))``, shape kept; the input is added by the position."""

    class Config(BlockConfig):
        """``activation``: ``relu``, or ``leaky_relu`` with slope 0.05."""

        activation: Activation = "relu"

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.first = _separable(channels)
        self.activation = make_activation(config.activation)
        self.second = _separable(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        transformed: torch.Tensor = self.second(self.activation(self.first(x)))
        return transformed

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``2 C^2 + 20 C``."""
        return 2 * channels**2 + 20 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``(2 C^2 + 18 C) H W``."""
        return (2 * channels**2 + 18 * channels) * height * width
