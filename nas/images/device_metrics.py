"""PSNR and SSIM as :mod:`~srnas.nas.images.metrics` defines them, on the device that holds the images, in float64.

Nothing waits for the device here: the results are tensors that are still to be computed. They differ from those of the
CPU by the order of sums.
"""

import math

import torch
from torch.nn import functional as F

from srnas.nas.images.metrics import LUMA_WEIGHTS, PEAK, ROUNDING

# SSIM's window, in pixels. source: Wang et al., IEEE TIP 2004, section III-C, as scikit-image has it.
_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def quantised(sr: torch.Tensor) -> torch.Tensor:
    """Return ``(3, H, W)``, whole numbers from 0 to 255, of an output ``(1, 3, H, W)`` in 0 to 1."""
    return sr[0].float().clamp(0, 1).mul(255).add(0.5).floor()


def luma(image: torch.Tensor, gray: bool, border: int) -> torch.Tensor:
    """Return Y or gray values, ``(H, W)`` without the border, of ``(3, H, W)`` in 0 to 255, or of Y itself."""
    given = image.double()[..., border:-border, border:-border]
    weighted = given - 16.0
    if image.ndim == 3:
        # Factors, as a vector of weights would have to be copied to the device.
        red, green, blue = LUMA_WEIGHTS.tolist()
        weighted = red * given[0] + green * given[1] + blue * given[2]
    return weighted * (PEAK / 219.0) if gray else weighted + 16.0


def psnr_db(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
    """Return the PSNR in dB of one channel ``(H, W)``; equal images give infinity."""
    mse = (sr - hr).square().mean()
    return torch.where(mse < ROUNDING, math.inf, 10 * torch.log10(PEAK**2 / mse))


def ssim(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
    """Return the mean structural similarity of one channel ``(H, W)`` where the window fits."""
    means = _blurred(torch.stack((sr, hr, sr * sr, hr * hr, sr * hr)))
    mean_sr, mean_hr = means[0], means[1]
    var_sr, var_hr, covariance = means[2] - mean_sr**2, means[3] - mean_hr**2, means[4] - mean_sr * mean_hr
    above = (2 * mean_sr * mean_hr + _C1) * (2 * covariance + _C2)
    return (above / ((mean_sr**2 + mean_hr**2 + _C1) * (var_sr + var_hr + _C2))).mean()


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Return ``(N, H - 10, W - 10)``, Gaussian means."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64, device=images.device)
    window = torch.exp(-0.5 * (offsets / _SIGMA) ** 2)
    window = (window / window.sum()).view(1, 1, 1, -1)
    return F.conv2d(F.conv2d(images[:, None], window), window.mT)[:, 0]
