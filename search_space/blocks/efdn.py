"""EFDN's cell, and its whole body, whose cells are joined across.

Reference: Wang, "Edge-Enhanced Feature Distillation Network for Efficient Super-Resolution", CVPRW 2022
(https://arxiv.org/abs/2204.08759). The second fusion of the body takes the second and third cell, the last one the
second and fourth.
"""

import torch
from torch import nn

from srnas.search_space.blocks.edbb import EDBB, PAPER
from srnas.search_space.blocks.esa import MIN_SIZE, Mask, mask_macs, mask_params, rfdn_sizes
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

_CONSTRAINT = Constraint(channels_multiple=2, min_channels=4, min_size=MIN_SIZE)
_CELLS = 4
_DEAD = EDBB.info.without_gradient


@REGISTRY.register(
    BlockInfo(
        name="efdb",
        role="trunk",
        paper=PAPER,
        constraint=_CONSTRAINT,
        tile_invariant=False,
        residual=True,
        without_gradient=tuple(f"{place}.{name}" for place in ("second", "third") for name in _DEAD),
    )
)
class EFDB(Block):
    """``x + esa(conv1x1([k0, k1, k2, k3]))``, shape kept; C even and at least 4, H and W at least 15.

    ``k_i``: 1x1 convolutions to half the channels of x, ``o1 = prelu(conv1x1(x))``, ``o2 = edbb(o1)`` and
    ``o3 = edbb(o2)``.
    """

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.first = nn.Conv2d(channels, channels, 1)
        self.activation = nn.PReLU(channels)
        self.second = EDBB(channels)
        self.third = EDBB(channels)
        self.kept = nn.ModuleList(nn.Conv2d(channels, channels // 2, 1) for _ in range(4))
        self.project = nn.Conv2d(2 * channels, channels, 1)
        self.attention = Mask(channels, *rfdn_sizes(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        self.check_size(x)
        first = self.activation(self.first(x))
        second = self.second(first)
        outputs = (x, first, second, self.third(second))
        kept = [keep(output) for keep, output in zip(self.kept, outputs, strict=True)]
        refined: torch.Tensor = self.attention(self.project(torch.cat(kept, dim=1)))
        return x + refined

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``23 C^2 + 9 C``, and ``2 C f + 37 f^2 + 6 f + C`` of ESA with f = C / 4."""
        return 23 * channels**2 + 9 * channels + mask_params(channels, *rfdn_sizes(channels))

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``23 C^2 H W``, and those of ESA with f = C / 4."""
        return 23 * channels**2 * height * width + mask_macs(channels, height, width, *rfdn_sizes(channels))


@REGISTRY.register(
    BlockInfo(
        name="efdn",
        role="trunk",
        paper=f"{PAPER} (the whole body)",
        constraint=_CONSTRAINT,
        tile_invariant=False,
        whole=True,
        without_gradient=tuple(f"cells.{i}.{name}" for i in range(_CELLS) for name in EFDB.info.without_gradient),
    )
)
class EFDNBody(Block):
    """The body of EFDN as one block, shape kept: ``efdb`` four times, joined across by 1x1 convolutions.

    Cells 1 and 2 follow each other; 3 takes ``conv1x1([c1, c2])``, 4 ``conv1x1([c2, c3])``; the output is
    ``conv1x1([c2, c4])``. The position adds the input. C even and at least 4, H and W at least 15.
    """

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.cells = nn.ModuleList(EFDB(channels) for _ in range(_CELLS))
        self.joins = nn.ModuleList(nn.Conv2d(2 * channels, channels, 1) for _ in range(_CELLS - 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        first = self.cells[0](x)
        second = self.cells[1](first)
        third = self.cells[2](self.joins[0](torch.cat([first, second], dim=1)))
        fourth = self.cells[3](self.joins[1](torch.cat([second, third], dim=1)))
        transformed: torch.Tensor = self.joins[2](torch.cat([second, fourth], dim=1))
        return transformed

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``98 C^2 + 39 C``, and four times those of ESA with f = C / 4."""
        return _CELLS * EFDB.params(channels) + 6 * channels**2 + 3 * channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``98 C^2 H W``, and four times those of ESA with f = C / 4."""
        return _CELLS * EFDB.macs(channels, height, width) + 6 * channels**2 * height * width
