"""MLKA, multi-scale large kernel attention: three gated large-kernel branches over thirds of the channels.

Reference: Wang et al., "Multi-scale Attention Network for Single Image Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2209.14145). The layer scale starts at 0, so the block is an identity at initialisation.
"""

import torch
from torch import nn

from srnas.search_space.blocks.channel_norm import ChannelLayerNorm
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

PAPER = "Wang et al., MAN, CVPRW 2024, https://arxiv.org/abs/2209.14145"
# (gate and first kernel, dilated kernel, dilation) of the three groups.
_GROUPS = ((3, 5, 2), (5, 7, 3), (7, 9, 4))
_BRANCH_PARTS = {"0": "local", "1": "dilated", "2": "point"}


class _Branch(nn.Module):
    """One scale: ``LKA_k(a) * X_k(a)``."""

    def __init__(self, channels: int, kernel: int, wide_kernel: int, dilation: int) -> None:
        super().__init__()

        def depthwise(size: int, spacing: int = 1) -> nn.Conv2d:
            reach = size // 2 * spacing
            return nn.Conv2d(channels, channels, size, padding=reach, dilation=spacing, groups=channels)

        self.gate = depthwise(kernel)
        self.local = depthwise(kernel)
        self.dilated = depthwise(wide_kernel, dilation)
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weighed: torch.Tensor = self.point(self.dilated(self.local(x))) * self.gate(x)
        return weighed


@REGISTRY.register(
    BlockInfo(
        name="mlka",
        role="attention",
        paper=PAPER,
        constraint=Constraint(channels_multiple=3, min_channels=3),
        residual=True,
        official_names={
            "norm": "norm",
            "scale": "scale",
            "proj_first.0": "project_in",
            "proj_last.0": "project_out",
            **{f"X{k}": f"branches.{i}.gate" for i, (k, _, _) in enumerate(_GROUPS)},
            **{
                f"LKA{k}.{part}": f"branches.{i}.{ours}"
                for i, (k, _, _) in enumerate(_GROUPS)
                for part, ours in _BRANCH_PARTS.items()
            },
        },
    )
)
class MLKA(Block):
    """``x + scale * conv1x1(v * m(a))`` with ``(a, v)`` the halves of a 1x1 projection; C a multiple of 3."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.norm = ChannelLayerNorm(channels)
        self.project_in = nn.Conv2d(channels, 2 * channels, 1)
        self.branches = nn.ModuleList(_Branch(channels // 3, *group) for group in _GROUPS)
        self.project_out = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        attention, value = self.project_in(self.norm(x)).chunk(2, dim=1)
        refined: torch.Tensor = self.project_out(value * torch.cat(self._scales(attention), dim=1)) * self.scale
        return x + refined

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the three scales by the kernel of their gates, each ``(B, C / 3, H, W)`` and without bounds."""
        scales = self._scales(self.project_in(self.norm(x)).chunk(2, dim=1)[0])
        return {f"scale_{kernel}": weights for (kernel, _, _), weights in zip(_GROUPS, scales, strict=True)}

    def _scales(self, attention: torch.Tensor) -> list[torch.Tensor]:
        return [branch(part) for branch, part in zip(self.branches, attention.chunk(3, dim=1), strict=True)]

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``10/3 C^2 + 117 C``."""
        return 10 * channels**2 // 3 + 117 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``(10/3 C^2 + (sum over scales of 2 k^2 + K^2) C/3) H W``, where the sum is 321 and 321/3 is 107."""
        return (10 * channels**2 // 3 + 107 * channels) * height * width
