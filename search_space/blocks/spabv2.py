"""SPABV2, the block of SPANV2, which won NTIRE 2026: SPAB with a learned linear map as its weight.

Reference: Ren et al., "The Eleventh NTIRE 2026 Efficient Super-Resolution Challenge Report", CVPRW 2026
(https://arxiv.org/abs/2604.03198). The deploy form alone was published: it is trained as it is.
"""

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo

PAPER = "Ren et al., NTIRE 2026 report (SPANV2), CVPRW 2026, https://arxiv.org/abs/2604.03198"


@REGISTRY.register(
    BlockInfo(
        name="spabv2",
        role="trunk",
        paper=PAPER,
        residual=True,
        unbounded=True,
        vanishes=True,
        official_names={
            "c1.conv": "first",
            "c2.conv": "second",
            "c3.conv": "third",
            "guidance_map_conv": "guidance",
        },
    )
)
class SPABV2(Block):
    """``(x + h) * conv1x1(h)`` with ``h = third(relu(second(relu(first(x)))))``, 3x3 without biases; shape kept.

    It can be a stem, which gives ``relu(h)``.
    """

    widens = True

    def __init__(self, channels: int, config: BlockConfig = BlockConfig(), in_channels: int | None = None) -> None:
        super().__init__(channels, config)
        inputs = in_channels or channels
        self.first = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.third = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.guidance = nn.Conv2d(channels, channels, 1) if inputs == channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        inner: torch.Tensor = self.third(F.relu(self.second(F.relu(self.first(x)))))
        return F.relu(inner) if self.guidance is None else (x + inner) * self.guidance(inner)

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``28 C^2 + C``."""
        return 28 * channels**2 + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``28 C^2 H W``."""
        return 28 * channels**2 * height * width
