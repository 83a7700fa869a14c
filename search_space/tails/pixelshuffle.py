"""The sub-pixel tail: one convolution at low resolution, rearranged into the output.

Reference: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR 2016, Eq. 4 (https://arxiv.org/abs/1609.05158).
"""

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, BlockConfig, BlockInfo, Tail


@REGISTRY.register(
    BlockInfo(name="pixelshuffle", role="tail", paper="Shi et al., ESPCN, CVPR 2016, https://arxiv.org/abs/1609.05158")
)
class PixelShuffleTail(Tail):
    """``pixel_shuffle(conv3x3(x))``: ``(B, C, H, W) -> (B, 3, scale*H, scale*W)``."""

    carries = True

    def __init__(self, channels: int, scale: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, scale, config)
        self.last = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample the features ``x``."""
        upsampled: torch.Tensor = self.shuffle(self.last(x))
        return upsampled

    def carry(self) -> None:
        """Add 1 to the centre tap from each of the last three channels to the outputs of its colour."""
        outputs = torch.arange(self.last.out_channels)
        inputs = self.last.in_channels - 3 + outputs // self.shuffle.upscale_factor**2
        with torch.no_grad():
            self.last.weight[outputs, inputs, 1, 1] += 1
