"""RFDB, RFDN's block: three residual convolutions, of each of which half of the channels are kept, and attention.

Reference: Liu et al., "Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCVW 2020
(https://arxiv.org/abs/2009.11551). The residuals stand inside the activations, and none around the block.
"""

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv import SLOPE
from srnas.search_space.blocks.esa import (
    MIN_SIZE,
    OFFICIAL_NAMES,
    RFDN_PAPER,
    Mask,
    mask_macs,
    mask_params,
    rfdn_sizes,
)
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

_STEPS = 3


@REGISTRY.register(
    BlockInfo(
        name="rfdb",
        role="trunk",
        paper=RFDN_PAPER,
        constraint=Constraint(min_channels=4, min_size=MIN_SIZE),
        tile_invariant=False,
        official_names={
            **{f"c{i + 1}_d": f"kept.{i}" for i in range(_STEPS)},
            **{f"c{i + 1}_r": f"refined.{i}" for i in range(_STEPS)},
            "c4": "last",
            "c5": "project",
            **{f"esa.{official}": f"attention.{ours}" for official, ours in OFFICIAL_NAMES.items()},
        },
    )
)
class RFDB(Block):
    """``esa(conv1x1([k1, k2, k3, k4]))``, shape kept; C at least 4, H and W at least 15.

    With act = LeakyReLU of slope 0.05, from r = x on: ``k_i = act(conv1x1(r))`` of half the channels, then
    ``r = act(conv3x3(r) + r)``; at last ``k4 = act(conv3x3(r))``.
    """

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        half = channels // 2
        self.kept = nn.ModuleList(nn.Conv2d(channels, half, 1) for _ in range(_STEPS))
        self.refined = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(_STEPS))
        self.last = nn.Conv2d(channels, half, 3, padding=1)
        self.project = nn.Conv2d((_STEPS + 1) * half, channels, 1)
        self.attention = Mask(channels, *rfdn_sizes(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        self.check_size(x)
        kept = []
        for keep, refine in zip(self.kept, self.refined, strict=True):
            kept.append(F.leaky_relu(keep(x), SLOPE))
            x = F.leaky_relu(refine(x) + x, SLOPE)
        kept.append(F.leaky_relu(self.last(x), SLOPE))
        transformed: torch.Tensor = self.attention(self.project(torch.cat(kept, dim=1)))
        return transformed

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``27 C^2 + 16 C d + 4 C + 4 d`` with d = C / 2, and ``2 C f + 37 f^2 + 6 f + C`` of ESA with f = C / 4."""
        half = channels // 2
        trunk = 27 * channels**2 + 16 * channels * half + 4 * channels + 4 * half
        return trunk + mask_params(channels, *rfdn_sizes(channels))

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(27 C^2 + 16 C d) H W`` with d = C / 2, and those of ESA with f = C / 4."""
        trunk = (27 * channels**2 + 16 * channels * (channels // 2)) * height * width
        return trunk + mask_macs(channels, height, width, *rfdn_sizes(channels))
