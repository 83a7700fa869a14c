"""The plain trunk: convolution, activation, convolution.

Reference: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017, Fig. 2c
(https://arxiv.org/abs/1707.02921), without its constant residual scaling. The position adds the residual.
"""

from typing import Literal

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo

Activation = Literal["relu", "leaky_relu"]
SLOPE = 0.05


def make_activation(name: Activation) -> nn.Module:
    """Return ReLU, or LeakyReLU with PlainUSR's slope."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.LeakyReLU(SLOPE, inplace=True)


@REGISTRY.register(
    BlockInfo(
        name="conv",
        role="trunk",
        paper="Lim et al., EDSR, CVPRW 2017, https://arxiv.org/abs/1707.02921",
    )
)
class Conv(Block):
    """``conv3x3(activation(conv3x3(x)))``, shape kept; the input is added by the position."""

    class Config(BlockConfig):
        """``activation``: ``relu`` (EDSR) or ``leaky_relu`` with slope 0.05 (PlainUSR)."""

        activation: Activation = "relu"

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.first = self.make_conv(channels)
        self.activation = make_activation(config.activation)
        self.second = self.make_conv(channels)

    @staticmethod
    def make_conv(channels: int) -> nn.Module:
        """Return a convolution."""
        return nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        transformed: torch.Tensor = self.second(self.activation(self.first(x)))
        return transformed

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``18 C^2 + 2 C``."""
        return 18 * channels**2 + 2 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``18 C^2 H W``."""
        return 18 * channels**2 * height * width
