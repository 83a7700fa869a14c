"""The depthwise-separable form of the plain trunk: each 3x3 convolution as a depthwise 3x3 and a 1x1.

Reference: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017
(https://arxiv.org/abs/1704.04861).

Deviation: no batch norm, and no activation between a depthwise convolution and its 1x1, whose bias serves both.
"""

from torch import nn

from srnas.search_space.blocks.conv import Conv
from srnas.search_space.registry import REGISTRY, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="dw",
        role="trunk",
        depth=0.5,
        paper="Howard et al., MobileNets, 2017, https://arxiv.org/abs/1704.04861",
    )
)
class DepthwiseSeparable(Conv):
    """``conv1x1(dw3x3(activation(conv1x1(dw3x3(x)))))``, shape kept; the input is added by the position."""

    @staticmethod
    def make_conv(channels: int) -> nn.Module:
        """Return a depthwise 3x3 convolution and a 1x1 convolution."""
        depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        return nn.Sequential(depthwise, nn.Conv2d(channels, channels, 1))

    @classmethod
    def params(cls, channels: int, config: Conv.Config = Conv.Config()) -> int:
        """``2 C^2 + 20 C``."""
        return 2 * channels**2 + 20 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Conv.Config = Conv.Config()) -> int:
        """``(2 C^2 + 18 C) H W``."""
        return (2 * channels**2 + 18 * channels) * height * width
