"""SoftPool: the exponentially weighted mean of each window, safe in every float type.

Reference: Stergiou et al., "Refining activation downsampling with SoftPool", ICCV 2021, Eq. 2
(https://arxiv.org/abs/2101.00440), per channel and unclamped, as LIA uses it.

Deviation: the maximum of each plane is subtracted before ``exp`` (the same value mathematically) and the exponent is
kept above -80, in float32 under any autocast. Values more than 80 below their plane's maximum therefore share the
weight exp(-80): the result stays finite and inside the window's range, where the plain form gives NaN.
"""

import torch
from torch import nn
from torch.nn import functional as F

# exp(-80) / 49 is still a normal float32.
_LOWEST_EXPONENT = -80.0


class SoftPool2d(nn.Module):
    """Soft pooling ``(B, C, H, W) -> (B, C, H', W')`` in floor mode, without parameters.

    Args:
        kernel_size: Window in pixels.
        stride: Step in pixels; the kernel size by default.
        padding: Border in pixels, which takes no part in the mean.
    """

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride or kernel_size
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool ``x``; the result has its dtype."""
        values = x.float()
        weights = (values - values.amax((-2, -1), keepdim=True)).clamp(min=_LOWEST_EXPONENT).exp()
        return (self._mean(values * weights) / self._mean(weights)).to(x.dtype)

    def _mean(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, count_include_pad=False)
