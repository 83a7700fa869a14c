"""Conv3XC, SPAN's trunk: a 1x1-3x3-1x1 bottleneck beside a 1x1 while training, one 3x3 convolution when deployed.

Reference: Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2311.12770). There is no activation between the branch's convolutions.

The input is padded before the first 1x1 convolution, so that its bias reaches the border: the fold is exact there too.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv import SLOPE
from srnas.search_space.blocks.folding import Branches, Foldable, make_convolution, weight_and_bias
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo

PAPER = "Wan et al., SPAN, CVPRW 2024, https://arxiv.org/abs/2311.12770"
GAIN = 2
# The names of one convolution, in training and in deploy form.
OFFICIAL_NAMES = {
    "conv.0": "body.expand",
    "conv.1": "body.spatial",
    "conv.2": "body.reduce",
    "sk": "body.skip",
    "eval_conv": "body",
}


class Bottleneck(Branches):
    """``reduce(conv3x3(expand(pad(x)))) + skip(x)``; the 3x3 and the skip have the stride."""

    def __init__(self, in_channels: int, channels: int, gain: int = GAIN, stride: int = 1) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, gain * in_channels, 1)
        self.spatial = nn.Conv2d(gain * in_channels, gain * channels, 3, stride)
        self.reduce = nn.Conv2d(gain * channels, channels, 1)
        self.skip = nn.Conv2d(in_channels, channels, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x``, ``(B, in_channels, H, W)``."""
        reduced: torch.Tensor = self.reduce(self.spatial(self.expand(F.pad(x, (1, 1, 1, 1)))))
        skipped: torch.Tensor = self.skip(x)
        return reduced + skipped

    @torch.no_grad()
    def merge(self) -> nn.Conv2d:
        """Return the equal 3x3 convolution."""
        (first, first_bias), (middle, middle_bias) = weight_and_bias(self.expand), weight_and_bias(self.spatial)
        (last, last_bias), (skip, skip_bias) = weight_and_bias(self.reduce), weight_and_bias(self.skip)
        middle_bias += torch.einsum("omhw,m->o", middle, first_bias)
        weight = torch.einsum("om,mnhw,nc->ochw", last[..., 0, 0], middle, first[..., 0, 0])
        weight[..., 1, 1] += skip[..., 0, 0]
        return make_convolution(weight, last[..., 0, 0] @ middle_bias + last_bias + skip_bias, like=self.spatial)


@REGISTRY.register(
    BlockInfo(
        name="conv3xc",
        role="trunk",
        paper=PAPER,
        official_names={official: f"conv.{ours}" for official, ours in OFFICIAL_NAMES.items()},
    )
)
class Conv3XC(Block):
    """``activation(conv3x3(x))``, its convolution in branches until it is folded; shape kept.

    It can be a stem, and the end of a body.
    """

    widens = True

    class Config(BlockConfig):
        """``gain`` of the inner widths; ``activation``: ``none`` (SPAN), or ``leaky_relu`` with slope 0.05."""

        gain: int = Field(default=GAIN, ge=1)
        activation: Literal["none", "leaky_relu"] = "none"

    def __init__(self, channels: int, config: Config = Config(), in_channels: int | None = None) -> None:
        super().__init__(channels, config)
        self.conv = Foldable(Bottleneck(in_channels or channels, channels, config.gain))
        self.activation = nn.LeakyReLU(SLOPE) if config.activation == "leaky_relu" else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        transformed: torch.Tensor = self.activation(self.conv(x))
        return transformed

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``9 C^2 + C``; ``(9 g^2 + 2 g + 1) C^2 + (2 g + 2) C`` while training, with the gain g."""
        return 9 * channels**2 + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``9 C^2 H W``."""
        return 9 * channels**2 * height * width
