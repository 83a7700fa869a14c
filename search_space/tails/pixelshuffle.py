"""The sub-pixel tail: one convolution at low resolution, rearranged into the output.

Reference: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR 2016, Eq. 4 (https://arxiv.org/abs/1609.05158). With ``ecb`` the convolution is that of ECBSR,
with ``separable`` that of SPANV2: depthwise, then 1x1, both without biases.
"""

from typing import Literal

import torch
from torch import nn

from srnas.search_space.blocks.ecb import ECB
from srnas.search_space.registry import REGISTRY, BlockConfig, BlockInfo, Tail

Convolution = Literal["plain", "ecb", "separable"]


@REGISTRY.register(
    BlockInfo(name="pixelshuffle", role="tail", paper="Shi et al., ESPCN, CVPR 2016, https://arxiv.org/abs/1609.05158")
)
class PixelShuffleTail(Tail):
    """``pixel_shuffle(conv3x3(x))``: ``(B, C, H, W) -> (B, colours, scale*H, scale*W)``."""

    class Config(BlockConfig):
        """``convolution``: ``plain``, ``ecb`` (branches that fold into a plain one), or ``separable``."""

        convolution: Convolution = "plain"

    def __init__(self, channels: int, scale: int, config: Config = Config(), colours: int = 3) -> None:
        super().__init__(channels, scale, config, colours)
        self.colours = colours
        self.last = _last(channels, colours * scale**2, config.convolution)
        self.shuffle = nn.PixelShuffle(scale)

    @classmethod
    def carries(cls, config: BlockConfig) -> bool:
        """Return whether the convolution has one tap from each channel to each output."""
        assert isinstance(config, PixelShuffleTail.Config)
        return config.convolution != "separable"

    @classmethod
    def gathers(cls, config: BlockConfig) -> bool:
        """Return whether the convolution is cheap on many channels."""
        assert isinstance(config, PixelShuffleTail.Config)
        return config.convolution == "separable"

    def shrink(self, factor: float) -> None:
        """Scale what the last convolution gives by ``factor``."""
        if isinstance(self.last, ECB):
            self.last.conv.shrink(factor)
            return
        with torch.no_grad():
            for parameter in (self.last[-1] if isinstance(self.last, nn.Sequential) else self.last).parameters():
                parameter.mul_(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample the features ``x``."""
        upsampled: torch.Tensor = self.shuffle(self.last(x))
        return upsampled

    def carry(self) -> None:
        """Add 1 to the centre tap from each of the last channels to the outputs of its colour."""
        conv = self.last.conv.conv if isinstance(self.last, ECB) else self.last
        assert isinstance(conv, nn.Conv2d)
        outputs = torch.arange(conv.out_channels)
        inputs = conv.in_channels - self.colours + outputs // self.shuffle.upscale_factor**2
        with torch.no_grad():
            conv.weight[outputs, inputs, 1, 1] += 1


def _last(channels: int, outputs: int, convolution: Convolution) -> nn.Module:
    if convolution == "plain":
        return nn.Conv2d(channels, outputs, 3, padding=1)
    if convolution == "ecb":
        return ECB(outputs, ECB.Config(activation="linear"), channels)
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(channels, outputs, 1, bias=False))
