"""STN, spatial transformer: a bounded affine warp of the features, mixed in per channel.

Reference: Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015 (https://arxiv.org/abs/1506.02025).

Deviation: a warp breaks the correspondence of pixels with the target, so it enters as a gated difference, and its
parameters stay within ``bound`` of the identity. The localisation network pools adaptively: it takes any size. Its
last layer does not start at 0: with gamma at 0 too, neither would ever get a gradient.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo

_GRID = 4
_HIDDEN = 32
_THETA = 6


def _centres(size: int, like: torch.Tensor) -> torch.Tensor:
    """Return the pixel centres of one side, where -1 and 1 are the outer edges of the image."""
    return (2 * torch.arange(size, device=like.device, dtype=like.dtype) + 1) / size - 1


def warp(x: torch.Tensor, theta: torch.Tensor, *, padding_mode: str = "zeros") -> torch.Tensor:
    """Sample ``x`` bilinearly where an affine map of its own grid points (``align_corners=False``).

    Args:
        x: ``(B, C, H, W)``.
        theta: ``(B, 2, 3)``, output to input coordinates (x, y), which run from -1 to 1 between the image's edges.
        padding_mode: What lies outside: ``zeros``, ``border`` or ``reflection``.

    Returns:
        The shape and dtype of ``x``, computed in float32.
    """
    # Products of elements and not F.affine_grid, whose matrix product autocast would run in half precision.
    of_x, of_y, offset = theta.float()[:, None, None].unbind(-1)
    columns, rows = _centres(x.shape[-1], of_x), _centres(x.shape[-2], of_x)
    grid = of_x * columns[:, None] + of_y * rows[:, None, None] + offset
    sampled = F.grid_sample(x.float(), grid, mode="bilinear", padding_mode=padding_mode, align_corners=False)
    return sampled.to(x.dtype)


@REGISTRY.register(
    BlockInfo(
        name="stn",
        role="attention",
        paper="Jaderberg et al., Spatial Transformer Networks, NeurIPS 2015, https://arxiv.org/abs/1506.02025",
        tile_invariant=False,
        residual=True,
    )
)
class STN(Block):
    """``x + gamma * (warp(x, theta(x)) - x)``, shape kept; gamma, one per channel, starts at 0: an identity.

    One warp for the whole image. Generating the grid and sampling are not multiply-accumulates by convention.
    """

    class Config(BlockConfig):
        """``bound`` of each entry of theta about the identity; ``features`` of the localisation network."""

        bound: float = Field(default=0.1, gt=0, lt=1)
        features: int = Field(default=8, ge=1)

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.bound = config.bound
        self.first = nn.Conv2d(channels, config.features, 3, padding=1)
        self.second = nn.Conv2d(config.features, config.features, 3, padding=1)
        self.hidden = nn.Linear(config.features * _GRID**2, _HIDDEN)
        self.last = nn.Linear(_HIDDEN, _THETA)
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.identity: torch.Tensor
        self.register_buffer("identity", torch.eye(2, 3), persistent=False)

    def theta(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 2, 3)``, each entry within ``bound`` of the identity."""
        pooled = F.adaptive_avg_pool2d(x, _GRID)
        features = F.relu(self.second(F.relu(self.first(pooled))))
        logits: torch.Tensor = self.last(F.relu(self.hidden(features.flatten(1))))
        return self.identity + self.bound * logits.view(-1, 2, 3).to(self.identity.dtype).tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine ``x``, ``(B, C, H, W)``."""
        return x + self.gamma * (warp(x, self.theta(x)) - x)

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``9 C f + 9 f^2 + 2 f + 32 (16 f + 1) + 6 * 33 + C``."""
        f = config.features
        linear = _HIDDEN * (_GRID**2 * f + 1) + _THETA * (_HIDDEN + 1)
        return 9 * f * (channels + f) + 2 * f + linear + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``16 (9 C f + 9 f^2) + 32 * 16 f + 6 * 32``, at any size."""
        f = config.features
        return _GRID**2 * (9 * f * (channels + f) + _HIDDEN * f) + _THETA * _HIDDEN
