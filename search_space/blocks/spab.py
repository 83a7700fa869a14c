"""SPAB, SPAN's block: three 3x3 convolutions whose result weighs itself and the input, with a signed weight.

Reference: Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024
(https://arxiv.org/abs/2311.12770). With ``convolution="conv"`` it is the block of SPAN-F (NTIRE 2025).

It is not near an identity: it shrinks small signals quadratically. SPAN adds no residual to it.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv3xc import OFFICIAL_NAMES, PAPER, Bottleneck
from srnas.search_space.blocks.folding import Foldable
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo

_PLACES = {"c1_r": "first", "c2_r": "second", "c3_r": "third"}


@REGISTRY.register(
    BlockInfo(
        name="spab",
        role="trunk",
        depth=1.5,
        paper=PAPER,
        official_names={
            f"{place}.{official}": f"{ours}.{name}"
            for place, ours in _PLACES.items()
            for official, name in OFFICIAL_NAMES.items()
        },
    )
)
class SPAB(Block):
    """``(h + x) * (sigmoid(h) - 1/2)`` with ``h = third(silu(second(silu(first(x)))))``, shape kept.

    What it tells of its inside is ``silu(first(x))``. It can be a stem, which gives h alone.
    """

    widens = True
    tells = True

    class Config(BlockConfig):
        """``middle``: width between the convolutions, by default C; ``convolution``: ``conv3xc``, or plain ``conv``."""

        middle: int | None = Field(default=None, ge=1)
        convolution: Literal["conv3xc", "conv"] = "conv3xc"

    def __init__(self, channels: int, config: Config = Config(), in_channels: int | None = None) -> None:
        super().__init__(channels, config)
        middle, inputs = config.middle or channels, in_channels or channels
        self.first, self.second, self.third = (
            self.make_conv(a, b, config) for a, b in ((inputs, middle), (middle, middle), (middle, channels))
        )
        self.attends = inputs == channels
        self.tells_inner = False

    @staticmethod
    def make_conv(in_channels: int, channels: int, config: Config) -> Foldable:
        """Return a 3x3 convolution."""
        if config.convolution == "conv3xc":
            return Foldable(Bottleneck(in_channels, channels))
        return Foldable(nn.Conv2d(in_channels, channels, 3, padding=1))

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """A middle as wide as the block is the default."""
        assert isinstance(config, SPAB.Config)
        return config.model_copy(update={"middle": None}) if config.middle == channels else config

    @classmethod
    def inner_channels(cls, channels: int, config: BlockConfig) -> int:
        """The width between the convolutions."""
        assert isinstance(config, SPAB.Config)
        return config.middle or channels

    def tell_inner(self) -> None:
        """Let :meth:`forward` return ``silu(first(x))`` beside the output."""
        self.tells_inner = True

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Transform ``x``, ``(B, C, H, W)``."""
        output, first, _ = self.transform(x)
        return (output, first) if self.tells_inner else output

    def transform(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the output, ``silu(first(x))``, and the attention."""
        first = F.silu(self.first(x))
        inner: torch.Tensor = self.third(F.silu(self.second(first)))
        attention = inner.sigmoid() - 0.5
        return (inner + x) * attention if self.attends else inner, first, attention

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``18 C M + 9 M^2 + 2 M + C`` with the middle M; ``123 C^2 + 18 C`` while training, M = C."""
        middle = config.middle or channels
        return 18 * channels * middle + 9 * middle**2 + 2 * middle + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``(18 C M + 9 M^2) H W`` with the middle M."""
        middle = config.middle or channels
        return (18 * channels * middle + 9 * middle**2) * height * width
