"""PSA, polarized self-attention: a channel mask and a spatial mask, each from a full-resolution self-attention.

Reference: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021
(https://arxiv.org/abs/2107.00782). The defaults are the paper's form. The official code differs from the paper and
between its two layouts (DeLightCMU/PSA issue 5); both official forms are options:

* ``psa_parallel(spatial_softmax="product", channel_up="conv", projection_bias=False)`` is the official ``PSA_p``, whose
  spatial mask is a softmax over H*W followed by a sigmoid and hence nearly the constant 1/2;
* ``psa_sequential(spatial_softmax="value", channel_up="bottleneck", projection_bias=False)`` is the official ``PSA_s``.
"""

from typing import Any, Literal

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

_PAPER = "Liu et al., Polarized Self-Attention, 2021, https://arxiv.org/abs/2107.00782"
_CONSTRAINT = Constraint(channels_multiple=2, min_channels=2)
_OFFICIAL_NAMES = {
    "ch_wq": "channel_query",
    "ch_wv": "channel_value",
    "ch_wz": "channel_up",
    "ln": "norm",
    "sp_wq": "spatial_query",
    "sp_wv": "spatial_value",
    "conv_q_right": "channel_query",
    "conv_v_right": "channel_value",
    "conv_q_left": "spatial_query",
    "conv_v_left": "spatial_value",
    "conv_up": "channel_up",
}


class PolarizedAttention(Block):
    """The two masks that both layouts share; C even, a multiple of 8 with ``channel_up="bottleneck"``."""

    class Config(BlockConfig):
        """Where the spatial softmax is, how the channel mask is expanded, and whether q and v have biases.

        ``spatial_softmax``: on the pooled ``query`` (paper), on the ``product``, or on the ``value`` over H*W.
        ``channel_up``: ``conv_ln`` (1x1, layer norm; paper), ``conv`` (1x1 without bias), or ``bottleneck``
        (1x1 to C/8, layer norm, ReLU, 1x1 to C). Without ``projection_bias`` q and v start Kaiming-normal.
        """

        spatial_softmax: Literal["query", "product", "value"] = "query"
        channel_up: Literal["conv_ln", "conv", "bottleneck"] = "conv_ln"
        projection_bias: bool = True

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        half, bias = channels // 2, config.projection_bias
        self.spatial_softmax = config.spatial_softmax
        self.channel_query = nn.Conv2d(channels, 1, 1, bias=bias)
        self.channel_value = nn.Conv2d(channels, half, 1, bias=bias)
        self.spatial_query = nn.Conv2d(channels, half, 1, bias=bias)
        self.spatial_value = nn.Conv2d(channels, half, 1, bias=bias)
        self.norm = nn.LayerNorm(channels) if config.channel_up == "conv_ln" else nn.Identity()
        self.channel_up: nn.Module
        if config.channel_up == "bottleneck":
            narrow = channels // 8
            self.channel_up = nn.Sequential(
                nn.Conv2d(half, narrow, 1), nn.LayerNorm([narrow, 1, 1]), nn.ReLU(), nn.Conv2d(narrow, channels, 1)
            )
        else:
            self.channel_up = nn.Conv2d(half, channels, 1, bias=config.channel_up == "conv_ln")
        if not bias:
            for conv in (self.channel_query, self.channel_value, self.spatial_query, self.spatial_value):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """The bottleneck needs C/8 channels."""
        assert isinstance(config, PolarizedAttention.Config)
        return Constraint(8, 8) if config.channel_up == "bottleneck" else _CONSTRAINT

    def channel_mask(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C, 1, 1)`` in (0, 1)."""
        query = self.channel_query(x).flatten(2).softmax(-1)
        pooled = torch.matmul(self.channel_value(x).flatten(2), query.transpose(1, 2))
        expanded = self.channel_up(pooled.unsqueeze(-1))
        mask: torch.Tensor = self.norm(expanded.flatten(1)).sigmoid()
        return mask[:, :, None, None]

    def spatial_mask(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 1, H, W)`` in (0, 1)."""
        query = self.spatial_query(x).mean((-2, -1)).unsqueeze(1)
        value = self.spatial_value(x).flatten(2)
        if self.spatial_softmax == "query":
            query = query.softmax(-1)
        elif self.spatial_softmax == "value":
            value = value.softmax(-1)
        product = torch.matmul(query, value)
        if self.spatial_softmax == "product":
            product = product.softmax(-1)
        return product.sigmoid().view(x.shape[0], 1, *x.shape[-2:])

    @classmethod
    def params(cls, channels: int, config: Any = Config()) -> int:
        """``3/2 C^2 + C`` of q and v (biases ``3/2 C + 1``), and the expansion of the channel mask.

        The expansion: ``1/2 C^2`` (``conv``), ``+ 3 C`` for bias and layer norm (``conv_ln``), or with n = C/8
        ``n (3/2 C + 3) + C`` (``bottleneck``).
        """
        half, narrow = channels // 2, channels // 8
        up: int = half * channels
        if config.channel_up == "conv_ln":
            up += 3 * channels
        elif config.channel_up == "bottleneck":
            up = narrow * (half + channels + 3) + channels
        biases = 3 * half + 1 if config.projection_bias else 0
        return 3 * half * channels + channels + biases + up

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Any = Config()) -> int:
        """``(3/2 C^2 + 2 C) H W`` with the two products; expansion: ``1/2 C^2``, or ``3/2 C n`` with n = C/8."""
        half, narrow = channels // 2, channels // 8
        up = narrow * (half + channels) if config.channel_up == "bottleneck" else half * channels
        return (3 * half * channels + 2 * channels) * height * width + up


@REGISTRY.register(
    BlockInfo(
        name="psa_parallel",
        role="attention",
        paper=_PAPER,
        constraint=_CONSTRAINT,
        tile_invariant=False,
        # A constant that is added to all logits of a softmax cannot change it.
        without_gradient=("channel_query.bias",),
        official_names=_OFFICIAL_NAMES,
    )
)
class ParallelPSA(PolarizedAttention):
    """``channel_mask(x) * x + spatial_mask(x) * x``, shape kept; depends on the whole image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return self.channel_mask(x) * x + self.spatial_mask(x) * x

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the masks ``channel`` and ``spatial``."""
        return {"channel": self.channel_mask(x), "spatial": self.spatial_mask(x)}


@REGISTRY.register(
    BlockInfo(
        name="psa_sequential",
        role="attention",
        paper=_PAPER,
        constraint=_CONSTRAINT,
        tile_invariant=False,
        # A constant that is added to all logits of a softmax cannot change it.
        without_gradient=("channel_query.bias",),
        official_names=_OFFICIAL_NAMES,
    )
)
class SequentialPSA(PolarizedAttention):
    """``z = channel_mask(x) * x``, then ``spatial_mask(z) * z``, shape kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        weighed = self.channel_mask(x) * x
        return self.spatial_mask(weighed) * weighed

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the masks ``channel`` and ``spatial``."""
        channel = self.channel_mask(x)
        return {"channel": channel, "spatial": self.spatial_mask(channel * x)}
