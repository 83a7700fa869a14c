"""The phenotype: builds the module that an architecture describes, and folds it for inference."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.architecture import IMAGE_CHANNELS, NONE, Architecture, Choice, Position
from srnas.search_space.registry import REGISTRY, Block

# Start of the learned scale of a bare gate. source: Touvron et al., ICCV 2021 (https://arxiv.org/abs/2103.17239).
_SCALE_START = 0.1
# With a global skip the tail's last convolution starts this much smaller, so that the network starts as the skip.
_TAIL_START = 0.01


class PositionModule(nn.Module):
    """A position as a module ``(B, C, H, W) -> (B, C, H, W)``; what it computes stands in :class:`Position`."""

    def __init__(self, position: Position, channels: int) -> None:
        super().__init__()
        width = position.active or channels
        self.passive = channels - width
        blocks = [_build(choice, width) for choice in (position.trunk, position.attention) if choice.name != NONE]
        self.blocks = nn.Sequential(*(blocks if position.order == "after" else blocks[::-1]))
        self.residual = position.trunk.name != NONE or not blocks[0].info.residual
        bare_gate = self.residual and position.trunk.name == NONE
        self.scale = nn.Parameter(torch.full((width, 1, 1), _SCALE_START)) if bare_gate else None

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
    cls = REGISTRY.block(choice.name)
    return cls(channels, cls.Config(**dict(choice.options)))


class Network(nn.Module):
    """A network ``(B, 3, H, W) -> (B, 3, scale*H, scale*W)``, RGB in 0 to 1 on both sides."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        channels = architecture.channels
        self.stem = nn.Conv2d(IMAGE_CHANNELS, channels, 3, padding=1)
        self.body = nn.Sequential(*(PositionModule(position, channels) for position in architecture.positions))
        self.end = nn.Conv2d(channels, channels, 3, padding=1) if architecture.end == "conv" else nn.Identity()
        tail = REGISTRY.tail(architecture.tail.name)
        self.tail = tail(channels, architecture.scale, tail.Config(**dict(architecture.tail.options)))
        if architecture.global_skip != NONE:
            self.tail.shrink(_TAIL_START)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Upscale ``lr``; the result is not clamped."""
        features = self.stem(lr)
        body = self.end(self.body(features))
        sr: torch.Tensor = self.tail(body + features if self.architecture.long_skip else body)
        mode = self.architecture.global_skip
        if mode == NONE:
            return sr
        corners = False if mode == "bilinear" else None
        return sr + F.interpolate(lr, scale_factor=float(self.architecture.scale), mode=mode, align_corners=corners)

    def deploy(self) -> "Network":
        """Return the inference form as a new network: eval mode, frozen, with what can be folded folded."""
        network = copy.deepcopy(self).eval()
        for module in network.modules():
            fold = getattr(module, "fold", None)
            if callable(fold):
                fold()
        return network.requires_grad_(False)
