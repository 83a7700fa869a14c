"""SE, squeeze-and-excitation: every channel weighed by a two-layer network of the global average.

Reference: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018 (https://arxiv.org/abs/1709.01507).

Deviation: at least one hidden unit is kept where C < reduction; both linear layers have biases.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.squeeze import canonical_reduction, squeezed
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(
    BlockInfo(
        name="se",
        role="attention",
        paper="Hu et al., SENet, CVPR 2018, https://arxiv.org/abs/1709.01507",
        tile_invariant=False,
    )
)
class SE(Block):
    """``x * sigmoid(expand(relu(squeeze(mean(x)))))``, shape kept; depends on the whole image."""

    class Config(BlockConfig):
        """``reduction`` of the hidden layer."""

        reduction: int = Field(default=16, ge=1)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        hidden = squeezed(channels, config.reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Reductions to the same width are one."""
        assert isinstance(config, SE.Config)
        return config.model_copy(update={"reduction": canonical_reduction(channels, config.reduction, 16)})

    def excite(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit per channel, ``(B, C, 1, 1)``, from the global average."""
        logits: torch.Tensor = self.expand(F.relu(self.squeeze(x.mean((-2, -1)))))
        return logits[:, :, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        return x * self.excite(x).sigmoid()

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the weight of every ``channel``."""
        return {"channel": self.excite(x).sigmoid()}

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``2 C h + h + C``, h = max(1, C / reduction)."""
        hidden = squeezed(channels, config.reduction)
        return 2 * channels * hidden + hidden + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``2 C h``, h = max(1, C / reduction)."""
        return 2 * channels * squeezed(channels, config.reduction)
