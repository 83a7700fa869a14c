"""IMDB, IMDN's block: of each of four convolutions a quarter of the channels is kept, then contrast-aware attention.

Reference: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM MM 2019
(https://arxiv.org/abs/1909.11856). ``imdb_speed`` is the block of IMDN-RTC, without the attention.

Deviation: the gradient of a standard deviation of zero is 0, where that of the official square root is not a number.
"""

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv import SLOPE
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

PAPER = "Hui et al., IMDN, ACM MM 2019, https://arxiv.org/abs/1909.11856"
_SHARE = 4
_REDUCTION = 16
_OFFICIAL_NAMES = {**{f"c{i + 1}": f"convolutions.{i}" for i in range(4)}, "c5": "project"}


class ContrastAttention(nn.Module):
    """CCA: ``x * sigmoid(expand(relu(squeeze(std(x) + mean(x)))))``, both over the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // _REDUCTION, 1)
        self.expand = nn.Conv2d(channels // _REDUCTION, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        mean = x.mean((2, 3), keepdim=True)
        variance = (x - mean).square().mean((2, 3), keepdim=True)
        varied = variance > 0
        deviation = torch.where(varied, variance, 1).sqrt() * varied
        weight: torch.Tensor = self.expand(F.relu(self.squeeze(deviation + mean))).sigmoid()
        return x * weight


@REGISTRY.register(
    BlockInfo(
        name="imdb_speed",
        role="trunk",
        paper=f"{PAPER} (IMDN-RTC)",
        constraint=Constraint(channels_multiple=_SHARE),
        residual=True,
        official_names=_OFFICIAL_NAMES,
    )
)
class IMDBSpeed(Block):
    """``x + conv1x1([k1, k2, k3, k4])``, shape kept; C a multiple of 4.

    The first quarter of what a ``lrelu(conv3x3)`` with slope 0.05 gives is kept, the rest goes on to the next; k4 is a
    convolution without activation.
    """

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.share = channels // _SHARE
        rest = channels - self.share
        widths = ((channels, channels), (rest, channels), (rest, channels), (rest, self.share))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in widths)
        self.attention = self.make_attention(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    @staticmethod
    def make_attention(channels: int) -> nn.Module:
        """Return what weighs the kept channels."""
        return nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        kept, rest = [], x
        for convolution in self.convolutions[:-1]:
            share, rest = F.leaky_relu(convolution(rest), SLOPE).split([self.share, x.shape[1] - self.share], dim=1)
            kept.append(share)
        kept.append(self.convolutions[-1](rest))
        refined: torch.Tensor = self.project(self.attention(torch.cat(kept, dim=1)))
        return x + refined

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``10 C^2 + 4 C + 18 r C + 9 r d + d`` with d = C / 4 and r = C - d."""
        share = channels // _SHARE
        rest = channels - share
        return 10 * channels**2 + 4 * channels + 18 * rest * channels + 9 * rest * share + share

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(10 C^2 + 18 r C + 9 r d) H W`` with d = C / 4 and r = C - d."""
        share = channels // _SHARE
        rest = channels - share
        return (10 * channels**2 + 18 * rest * channels + 9 * rest * share) * height * width


@REGISTRY.register(
    BlockInfo(
        name="imdb",
        role="trunk",
        paper=PAPER,
        constraint=Constraint(channels_multiple=_SHARE, min_channels=_REDUCTION),
        tile_invariant=False,
        residual=True,
        official_names={
            **_OFFICIAL_NAMES,
            "cca.conv_du.0": "attention.squeeze",
            "cca.conv_du.2": "attention.expand",
        },
    )
)
class IMDB(IMDBSpeed):
    """``x + conv1x1(cca([k1, k2, k3, k4]))``, shape kept; C a multiple of 4, at least 16.

    As ``imdb_speed``, but the channels are weighed by their contrast over the whole image.
    """

    @staticmethod
    def make_attention(channels: int) -> nn.Module:
        """Return the contrast-aware attention."""
        return ContrastAttention(channels)

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``10 C^2 + 5 C + 18 r C + 9 r d + d + 2 C h + h`` with d = C / 4, r = C - d and h = C / 16."""
        hidden = channels // _REDUCTION
        return super().params(channels, config) + 2 * channels * hidden + hidden + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(10 C^2 + 18 r C + 9 r d) H W + 2 C h`` with d = C / 4, r = C - d and h = C / 16."""
        return super().macs(channels, height, width, config) + 2 * channels * (channels // _REDUCTION)
