"""AAB, attention in attention: a dynamic weighting of an attention branch against a plain one.

Reference: Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021
(https://arxiv.org/abs/2104.09497). ``aab_m`` is the block of A2N-M: its plain branch is a 1x1 convolution.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.squeeze import canonical_reduction, squeezed
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

PAPER = "Chen et al., Attention in Attention Network, 2021, https://arxiv.org/abs/2104.09497"
_SLOPE = 0.2
_CONSTRAINT = Constraint(min_channels=4)
_OFFICIAL_NAMES = {
    "conv_first": "project_in",
    "ADM.0": "squeeze",
    "ADM.2": "weigh",
    "attention.k1": "gate_spatial",
    "attention.k2": "gate_point",
    "attention.k3": "value",
    "attention.k4": "merge",
    "non_attention": "plain",
    "conv_last": "project_out",
}


class _PlainBranch(nn.Module):
    """``x + conv1x1(lrelu(plain(lrelu(conv1x1(x)))))`` of an AAB."""

    def __init__(self, block: "AAB") -> None:
        super().__init__()
        self.project_in, self.plain, self.project_out = block.project_in, block.plain, block.project_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = F.leaky_relu(self.project_in(x), _SLOPE)
        refined: torch.Tensor = self.project_out(F.leaky_relu(self.plain(inner), _SLOPE))
        return x + refined


def _conv(channels: int, kernel: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=bias)


@REGISTRY.register(
    BlockInfo(
        name="aab",
        role="attention",
        paper=PAPER,
        constraint=_CONSTRAINT,
        tile_invariant=False,
        residual=True,
        official_names=_OFFICIAL_NAMES,
    )
)
class AAB(Block):
    """``x + conv1x1(lrelu(w0 * attention(x1) + w1 * plain(x1)))``, shape kept; C at least ``reduction``.

    The pair ``(w0, w1)`` is a softmax per sample over two logits of the global average of ``x1``, so the block
    depends on the whole image.
    """

    plain_kernel: ClassVar[int] = 3

    class Config(BlockConfig):
        """``reduction`` of the weighting network; ``temperature`` of its softmax (30 in the official code)."""

        reduction: int = Field(default=4, ge=1)
        temperature: float = Field(default=30.0, gt=0)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        hidden = squeezed(channels, config.reduction)
        self.temperature = config.temperature
        self.project_in = _conv(channels, 1)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.weigh = nn.Linear(hidden, 2, bias=False)
        self.gate_spatial = _conv(channels, 3)
        self.gate_point = _conv(channels, 1, bias=True)
        self.value = _conv(channels, 3)
        self.merge = _conv(channels, 3)
        self.plain = _conv(channels, self.plain_kernel)
        self.project_out = _conv(channels, 1)

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """C must leave the weighting network at least one hidden unit."""
        assert isinstance(config, AAB.Config)
        return Constraint(min_channels=config.reduction)

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Reductions to the same width are one, none of which exceeds C."""
        assert isinstance(config, AAB.Config)
        reduction = canonical_reduction(channels, config.reduction, default=min(4, channels))
        return config.model_copy(update={"reduction": reduction})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        inner = F.leaky_relu(self.project_in(x), _SLOPE)
        weights = self._weights(inner)
        attended = self.merge(self.value(inner) * self._gate(inner))
        mixed = attended * weights[:, :1] + self.plain(inner) * weights[:, 1:]
        refined: torch.Tensor = self.project_out(F.leaky_relu(mixed, _SLOPE))
        return x + refined

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return ``attention_weight`` and ``plain_weight``, ``(B, 1, 1, 1)``, and ``gate``, ``(B, C, H, W)``."""
        inner = F.leaky_relu(self.project_in(x), _SLOPE)
        attended, plain = self._weights(inner).split(1, dim=1)
        return {"attention_weight": attended, "plain_weight": plain, "gate": self._gate(inner)}

    def without_attention(self) -> nn.Module:
        """Return the plain branch with all of the weight, as if that of the attention were 0."""
        return _PlainBranch(self)

    def _weights(self, inner: torch.Tensor) -> torch.Tensor:
        """Return the weights of the two branches, ``(B, 2, 1, 1)``, the attention's first."""
        logits = self.weigh(F.relu(self.squeeze(inner.mean((-2, -1)))))
        weights: torch.Tensor = (logits / self.temperature).softmax(1)[:, :, None, None]
        return weights

    def _gate(self, inner: torch.Tensor) -> torch.Tensor:
        gate: torch.Tensor = self.gate_point(F.leaky_relu(self.gate_spatial(inner), _SLOPE)).sigmoid()
        return gate

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``(30 + k^2) C^2 + C + C r + 2 r`` with the plain branch's kernel k and r = C / reduction."""
        hidden = squeezed(channels, config.reduction)
        return (30 + cls.plain_kernel**2) * channels**2 + channels + hidden * (channels + 2)

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``(30 + k^2) C^2 H W + C r + 2 r`` with the plain branch's kernel k and r = C / reduction."""
        hidden = squeezed(channels, config.reduction)
        per_pixel = (30 + cls.plain_kernel**2) * channels**2
        return per_pixel * height * width + hidden * (channels + 2)


@REGISTRY.register(
    BlockInfo(
        name="aab_m",
        role="attention",
        paper=PAPER + " (A2N-M)",
        constraint=_CONSTRAINT,
        tile_invariant=False,
        residual=True,
        official_names=_OFFICIAL_NAMES,
    )
)
class AABM(AAB):
    """AAB with a 1x1 convolution as its plain branch."""

    plain_kernel = 1
