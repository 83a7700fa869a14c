"""ESA, enhanced spatial attention: a mask from a small map with a wide view, in the forms of RLFN and of RFDN.

Reference: Liu et al., "Residual Feature Aggregation Network for Image Super-Resolution", CVPR 2020, as in Liu et al.,
"Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCVW 2020
(https://arxiv.org/abs/2009.11551), and in Kong et al., "Residual Local Feature Network for Efficient Super-Resolution",
CVPRW 2022 (https://arxiv.org/abs/2205.07514).
"""

from collections import OrderedDict
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

PAPER = "Kong et al., RLFN, CVPRW 2022, https://arxiv.org/abs/2205.07514"
RFDN_PAPER = "Liu et al., RFDN, ECCVW 2020, https://arxiv.org/abs/2009.11551"
MIN_SIZE = 15
FEATURES = 16
OFFICIAL_NAMES = {
    "conv1": "squeeze",
    "conv_f": "point",
    "conv2": "reduce",
    "conv4": "expand",
    "conv_max": "small.first",
    "conv3": "small.middle",
    "conv3_": "small.last",
}
_POOL_SIZE, _POOL_STRIDE = 7, 3
_RFDN_REDUCTION = 4
# The convolutions on the small map, by their number.
_SMALL = {1: ("middle",), 3: ("first", "middle", "last")}


def map_size(height: int, width: int) -> tuple[int, int]:
    """Return the number of pixels after the strided convolution, and after the pooling."""
    strided = [(side - 3) // 2 + 1 for side in (height, width)]
    pooled = [(side - _POOL_SIZE) // _POOL_STRIDE + 1 for side in strided]
    return strided[0] * strided[1], pooled[0] * pooled[1]


class Mask(nn.Module):
    """``x * sigmoid(expand(upsample(small(pool(reduce(c)))) + point(c)))`` with ``c = squeeze(x)``.

    Args:
        channels: C of ``x``.
        features: Width of the mask's branch.
        convolutions: Number of 3x3 convolutions on the small map, 1 or 3, with ReLU between them.
    """

    def __init__(self, channels: int, features: int, convolutions: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, features, 1)
        self.point = nn.Conv2d(features, features, 1)
        self.reduce = nn.Conv2d(features, features, 3, stride=2)
        layers: dict[str, nn.Module] = {}
        for name in _SMALL[convolutions]:
            if layers:
                layers[f"before_{name}"] = nn.ReLU()
            layers[name] = nn.Conv2d(features, features, 3, padding=1)
        self.small = nn.Sequential(OrderedDict(layers))
        self.expand = nn.Conv2d(features, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``, H and W at least 15."""
        return x * self.weights(x)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mask, ``(B, C, H, W)``."""
        squeezed = self.squeeze(x)
        small = self.small(F.max_pool2d(self.reduce(squeezed), _POOL_SIZE, _POOL_STRIDE))
        large = F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False)
        mask: torch.Tensor = self.expand(large + self.point(squeezed)).sigmoid()
        return mask


def rfdn_sizes(channels: int) -> tuple[int, int]:
    """Return features and number of convolutions of RFDN's form."""
    return channels // _RFDN_REDUCTION, 3


def mask_params(channels: int, features: int, convolutions: int) -> int:
    """Return ``2 C f + (10 + 9 n) f^2 + (3 + n) f + C`` for n convolutions on the small map."""
    squares = 10 + 9 * convolutions
    return 2 * channels * features + squares * features**2 + (3 + convolutions) * features + channels


def mask_macs(channels: int, height: int, width: int, features: int, convolutions: int) -> int:
    """Return ``(2 C f + f^2) H W + 9 f^2 n2 + 9 n f^2 n3`` for maps of n2 and n3 pixels."""
    strided, pooled = map_size(height, width)
    whole = (2 * channels * features + features**2) * height * width
    return whole + 9 * features**2 * (strided + convolutions * pooled)


@REGISTRY.register(
    BlockInfo(
        name="esa",
        role="attention",
        paper=PAPER,
        constraint=Constraint(min_size=MIN_SIZE),
        tile_invariant=False,
        official_names={official: f"mask.{ours}" for official, ours in OFFICIAL_NAMES.items()},
    )
)
class ESA(Block):
    """``x * mask(x)``, shape kept; H and W at least 15, in the form ``rfdn`` C at least 4.

    The grid of the small map begins at the top left corner with a stride of 6, so tiling moves it.
    """

    class Config(BlockConfig):
        """``form``: ``rlfn``, or ``rfdn`` with three convolutions on the small map; ``features`` of RLFN's form.

        RFDN's form has C / 4 features.
        """

        form: Literal["rlfn", "rfdn"] = "rlfn"
        features: int = Field(default=FEATURES, ge=1)

        @model_validator(mode="after")
        def _drop_dead_options(self) -> Self:
            """Give the option that RFDN's form does not use its default."""
            if self.form == "rfdn":
                object.__setattr__(self, "features", FEATURES)
            return self

    def __init__(self, channels: int, config: Config = Config()) -> None:
        super().__init__(channels, config)
        self.mask = Mask(channels, *self._sizes(channels, config))

    @staticmethod
    def _sizes(channels: int, config: Config) -> tuple[int, int]:
        return rfdn_sizes(channels) if config.form == "rfdn" else (config.features, 1)

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """RFDN's form must have a feature."""
        assert isinstance(config, ESA.Config)
        return Constraint(min_channels=_RFDN_REDUCTION if config.form == "rfdn" else 1, min_size=MIN_SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh ``x``, ``(B, C, H, W)``."""
        self.check_size(x)
        weighed: torch.Tensor = self.mask(x)
        return weighed

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return the ``mask`` of every element."""
        return {"mask": self.mask.weights(x)}

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``2 C f + 19 f^2 + 4 f + C``, in RFDN's form ``2 C f + 37 f^2 + 6 f + C`` with f = C / 4."""
        return mask_params(channels, *cls._sizes(channels, config))

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``(2 C f + f^2) H W + 9 f^2 n2 + 9 f^2 n3``, in RFDN's form ``27 f^2 n3``, on maps of n2 and n3 pixels."""
        return mask_macs(channels, height, width, *cls._sizes(channels, config))
