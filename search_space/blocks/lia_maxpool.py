"""LIA with maximum pooling, the block of PFDN-Lite.

Reference: Wang et al., "PlainUSR: Chasing Faster ConvNet for Efficient Super-Resolution", ACCV 2024
(https://arxiv.org/abs/2409.13435); the variant is the authors' entry of NTIRE 2024, which places it at the head of each
position.
"""

from torch import nn

from srnas.search_space.blocks.lia import LIA, OFFICIAL_NAMES, PAPER, POOL_SIZE, POOL_STRIDE
from srnas.search_space.registry import REGISTRY, BlockInfo, Constraint


@REGISTRY.register(
    BlockInfo(
        name="lia_maxpool",
        role="attention",
        paper=PAPER + " (PFDN-Lite)",
        constraint=Constraint(min_size=POOL_SIZE),
        tile_invariant=False,
        official_names=OFFICIAL_NAMES,
    )
)
class MaxPoolLIA(LIA):
    """``x * upsample(sigmoid(importance(x))) * sigmoid(x[:, 0])`` with maxima as importance; H and W at least 7."""

    @staticmethod
    def make_pool() -> nn.Module:
        """Return the pooling of the importance branch."""
        return nn.MaxPool2d(POOL_SIZE, POOL_STRIDE)
