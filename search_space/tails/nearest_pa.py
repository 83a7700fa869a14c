"""A2N's tail: nearest-neighbour upsampling, convolution and pixel attention, at high resolution.

Reference: Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021
(https://arxiv.org/abs/2104.09497), after PAN (https://arxiv.org/abs/2010.01073). Pixel attention stands before the
LeakyReLU.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.pa import PA
from srnas.search_space.registry import REGISTRY, BlockConfig, BlockInfo, Tail

_SLOPE = 0.2


class _Stage(nn.Module):
    """Nearest upsampling by ``scale``, then ``in_channels -> channels`` with pixel attention."""

    def __init__(self, in_channels: int, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.attention = PA(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(F.interpolate(x, scale_factor=float(self.scale), mode="nearest"))
        return F.leaky_relu(self.second(F.leaky_relu(self.attention(x), _SLOPE)), _SLOPE)


@REGISTRY.register(
    BlockInfo(
        name="nearest_pa",
        role="tail",
        paper="Chen et al., A2N, 2021, https://arxiv.org/abs/2104.09497",
        official_names={
            "conv_last": "last",
            **{f"upconv{i + 1}": f"stages.{i}.first" for i in range(2)},
            **{f"att{i + 1}.conv": f"stages.{i}.attention.conv" for i in range(2)},
            **{f"HRconv{i + 1}": f"stages.{i}.second" for i in range(2)},
        },
    )
)
class NearestPATail(Tail):
    """One stage for scales 2 and 3, two for 4: ``(B, C, H, W) -> (B, colours, scale*H, scale*W)``."""

    class Config(BlockConfig):
        """``features``: width at high resolution (24 in A2N)."""

        features: int = Field(default=24, ge=1)

    def __init__(self, channels: int, scale: int, config: Config = Config(), colours: int = 3) -> None:
        super().__init__(channels, scale, config, colours)
        width = config.features
        steps = (2, 2) if scale == 4 else (scale,)
        self.stages = nn.Sequential(*(_Stage(width if i else channels, width, step) for i, step in enumerate(steps)))
        self.last = nn.Conv2d(width, colours, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample the features ``x``."""
        upsampled: torch.Tensor = self.last(self.stages(x))
        return upsampled
