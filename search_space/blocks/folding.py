"""Branches that merge into one convolution, and the arithmetic of merging, which runs in float64.

Reference: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021 (https://arxiv.org/abs/2101.03697).
"""

import torch
from torch import nn


class Branches(nn.Module):
    """What is linear in its input, hence equals one convolution."""

    def merge(self) -> nn.Conv2d:
        """Return the equal 3x3 convolution with zero padding."""
        raise NotImplementedError


class Foldable(nn.Module):
    """``body(x)``: branches while training, one convolution after :meth:`fold`."""

    def __init__(self, body: Branches | nn.Conv2d) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``x``, ``(B, C, H, W)``."""
        convolved: torch.Tensor = self.body(x)
        return convolved

    def fold(self) -> None:
        """Merge the branches; a second call changes nothing."""
        if isinstance(self.body, Branches):
            self.body = self.body.merge()


def weight_and_bias(conv: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return copies of weight and bias in float64."""
    assert conv.bias is not None
    return conv.weight.detach().double().clone(), conv.bias.detach().double().clone()


def add_identity(weight: torch.Tensor) -> None:
    """Add 1 to the centre tap from each channel to itself."""
    channels = torch.arange(weight.shape[0], device=weight.device)
    weight[channels, channels, 1, 1] += 1


@torch.no_grad()
def make_convolution(weight: torch.Tensor, bias: torch.Tensor, like: nn.Conv2d) -> nn.Conv2d:
    """Return a 3x3 convolution with the stride, device, type and memory format of ``like``, and zero padding."""
    outputs, inputs = weight.shape[:2]
    placed = {"device": like.weight.device, "dtype": like.weight.dtype}
    conv = nn.Conv2d(inputs, outputs, 3, like.stride, padding=1, **placed)  # type: ignore[arg-type]
    if not like.weight.is_contiguous():
        conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    conv.weight.copy_(weight)
    assert conv.bias is not None
    conv.bias.copy_(bias)
    return conv.train(like.training)
