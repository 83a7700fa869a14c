"""ECB, edge-oriented convolution: a 3x3, an expanded 3x3, and Sobel and Laplacian branches; deployed one 3x3.

Reference: Zhang et al., "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", ACM MM 2021
(https://doi.org/10.1145/3474085.3475291).

What a 1x1 convolution gives is padded with its bias, which it makes of zeros: the fold is exact at the border too. The
bias of a derivative branch's 1x1 cannot change the output, since the masks sum to zero.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.folding import add_identity, make_convolution, weight_and_bias
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint

PAPER = "Zhang et al., ECBSR, ACM MM 2021, https://doi.org/10.1145/3474085.3475291"
MULTIPLIER = 2.0
Activation = Literal["prelu", "relu", "rrelu", "softplus", "linear"]

_MASKS = {
    "sobel_x": ((1, 0, -1), (2, 0, -2), (1, 0, -1)),
    "sobel_y": ((1, 2, 1), (0, 0, 0), (-1, -2, -1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
}
_START = 1e-3
_RRELU = (-0.05, 0.05)
_OFFICIAL_DERIVATIVES = {"sbx": "sobel_x", "sby": "sobel_y", "lpl": "laplacian"}
_OFFICIAL_OF_DERIVATIVE = {
    "k0": "point.weight",
    "b0": "point.bias",
    "scale": "scale",
    "bias": "bias",
    "mask": "mask",
}
# The names of the branches beside the 3x3 convolution, and of the activation.
OFFICIAL_NAMES = {
    "conv1x1_3x3.k0": "conv.branches.expanded.first.weight",
    "conv1x1_3x3.b0": "conv.branches.expanded.first.bias",
    "conv1x1_3x3.k1": "conv.branches.expanded.second.weight",
    "conv1x1_3x3.b1": "conv.branches.expanded.second.bias",
    **{
        f"conv1x1_{official}.{a}": f"conv.branches.{ours}.{b}"
        for official, ours in _OFFICIAL_DERIVATIVES.items()
        for a, b in _OFFICIAL_OF_DERIVATIVE.items()
    },
    "act": "activation",
}


def pointwise_then_padded(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Return the 1x1 convolution of ``x`` in a ring, one pixel wide, of its bias."""
    assert conv.bias is not None
    return F.pad(F.conv2d(x, conv.weight), (1, 1, 1, 1)) + conv.bias[:, None, None]


