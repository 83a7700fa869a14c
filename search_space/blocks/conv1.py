"""The smallest trunk: one convolution, then the activation.

Reference: Kim et al., "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016
(https://arxiv.org/abs/1511.04587), whose body repeats this pair. The position adds the residual.
"""

from typing import Literal

import torch
from torch import nn

from srnas.search_space.blocks.conv import Activation, make_activation
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="conv1",
        role="trunk",
        paper="Kim et al., VDSR, CVPR 2016, https://arxiv.org/abs/1511.04587",
    )
)
class SingleConv(Block):
    """``activation(conv(x))``, shape kept; the input is added by the position."""

    class Config(BlockConfig):
        """``kernel`` of the convolution; ``activation``: ``relu``, or ``leaky_relu`` with slope 0.05."""

        kernel: Literal[3, 1] = 3
        activation: Activation = "relu"

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.conv = nn.Conv2d(channels, channels, config.kernel, padding=config.kernel // 2)
        self.activation = make_activation(config.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        transformed: torch.Tensor = self.activation(self.conv(x))
        return transformed

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``k^2 C^2 + C`` with the kernel k."""
        return config.kernel**2 * channels**2 + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``k^2 C^2 H W`` with the kernel k."""
        return config.kernel**2 * channels**2 * height * width
