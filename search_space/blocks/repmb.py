"""RepMBConv, PlainUSR's trunk: inverted bottlenecks while training, plain 3x3 convolutions when deployed.

Reference: Wang et al., "PlainUSR: Chasing Faster ConvNet for Efficient Super-Resolution", ACCV 2024
(https://arxiv.org/abs/2409.13435). Everything between two activations is linear in x, hence folds into one convolution.

The official start of ASR, all ones, saturates its sigmoid: from 32 inner channels on its scale is the constant 1 in
float32, with zero gradient, for ever. With ``start="alive"`` its linear layers start at random, and its scale near 1/2.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv import SLOPE
from srnas.search_space.blocks.folding import add_identity, make_convolution, weight_and_bias
from srnas.search_space.blocks.lia import PAPER
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

Start = Literal["alive", "official"]

_EXPANSION = 2
_SQUEEZE = 4
_VECTOR_START = 0.1
# The names of one RepMBConv.
OFFICIAL_NAMES = {
    "expand_conv": "expand",
    "fea_conv": "spatial",
    "se.tensor": "attention.vector",
    "se.se.1": "attention.squeeze",
    "se.se.3": "attention.expand",
    "reduce_conv": "reduce",
}


class ASR(nn.Module):
    """A scale per channel that does not depend on the input: ``sigmoid(W2 silu(W1 t))`` of a learned vector t."""

    def __init__(self, channels: int, start: Start) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.full((1, channels, 1, 1), _VECTOR_START))
        self.squeeze = nn.Linear(channels, channels // _SQUEEZE, bias=False)
        self.expand = nn.Linear(channels // _SQUEEZE, channels, bias=False)
        if start == "official":
            nn.init.ones_(self.squeeze.weight)
            nn.init.ones_(self.expand.weight)

    def forward(self) -> torch.Tensor:
        """Return the scale, ``(C, 1, 1)`` in (0, 1)."""
        scale: torch.Tensor = self.expand(F.silu(self.squeeze(self.vector.flatten(1)))).sigmoid()
        return scale.view(-1, 1, 1)


class RepMBConv(nn.Module):
    """``x + reduce(asr * conv3x3(e) + e)`` with ``e = expand(x)``, shape kept; :meth:`merge` gives one convolution.

    The border of ``e`` is padded with the bias of ``expand``: what that convolution makes of zeros.
    """

    def __init__(self, channels: int, start: Start) -> None:
        super().__init__()
        inner = _EXPANSION * channels
        self.expand = nn.Conv2d(channels, inner, 1)
        self.spatial = nn.Conv2d(inner, inner, 3)
        self.attention = ASR(inner, start)
        self.reduce = nn.Conv2d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        assert self.expand.bias is not None
        padded = F.pad(F.conv2d(x, self.expand.weight), (1, 1, 1, 1)) + self.expand.bias[:, None, None]
        inner = self.attention() * self.spatial(padded) + padded[..., 1:-1, 1:-1]
        reduced: torch.Tensor = self.reduce(inner)
        return x + reduced

    @torch.no_grad()
    def merge(self) -> nn.Conv2d:
        """Return the equal 3x3 convolution with zero padding; the merging runs in float64."""
        first, first_bias = weight_and_bias(self.expand)
        middle, middle_bias = weight_and_bias(self.spatial)
        last, last_bias = weight_and_bias(self.reduce)
        scale = self.attention().double()
        middle, middle_bias = middle * scale[..., None], middle_bias * scale.flatten()
        add_identity(middle)
        spatial = torch.einsum("omhw,mc->ochw", middle, first[..., 0, 0])
        bias = middle_bias + torch.einsum("omhw,m->o", middle, first_bias)
        weight = torch.einsum("om,mchw->ochw", last[..., 0, 0], spatial)
        add_identity(weight)
        return make_convolution(weight, last[..., 0, 0] @ bias + last_bias, like=self.spatial)


class GateProjection(nn.Module):
    """PConv: channel 0 becomes a 1x1 convolution of all channels, which starts as their mean; the others pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)
        nn.init.constant_(self.conv.weight, 1 / channels)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rewrite channel 0 of ``x``, ``(B, C, H, W)``."""
        return torch.cat([self.conv(x), x[:, 1:]], dim=1)

    @torch.no_grad()
    def merge(self, conv: nn.Conv2d) -> nn.Conv2d:
        """Return the convolution that equals ``conv`` followed by this module."""
        weight, bias = weight_and_bias(conv)
        projection, offset = weight_and_bias(self.conv)
        row = projection[0, :, 0, 0]
        weight[0], bias[0] = torch.einsum("m,mchw->chw", row, weight), row @ bias + offset[0]
        return make_convolution(weight, bias, like=conv)


@REGISTRY.register(
    BlockInfo(name="repmb", role="trunk", paper=PAPER, constraint=Constraint(min_channels=2), residual=True, depth=3.0)
)
class RepMB(Block):
    """Convolutions with LeakyReLU (slope 0.05) between them, each a RepMBConv until :meth:`fold`; shape kept.

    Its identity paths pass the input on. Deployed, it is ``conv`` with ``activation="leaky_relu"``.
    """

    class Config(BlockConfig):
        """Number of ``convolutions``, whether a ``gate`` is prepared, and the ``start`` of ASR.

        ``convolutions``: 2, or 3 in PlainUSR-L. ``gate``: whether channel 0 is rewritten at the end (PConv), for an
        attention block that reads its gate there. ``start``: ``official``, which never leaves 1, or ``alive``.
        """

        convolutions: int = Field(default=2, ge=1)
        gate: bool = False
        start: Start = "official"

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.convolutions = nn.ModuleList(RepMBConv(channels, config.start) for _ in range(config.convolutions))
        self.gate: nn.Module = GateProjection(channels) if config.gate else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        for index, convolution in enumerate(self.convolutions):
            x = convolution(F.leaky_relu(x, SLOPE) if index else x)
        transformed: torch.Tensor = self.gate(x)
        return transformed

    def fold(self) -> None:
        """Merge each RepMBConv, and the gate's projection, into a 3x3 convolution; a second call changes nothing."""
        for index, convolution in enumerate(self.convolutions):
            if isinstance(convolution, RepMBConv):
                self.convolutions[index] = convolution.merge()
        last = self.convolutions[-1]
        if isinstance(self.gate, GateProjection):
            assert isinstance(last, nn.Conv2d)
            self.convolutions[-1] = self.gate.merge(last)
            self.gate = nn.Identity()

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``n (9 C^2 + C)`` for n convolutions; ``n (42 C^2 + 7 C)`` while training, and C + 1 of the gate."""
        return config.convolutions * (9 * channels**2 + channels)

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``9 n C^2 H W`` for n convolutions."""
        return 9 * config.convolutions * channels**2 * height * width
