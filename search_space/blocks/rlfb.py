"""RLFB, RLFN's block: three convolutions with a residual, a 1x1 convolution, and spatial attention.

Reference: Kong et al., "Residual Local Feature Network for Efficient Super-Resolution", CVPRW 2022
(https://arxiv.org/abs/2205.07514). The last activation stands before the sum, and nothing is added after ESA.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv import SLOPE
from srnas.search_space.blocks.esa import FEATURES, MIN_SIZE, OFFICIAL_NAMES, PAPER, Mask, mask_macs, mask_params
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint


@REGISTRY.register(
    BlockInfo(
        name="rlfb",
        role="trunk",
        paper=PAPER,
        constraint=Constraint(min_size=MIN_SIZE),
        tile_invariant=False,
        official_names={
            **{f"c{i + 1}_r": f"convolutions.{i}" for i in range(3)},
            "c5": "project",
            **{f"esa.{official}": f"attention.{ours}" for official, ours in OFFICIAL_NAMES.items()},
        },
    )
)
class RLFB(Block):
    """``esa(conv1x1(a + x))``, a: three times ``lrelu(conv3x3)`` of x, slope 0.05; shape kept; H and W at least 15."""

    class Config(BlockConfig):
        """``middle``: width between the convolutions, by default C; ``features`` of ESA."""

        middle: int | None = Field(default=None, ge=1)
        features: int = Field(default=FEATURES, ge=1)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        middle = config.middle or channels
        widths = ((channels, middle), (middle, middle), (middle, channels))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in widths)
        self.project = nn.Conv2d(channels, channels, 1)
        self.attention = Mask(channels, config.features, 1)

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """A middle as wide as the block is the default."""
        assert isinstance(config, RLFB.Config)
        return config.model_copy(update={"middle": None}) if config.middle == channels else config

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        self.check_size(x)
        inner = x
        for convolution in self.convolutions:
            inner = F.leaky_relu(convolution(inner), SLOPE)
        transformed: torch.Tensor = self.attention(self.project(inner + x))
        return transformed

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``18 C M + 9 M^2 + 2 M + C^2 + 2 C``, the middle M, and ``2 C f + 19 f^2 + 4 f + C`` of ESA."""
        middle = config.middle or channels
        trunk = 18 * channels * middle + 9 * middle**2 + 2 * middle + channels**2 + 2 * channels
        return trunk + mask_params(channels, config.features, 1)

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``(18 C M + 9 M^2 + C^2) H W`` with the middle M, and those of ESA."""
        middle = config.middle or channels
        trunk = (18 * channels * middle + 9 * middle**2 + channels**2) * height * width
        return trunk + mask_macs(channels, height, width, config.features, 1)
