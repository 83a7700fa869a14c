"""Channel weights pooled through a spatial map: a channel gate that looks where the spatial map points.

Reference: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021
(https://arxiv.org/abs/2107.00782), of which readers tried this variant; it is not in the paper. The spatial map is
that of CBAM (https://arxiv.org/abs/1807.06521) without batch norm.

Deviation: as first proposed, the weights are the unnormalised sum over the pixels, whose gain grows with the image.
Here they are the sigmoid of a mean.
"""

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="channel_from_spatial",
        role="attention",
        paper="variant of Liu et al., Polarized Self-Attention, 2021, https://arxiv.org/abs/2107.00782",
        tile_invariant=False,
    )
)
class ChannelFromSpatial(Block):
    """``x * sigmoid(mean over pixels of s * x)``, ``s = sigmoid(conv7x7([mean_c, max_c](x)))``, shape kept.

    An unnormalised sum in place of the mean, as first proposed, grows with the image. The mean is over the whole
    image, so tiling changes the result.
    """

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.attention_weights(x)["channel"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the ``spatial`` map, and the weights by ``channel`` that come of it."""
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        spatial: torch.Tensor = self.conv(pooled).sigmoid()
        return {"spatial": spatial, "channel": (spatial * x).mean((-2, -1), keepdim=True).sigmoid()}

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``98``."""
        return 98

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``98 H W``."""
        return 98 * height * width
