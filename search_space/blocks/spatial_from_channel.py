"""A spatial map pooled through channel weights: a spatial gate that looks at the channels that matter.

Reference: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021
(https://arxiv.org/abs/2107.00782), of which readers tried this variant; it is not in the paper. The channel weights
are those of SE (https://arxiv.org/abs/1709.01507) before its sigmoid.

Deviation: as first proposed, weights and map are unnormalised sums over pixels and channels, whose gain grows with
the image and with C. Here both are means, and the map is the sigmoid of its mean.
"""

import torch

from srnas.search_space.blocks.se import SE
from srnas.search_space.registry import REGISTRY, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="spatial_from_channel",
        role="attention",
        paper="variant of Liu et al., Polarized Self-Attention, 2021, https://arxiv.org/abs/2107.00782",
        tile_invariant=False,
    )
)
class SpatialFromChannel(SE):
    """``x * sigmoid(mean over channels of e * x)``, ``e = expand(relu(squeeze(mean(x))))``, shape kept.

    Unnormalised sums in place of the means, as first proposed, grow with the image. The weights ``e`` come from the
    whole image, so tiling changes the result.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.attention_weights(x)["spatial"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the ``spatial`` map."""
        return {"spatial": (self.excite(x) * x).mean(1, keepdim=True).sigmoid()}