class Branch(nn.Module):
    """What is added to a 3x3 convolution, and merges into it.

    Attributes:
        used: Whether it adds anything; one that does not is built and counted, and frozen.
    """

    used = True

    def shrink(self, factor: float) -> None:
        """Scale what it adds by ``factor``; call it without gradients."""
        raise NotImplementedError

    def merged(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of the equal 3x3 convolution in float64."""
        raise NotImplementedError


class Expanded(Branch):
    """``conv3x3(conv1x1(x))`` with more channels between them."""

    def __init__(self, in_channels: int, inner: int, channels: int, used: bool = True) -> None:
        super().__init__()
        self.used = used
        self.first = nn.Conv2d(in_channels, inner, 1)
        self.second = nn.Conv2d(inner, channels, 3)
        self.freeze()

    def freeze(self) -> None:
        """Keep what is not used from being trained."""
        if not self.used:
            for parameter in self.parameters():
                parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x``."""
        convolved: torch.Tensor = self.second(pointwise_then_padded(self.first, x))
        return convolved

    def shrink(self, factor: float) -> None:
        """Scale what it adds by ``factor``."""
        for parameter in self.second.parameters():
            parameter.mul_(factor)

    def merged(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of the equal 3x3 convolution in float64."""
        (first, first_bias), (second, bias) = weight_and_bias(self.first), weight_and_bias(self.second)
        weight = torch.einsum("omhw,mc->ochw", second, first[..., 0, 0])
        return weight, bias + torch.einsum("omhw,m->o", second, first_bias)


class Derivative(Branch):
    """``scale * derivative(conv1x1(x)) + bias`` per channel; the mask is a constant."""

    mask: nn.Parameter

    def __init__(self, in_channels: int, channels: int, mask: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.point = nn.Conv2d(in_channels, channels, 1)
        self.scale = nn.Parameter(_START * torch.randn(channels, 1, 1, 1))
        self.bias = nn.Parameter(_START * torch.randn(channels))
        self.mask = nn.Parameter(torch.tensor(mask, dtype=torch.float32).repeat(channels, 1, 1, 1))
        self.freeze()

    def freeze(self) -> None:
        """Keep the mask from being trained."""
        self.mask.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x``."""
        padded = pointwise_then_padded(self.point, x)
        return F.conv2d(padded, self.scale * self.mask, self.bias, groups=len(self.bias))

    def shrink(self, factor: float) -> None:
        """Scale what it adds by ``factor``."""
        self.scale.mul_(factor)
        self.bias.mul_(factor)

    def merged(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of the equal 3x3 convolution in float64."""
        point, point_bias = weight_and_bias(self.point)
        kernel = self.scale.detach().double() * self.mask.detach().double()
        return kernel * point, self.bias.detach().double() + kernel.sum((1, 2, 3)) * point_bias


class EdgeConv(nn.Module):
    """``conv3x3(x)`` and the sum of what the branches make of x, and x itself where asked; one 3x3 after a fold."""

    def __init__(self, in_channels: int, channels: int, branches: Mapping[str, Branch], identity: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.branches = nn.ModuleDict(dict(branches))
        self.identity = identity and in_channels == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x``."""
        convolved: torch.Tensor = self.conv(x)
        for branch in self._used():
            convolved = convolved + branch(x)
        return convolved + x if self.identity else convolved

    @torch.no_grad()
    def shrink(self, factor: float) -> None:
        """Scale what it makes of x, but not x itself, by ``factor``."""
        for parameter in self.conv.parameters():
            parameter.mul_(factor)
        for branch in self._used():
            branch.shrink(factor)

    @torch.no_grad()
    def fold(self) -> None:
        """Merge the branches into the convolution; a second call changes nothing."""
        if not self.branches:
            return
        weight, bias = weight_and_bias(self.conv)
        for branch in self._used():
            more, offset = branch.merged()
            weight, bias = weight + more, bias + offset
        if self.identity:
            add_identity(weight)
        self.conv = make_convolution(weight, bias, like=self.conv)
        self.branches, self.identity = nn.ModuleDict(), False

    def _used(self) -> Iterator[Branch]:
        for branch in self.branches.values():
            assert isinstance(branch, Branch)
            if branch.used:
                yield branch


def derivatives(in_channels: int, channels: int) -> dict[str, Branch]:
    """Return the three derivative branches."""
    return {name: Derivative(in_channels, channels, mask) for name, mask in _MASKS.items()}


def make_activation(name: Activation, channels: int) -> nn.Module:
    """Return the activation; PReLU has a slope per channel."""
    made: dict[Activation, Callable[[], nn.Module]] = {
        "prelu": lambda: nn.PReLU(channels),
        "relu": nn.ReLU,
        "rrelu": lambda: nn.RReLU(*_RRELU),
        "softplus": nn.Softplus,
        "linear": nn.Identity,
    }
    return made[name]()


def canonical_multiplier(channels: int, multiplier: float, default: float) -> float:
    """Return ``default`` if it gives the same inner width as ``multiplier``, else the one that stands for all."""
    inner = int(channels * multiplier)
    exact = inner / channels
    candidates = (default, exact, math.nextafter(exact, math.inf))
    return next(candidate for candidate in candidates if int(channels * candidate) == inner)


@REGISTRY.register(
    BlockInfo(
        name="ecb",
        role="trunk",
        paper=PAPER,
        official_names={"conv3x3": "conv.conv", **OFFICIAL_NAMES},
        without_gradient=tuple(f"conv.branches.{name}.point.bias" for name in _MASKS),
    )
)
class ECB(Block):
    """``activation(conv3x3(x))``, its convolution a sum of five branches until it is folded; shape kept.

    It can be a stem, and the convolution of the tail ``pixelshuffle``.
    """

    widens = True
    default_multiplier: ClassVar[float] = MULTIPLIER

    class Config(BlockConfig):
        """``multiplier`` of the expanded branch's width; ``activation``; ``identity``: whether x is a branch."""

        multiplier: float = Field(default=MULTIPLIER, gt=0)
        activation: Activation = "prelu"
        identity: bool = False

    def __init__(self, channels: int, config: Config | None = None, in_channels: int | None = None) -> None:
        config = config or self.Config()
        super().__init__(channels, config)
        self.conv = self.make_conv(in_channels or channels, channels, config)
        self.activation = make_activation(config.activation, channels)

    @staticmethod
    def make_conv(in_channels: int, channels: int, config: "ECB.Config") -> EdgeConv:
        """Return the convolution."""
        expanded = Expanded(in_channels, int(channels * config.multiplier), channels)
        branches = {"expanded": expanded, **derivatives(in_channels, channels)}
        return EdgeConv(in_channels, channels, branches, config.identity)

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """The expanded branch needs a channel."""
        assert isinstance(config, ECB.Config)
        return Constraint(min_channels=math.ceil(1 / config.multiplier))

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Multipliers to the same width are one."""
        assert isinstance(config, ECB.Config)
        same = canonical_multiplier(channels, config.multiplier, cls.default_multiplier)
        return config.model_copy(update={"multiplier": same})

    @classmethod
    def canonical_stem(cls, config: BlockConfig) -> BlockConfig:
        """A stem has no identity, since it changes the number of channels."""
        return config.model_copy(update={"identity": False})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform ``x``, ``(B, C, H, W)``."""
        transformed: torch.Tensor = self.activation(self.conv(x))
        return transformed

    @classmethod
    def params(cls, channels: int, config: Config = Config()) -> int:
        """``9 C^2 + C``, and ``C`` with PReLU; ``12 C^2 + 10 C D + D + 38 C`` while training, D the inner width."""
        return 9 * channels**2 + channels * (2 if config.activation == "prelu" else 1)

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Config = Config()) -> int:
        """``9 C^2 H W``."""
        return 9 * channels**2 * height * width
