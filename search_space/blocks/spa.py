"""SPAN's parameter-free attention as a block: each element weighed by itself, with a signed weight.

Reference: Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2311.12770).

Deviation: SPAN weighs the sum of what its trunk gives and the trunk's input (``spab``); here it is the trunk's output
alone, and the position adds the input.
"""

import torch

from srnas.search_space.blocks.conv3xc import PAPER
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(BlockInfo(name="spa", role="attention", paper=PAPER))
class SignedAttention(Block):
    """``x * (sigmoid(x) - 1/2)``, shape kept; no parameters, the weights in (-1/2, 1/2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.attention_weights(x)["gate"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the signed ``gate`` of every element."""
        return {"gate": x.sigmoid() - 0.5}

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``0``."""
        return 0

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``0``."""
        return 0
