"""LKAT, large kernel attention tail: what ends MAN's body.

Reference: Wang et al., "Multi-scale Attention Network for Single Image Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2209.14145). The GELU is not in the paper's figure. There is no residual inside.
"""

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.mlka import PAPER
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="lkat",
        role="attention",
        paper=PAPER,
        unbounded=True,
        official_names={
            "conv0.0": "project_in",
            "att.0": "local",
            "att.1": "dilated",
            "att.2": "point",
            "conv1": "project_out",
        },
    )
)
class LKAT(Block):
    """``conv1x1(t * lka(t))`` with ``t = gelu(conv1x1(x))``, shape kept; its kernels reach over 31 pixels."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.local = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.dilated = nn.Conv2d(channels, channels, 9, padding=12, dilation=3, groups=channels)
        self.point = nn.Conv2d(channels, channels, 1)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        inner = F.gelu(self.project_in(x))
        transformed: torch.Tensor = self.project_out(inner * self.point(self.dilated(self.local(inner))))
        return transformed

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return ``weights`` of every element of the projected input, without bounds."""
        inner = F.gelu(self.project_in(x))
        return {"weights": self.point(self.dilated(self.local(inner)))}

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``3 C^2 + 135 C``."""
        return 3 * channels**2 + 135 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(3 C^2 + 130 C) H W``."""
        return (3 * channels**2 + 130 * channels) * height * width
