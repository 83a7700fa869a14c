"""EDBB, EFDN's variant of ECB: a 1x1 branch more, and an expanded branch that is used only if asked for.

Reference: Wang, "Edge-Enhanced Feature Distillation Network for Efficient Super-Resolution", CVPRW 2022
(https://arxiv.org/abs/2204.08759). Where the expanded branch is not used it is built all the same, frozen: its
parameters are counted as the official ones are.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.ecb import ECB, OFFICIAL_NAMES, Activation, Branch, EdgeConv, Expanded, derivatives
from srnas.search_space.blocks.folding import weight_and_bias
from srnas.search_space.registry import REGISTRY, BlockInfo

PAPER = "Wang, EFDN, CVPRW 2022, https://arxiv.org/abs/2204.08759"
MULTIPLIER = 1.0
NAMES = {"rep_conv": "conv.conv", "conv1x1": "conv.branches.point.conv", **OFFICIAL_NAMES}


class _Point(Branch):
    """A 1x1 convolution: the centre tap of a 3x3."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        convolved: torch.Tensor = self.conv(x)
        return convolved

    def shrink(self, factor: float) -> None:
        for parameter in self.conv.parameters():
            parameter.mul_(factor)

    def merged(self) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias = weight_and_bias(self.conv)
        return F.pad(weight, (1, 1, 1, 1)), bias


@REGISTRY.register(
    BlockInfo(
        name="edbb",
        role="trunk",
        paper=PAPER,
        official_names=NAMES,
        without_gradient=ECB.info.without_gradient,
    )
)
class EDBB(ECB):
    """``activation(conv3x3(x))``, its convolution a sum of branches until it is folded; shape kept.

    It can be a stem.
    """

    default_multiplier = MULTIPLIER

    class Config(ECB.Config):
        """As those of ``ecb``; ``expanded``: whether the expanded branch is used (EFDN: no)."""

        multiplier: float = Field(default=MULTIPLIER, gt=0)
        activation: Activation = "prelu"
        identity: bool = False
        expanded: bool = False

    @staticmethod
    def make_conv(in_channels: int, channels: int, config: ECB.Config) -> EdgeConv:
        """Return the convolution."""
        assert isinstance(config, EDBB.Config)
        expanded = Expanded(in_channels, int(channels * config.multiplier), channels, used=config.expanded)
        branches = {
            "point": _Point(in_channels, channels),
            "expanded": expanded,
            **derivatives(in_channels, channels),
        }
        return EdgeConv(in_channels, channels, branches, config.identity)

    @classmethod
    def params(cls, channels: int, config: ECB.Config = Config()) -> int:
        """``9 C^2 + C``, and ``C`` with PReLU; ``13 C^2 + 10 C D + D + 39 C`` while training, D the inner width."""
        return super().params(channels, config)
