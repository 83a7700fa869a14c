"""A convolution with or without batch norm, which folds into it.

Reference: Ioffe and Szegedy, "Batch Normalization", ICML 2015 (https://arxiv.org/abs/1502.03167).
"""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """``norm(conv(x))``; without ``batch_norm`` just ``conv(x)``."""

    def __init__(self, conv: nn.Conv2d, batch_norm: bool, momentum: float = 0.1) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.Module = nn.BatchNorm2d(conv.out_channels, momentum=momentum) if batch_norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve and normalise ``x``, ``(B, C, H, W)``."""
        normed: torch.Tensor = self.norm(self.conv(x))
        return normed

    def fold(self) -> None:
        """Replace convolution and batch norm by one convolution; a second call changes nothing."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()
