"""A spatial map pooled through channel weights: a spatial gate that looks at the channels that matter.

Reference: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021
(https://arxiv.org/abs/2107.00782), of which readers tried this variant; it is not in the paper. The channel weights
are those of SE (https://arxiv.org/abs/1709.01507) before its sigmoid.

Deviation: as first proposed, weights and map are unnormalised sums over pixels and channels, whose gain grows with
the image and with C. Here both are means, and the map is the sigmoid of its mean.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.squeeze import canonical_reduction, squeezed
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="spatial_from_channel",
        role="attention",
        paper="variant of Liu et al., Polarized Self-Attention, 2021, https://arxiv.org/abs/2107.00782",
        tile_invariant=False,
    )
)
class SpatialFromChannel(Block):
    """``x * sigmoid(mean over channels of e * x)``, ``e = expand(relu(squeeze(mean(x))))``, shape kept.

    Unnormalised sums in place of the means, as first proposed, grow with the image. The weights ``e`` come from the
    whole image, so tiling changes the result.
    """

    class Config(BlockConfig):
        """``reduction`` of the hidden layer, of at least one unit."""

        reduction: int = Field(default=16, ge=1)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        hidden = squeezed(channels, config.reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Reductions to the same width are one."""
        assert isinstance(config, SpatialFromChannel.Config)
        return config.model_copy(update={"reduction": canonical_reduction(channels, config.reduction, 16)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        excitation: torch.Tensor = self.expand(F.relu(self.squeeze(x.mean((-2, -1)))))
        return x * (excitation[:, :, None, None] * x).mean(1, keepdim=True).sigmoid()

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``2 C h + h + C``, h = max(1, C / reduction)."""
        hidden = squeezed(channels, config.reduction)
        return 2 * channels * hidden + hidden + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``2 C h``, h = max(1, C / reduction)."""
        return 2 * channels * squeezed(channels, config.reduction)
