"""Layer normalisation over channels, as MLKA and GSAU use it.

Reference: Ba et al., "Layer Normalization", 2016 (https://arxiv.org/abs/1607.06450), per pixel.
"""

import torch
from torch import nn


class ChannelLayerNorm(nn.Module):
    """Layer normalisation of each pixel over its channels, with affine parameters of shape ``(C,)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x``, ``(B, C, H, W)``, with the biased variance, in float32 under any autocast."""
        values = x.float()
        centred = values - values.mean(1, keepdim=True)
        normed = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return (normed * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)
