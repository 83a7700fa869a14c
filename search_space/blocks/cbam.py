"""CBAM, convolutional block attention module: a channel gate, then a spatial gate on its result.

Reference: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, Eqs. 1 to 3
(https://arxiv.org/abs/1807.06521).

Deviation: the channel gate keeps at least one hidden unit where C < reduction (the official code then ignores x).
"""

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv_norm import ConvNorm
from srnas.search_space.blocks.squeeze import canonical_reduction, squeezed
from srnas.search_space.errors import InputError
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo

Pool = Literal["avg", "max", "lp", "lse"]


def _pool(x: torch.Tensor, kind: Pool) -> torch.Tensor:
    """Reduce ``(B, C, H, W)`` to ``(B, C)``."""
    if kind == "avg":
        return x.mean((-2, -1))
    if kind == "max":
        return x.amax((-2, -1))
    if kind == "lp":
        # The gradient of the root is not finite at 0.
        return x.square().sum((-2, -1)).clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    return x.flatten(2).logsumexp(-1)


class SpatialGate(ConvNorm):
    """``x * sigmoid(norm(conv7x7([max_c, mean_c])))`` with batch norm."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 1, 7, padding=3, bias=False), batch_norm=True, momentum=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.mask(x)

    def mask(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 1, H, W)`` in (0, 1)."""
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return super().forward(pooled).sigmoid()


@REGISTRY.register(
    BlockInfo(
        name="cbam",
        role="attention",
        paper="Woo et al., CBAM, ECCV 2018, https://arxiv.org/abs/1807.06521",
        tile_invariant=False,
        official_names={
            "ChannelGate.mlp.1": "squeeze",
            "ChannelGate.mlp.3": "expand",
            "SpatialGate.spatial.conv": "spatial.conv",
            "SpatialGate.spatial.bn": "spatial.norm",
        },
    )
)
class CBAM(Block):
    """``spatial(x * sigmoid(sum over pools of mlp(pool(x))))``, shape kept; depends on the whole image."""

    class Config(BlockConfig):
        """``reduction`` of the shared MLP, its ``pools``, and whether the ``spatial`` gate follows."""

        reduction: int = Field(default=16, ge=1)
        pools: tuple[Pool, ...] = Field(default=("avg", "max"), min_length=1)
        spatial: bool = True

        @field_validator("pools")
        @classmethod
        def _sort(cls, pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
            if len(set(pools)) < len(pools):
                raise InputError(f"pools must differ, but got pools={pools}; name each once.")
            return tuple(sorted(pools))

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        hidden = squeezed(channels, config.reduction)
        self.pools = config.pools
        self.squeeze = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)
        self.spatial = SpatialGate() if config.spatial else nn.Identity()

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Reductions to the same width are one."""
        assert isinstance(config, CBAM.Config)
        return config.model_copy(update={"reduction": canonical_reduction(channels, config.reduction, 16)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        weighed: torch.Tensor = self.spatial(x * self._channel(x))
        return weighed

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the gates ``channel`` and, where there is one, ``spatial``."""
        gates = {"channel": self._channel(x)}
        spatial = self.spatial
        return gates | {"spatial": spatial.mask(x * gates["channel"])} if isinstance(spatial, SpatialGate) else gates

    def _channel(self, x: torch.Tensor) -> torch.Tensor:
        logits = [self.expand(F.relu(self.squeeze(_pool(x, pool)))) for pool in self.pools]
        gate: torch.Tensor = sum(logits[1:], logits[0]).sigmoid()[:, :, None, None]
        return gate

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``2 C h + h + C``, h = max(1, C / reduction), and 99 for the spatial gate."""
        hidden = squeezed(channels, config.reduction)
        return 2 * channels * hidden + hidden + channels + 99 * config.spatial

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``2 C h`` per pool, h = max(1, C / reduction), and ``98 H W`` for the spatial gate."""
        hidden = squeezed(channels, config.reduction)
        return 2 * channels * hidden * len(config.pools) + 98 * height * width * config.spatial
