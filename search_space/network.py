"""The phenotype: builds the module that an architecture describes, and folds it for inference."""

import copy
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.architecture import IMAGE_CHANNELS, Architecture
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.errors import InputError
from srnas.search_space.position import Position
from srnas.search_space.registry import REGISTRY, Block, fold_all

# With a global skip the convolutions beside it start this much smaller, so that the network starts as the skip.
_BESIDE_SKIP_START = 0.01
# RGB means in 0 to 1. source: MAN's and EDSR's published networks.
_MEANS = {"div2k": (0.4488, 0.4371, 0.4040)}


class PositionModule(nn.Module):
    """A position as a module ``(B, C, H, W) -> (B, C, H, W)``; what it computes stands in :class:`Position`."""

    def __init__(self, position: Position, channels: int) -> None:
        super().__init__()
        width = position.active or channels
        self.passive = channels - width
        self.blocks = nn.Sequential(*(_build(choice, width) for choice in position.choices))
        self.residual = position.residual and not position.passes_input
        start = position.scale_start
        self.scale = None if start is None else nn.Parameter(torch.full((width, 1, 1), start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the active channels of ``x``."""
        if not self.passive:
            return self._transform(x)
        active, passive = x.split([x.shape[1] - self.passive, self.passive], dim=1)
        return torch.cat([self._transform(active), passive], dim=1)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.blocks(x)
        if self.scale is not None:
            y = y * self.scale
        return x + y if self.residual else y


def _build(choice: Choice, channels: int) -> Block:
    return choice.block(channels, choice.config)


class MeanShift(nn.Conv2d):
    """Adds a constant colour; a frozen 1x1 convolution, as the published networks count it."""

    def __init__(self, colour: torch.Tensor) -> None:
        super().__init__(IMAGE_CHANNELS, IMAGE_CHANNELS, 1)
        self.requires_grad_(False)
        assert self.bias is not None
        self.bias.copy_(colour)
        self.weight.copy_(torch.eye(IMAGE_CHANNELS)[:, :, None, None])


class Network(nn.Module):
    """A network ``(B, 3, H, W) -> (B, 3, scale*H, scale*W)``, RGB in 0 to 1 on both sides."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.deployed = False
        channels = architecture.channels
        carriers = self.carriers = IMAGE_CHANNELS if architecture.global_skip == "carriers" else 0
        mean = torch.tensor(_MEANS.get(architecture.mean_shift, (0.0,) * IMAGE_CHANNELS)) * architecture.input_range
        shifts = architecture.mean_shift != NONE
        self.sub_mean = MeanShift(-mean) if shifts else nn.Identity()
        self.stem = nn.Conv2d(IMAGE_CHANNELS, channels + carriers, 3, padding=1)
        self.body = nn.Sequential(*(PositionModule(position, channels) for position in architecture.positions))
        self.end = _build_end(architecture)
        tail = REGISTRY.tail(architecture.tail.name)
        config = tail.Config(**dict(architecture.tail.options))
        self.tail = tail(channels + carriers, architecture.scale, config)
        self.add_mean = MeanShift(mean) if shifts else nn.Identity()
        if architecture.global_skip != NONE:
            self.tail.shrink(_BESIDE_SKIP_START)
        if carriers:
            self._carry()

    @torch.no_grad()
    def _carry(self) -> None:
        """Let the last three channels of the stem start as the picture, and the tail enlarge them."""
        colours = torch.arange(IMAGE_CHANNELS)
        for parameter in self.stem.parameters():
            parameter[-IMAGE_CHANNELS:] *= _BESIDE_SKIP_START
        self.stem.weight[colours - IMAGE_CHANNELS, colours, 1, 1] += 1
        self.tail.carry()

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Upscale ``lr``; the result is not clamped."""
        architecture = self.architecture
        whole = float(architecture.input_range)
        x = self.sub_mean(lr * whole if whole != 1 else lr)
        stem = self.stem(x)
        features = stem[:, : architecture.channels] if self.carriers else stem
        body = self.end(self.body(features))
        body = body + features if architecture.long_skip else body
        body = torch.cat([body, stem[:, architecture.channels :]], dim=1) if self.carriers else body
        sr: torch.Tensor = self.tail(body)
        mode = architecture.global_skip
        if mode in ("bilinear", "nearest"):
            corners = False if mode == "bilinear" else None
            sr = sr + F.interpolate(x, scale_factor=float(architecture.scale), mode=mode, align_corners=corners)
        sr = self.add_mean(sr)
        return sr / whole if whole != 1 else sr

    def deploy(self) -> "Network":
        """Return the inference form as a new network: eval mode, frozen, with what can be folded folded.

        It cannot be trained. Deploying it again gives a copy.
        """
        network = fold_all(copy.deepcopy(self).eval())
        network.requires_grad_(False)
        network.deployed = True
        return network

    def train(self, mode: bool = True) -> Self:
        """Set train or eval mode.

        Raises:
            InputError: If a deployed network is to be trained.
        """
        if mode:
            self._check_trainable()
        return super().train(mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the parameters collect gradients, or freeze them; a mean shift stays frozen.

        Raises:
            InputError: If a deployed network is to be trained.
        """
        if requires_grad:
            self._check_trainable()
        super().requires_grad_(requires_grad)
        for module in (self.sub_mean, self.add_mean):
            module.requires_grad_(False)
        return self

    def _check_trainable(self) -> None:
        if self.deployed:
            raise InputError(
                "a network must not be deployed when it is trained, but this one is: its branches are folded and its "
                "weights frozen; train the network that deploy() was called on, and deploy it again."
            )


def _build_end(architecture: Architecture) -> nn.Module:
    channels = architecture.channels
    if architecture.end == "conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    return _build(Choice(name=architecture.end), channels) if architecture.end != NONE else nn.Identity()
