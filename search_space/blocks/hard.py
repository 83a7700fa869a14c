"""Hard attention: a convolution added at selected pixels only, by a mask of zeros and ones.

Reference: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
Computation", 2013 (https://arxiv.org/abs/1308.3432): the straight-through estimator that trains the mask.

The mask is deterministic, in training too. Skipped pixels are still computed and then multiplied by 0: no compute
is saved.
"""

from typing import Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn
from torch.nn import functional as F

from srnas.search_space.errors import InputError
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


def _central(size: int, fraction: float) -> tuple[int, int, int]:
    """Return how much of a side lies before, in and after its centre, rounded half up and at least 1."""
    kept = max(1, int(size * fraction + 0.5))
    before = (size - kept) // 2
    return before, kept, size - kept - before


@REGISTRY.register(
    BlockInfo(
        name="hard",
        role="attention",
        paper="Bengio et al., Straight-through estimator, 2013, https://arxiv.org/abs/1308.3432",
        residual=True,
    )
)
class HardAttention(Block):
    """``x + gamma * m * conv3x3(x)`` with m in {0, 1} of shape ``(B, 1, H, W)``, shape kept.

    Skipped pixels are still computed: no compute is saved. The rectangle of the ``centre`` form moves with the tile.
    """

    class Config(BlockConfig):
        """``form`` of the mask, the odd ``window`` of ``max``, and the ``fraction`` of ``centre``.

        ``threshold``: 1 where a learned logit is positive. ``max``: 1 where it is the maximum of its window.
        ``centre``: 1 in the central rectangle with this fraction of H and of W, not learned.
        """

        form: Literal["threshold", "max", "centre"] = "threshold"
        window: int = Field(default=3, ge=1)
        fraction: float = Field(default=0.5, gt=0, le=1)

        @field_validator("window")
        @classmethod
        def _odd(cls, window: int) -> int:
            if window % 2 == 0:
                raise InputError(f"window must be odd, but got window={window}; use {window - 1} or {window + 1}.")
            return window

        @model_validator(mode="after")
        def _drop_dead_options(self) -> Self:
            """Give options that the form does not use their defaults: equal masks are equal values."""
            used = {"threshold": (), "max": ("window",), "centre": ("fraction",)}[self.form]
            for name in {"window", "fraction"}.difference(used):
                object.__setattr__(self, name, type(self).model_fields[name].default)
            return self

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.config = config
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        # A bias cannot change where the maximum is.
        self.logit = None if config.form == "centre" else nn.Conv2d(channels, 1, 1, bias=config.form == "threshold")
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    @classmethod
    def tile_invariant(cls, config: BlockConfig) -> bool:
        """All forms but ``centre`` look at a neighbourhood."""
        assert isinstance(config, HardAttention.Config)
        return config.form != "centre"

    def mask(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 1, H, W)`` of zeros and ones; its gradient is that of the sigmoid of the logit."""
        if self.logit is None:
            top, height, bottom = _central(x.shape[-2], self.config.fraction)
            left, width, right = _central(x.shape[-1], self.config.fraction)
            return F.pad(x.new_ones(x.shape[0], 1, height, width), (left, right, top, bottom))
        logit = self.logit(x)
        if self.config.form == "threshold":
            chosen = logit > 0
        else:
            window = self.config.window
            chosen = logit == F.max_pool2d(logit, window, stride=1, padding=window // 2)
        soft: torch.Tensor = logit.sigmoid()
        straight_through: torch.Tensor = chosen.to(soft.dtype) + (soft - soft.detach())
        return straight_through

    def kept_fraction(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean of the mask, ``(B,)``; with the mask's gradient, so it can be penalised."""
        return self.mask(x).mean((1, 2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        added: torch.Tensor = self.gamma * self.mask(x) * self.conv(x)
        return x + added

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the ``mask`` of zeros and ones."""
        return {"mask": self.mask(x)}

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``9 C^2 + 2 C``, and ``C`` of the logit (``max``), ``C + 1`` (``threshold``) or 0 (``centre``)."""
        logit = {"threshold": channels + 1, "max": channels, "centre": 0}[config.form]
        return 9 * channels**2 + 2 * channels + logit

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``(9 C^2 + C) H W``, or ``9 C^2 H W`` with ``centre``."""
        return (9 * channels**2 + channels * (config.form != "centre")) * height * width
