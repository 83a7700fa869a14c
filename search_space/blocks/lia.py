"""LIA, local importance-based attention: an importance map from a strided pyramid, and a gate from channel 0.

Reference: Wang et al., "PlainUSR: Chasing Faster ConvNet for Efficient Super-Resolution", ACCV 2024, Eq. 4
(https://arxiv.org/abs/2409.13435). The gate is one value per pixel, shared by all channels.

Deviation: SoftPool does not overflow (see ``softpool``).
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.softpool import SoftPool2d
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

POOL_SIZE, POOL_STRIDE = 7, 3
PAPER = "Wang et al., PlainUSR, ACCV 2024, https://arxiv.org/abs/2409.13435"
OFFICIAL_NAMES = {"body.0": "squeeze", "body.2": "reduce", "body.3": "expand"}


@REGISTRY.register(
    BlockInfo(
        name="lia",
        role="attention",
        paper=PAPER,
        constraint=Constraint(min_size=POOL_SIZE),
        tile_invariant=False,
        official_names=OFFICIAL_NAMES,
    )
)
class LIA(Block):
    """``x * upsample(sigmoid(importance(x))) * sigmoid(x[:, 0])``, shape kept; H and W at least 7.

    The window grid starts at the top left corner with an effective stride of 6, so tiling moves it.
    """

    class Config(BlockConfig):
        """``features``: width of the importance branch (the paper's nets use 4, 8 and 16)."""

        features: int = Field(default=16, ge=1)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.squeeze = nn.Conv2d(channels, config.features, 1)
        self.pool = self.make_pool()
        self.reduce = nn.Conv2d(config.features, config.features, 3, stride=2, padding=1)
        self.expand = nn.Conv2d(config.features, channels, 3, padding=1)

    @staticmethod
    def make_pool() -> nn.Module:
        """Return the pooling of the importance branch."""
        return SoftPool2d(POOL_SIZE, POOL_STRIDE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        self.check_size(x)
        weights = self.attention_weights(x)
        return x * weights["importance"] * weights["gate"]

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return ``importance``, ``(B, C, H, W)``, and ``gate``, ``(B, 1, H, W)``."""
        importance = self.expand(self.reduce(self.pool(self.squeeze(x)))).sigmoid()
        importance = F.interpolate(importance, x.shape[-2:], mode="bilinear", align_corners=False)
        return {"importance": importance, "gate": x[:, :1].sigmoid()}

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``10 C f + 9 f^2 + 2 f + C``."""
        f = config.features
        return 10 * channels * f + 9 * f**2 + 2 * f + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``C f H W + (9 f^2 + 9 f C) h2 w2`` with the map's size ``h2 x w2``."""
        f = config.features
        map_size = 1
        for side in (height, width):
            map_size *= ((side - POOL_SIZE) // POOL_STRIDE) // 2 + 1
        return channels * f * height * width + 9 * f * (f + channels) * map_size
