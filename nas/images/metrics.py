"""PSNR and SSIM on the luma channel, as super-resolution papers report them.

Y of ITU-R BT.601 (MATLAB ``rgb2ycbcr``, 16 to 235), kept in float, from 8-bit RGB; ``scale`` pixels are shaved from
each border. Gray photographs are compared in their gray values. SSIM: Wang et al., "Image quality assessment: from
error visibility to structural similarity", IEEE TIP 2004, 11x11 Gaussian window, sigma 1.5, valid area.
"""

import math

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Image = NDArray[np.uint8]
Luma = NDArray[np.float64]

LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255.0
PEAK = 255.0
# Equal pixels in another order in memory give sums that differ in the last bits, 1e-13, and so 335 dB. The least true
# difference of Y is 1/255000, in one pixel of 89 million: 2e-19 in the mean of squares.
ROUNDING = 1e-22


def luma(image: Image | Luma, gray: bool = False) -> NDArray[np.float64]:
    """Return Y of an ``(H, W, 3)`` image in 16 to 235, or its gray values in 0 to 255 with ``gray``.

    An ``(H, W)`` image is Y itself.
    """
    # The weights of equal channels add up to 219 / 255.
    given = image.astype(np.float64)
    weighted: Luma = given - 16.0 if image.ndim == 2 else given @ LUMA_WEIGHTS
    return weighted * (PEAK / 219.0) if gray else weighted + 16.0


def psnr_y_db(sr: Image | Luma, hr: Image, scale: int, gray: bool = False) -> float:
    """Return the peak signal-to-noise ratio of Y in dB; equal images give infinity.

    Args:
        sr: Output, ``(H, W, 3)``, or its Y, ``(H, W)`` in 16 to 235.
        hr: Ground truth, ``(H, W, 3)``.
        scale: Upscaling factor, and the width of the border that is shaved.
        gray: Whether ``hr`` is a gray photograph.
    """
    error = _shaved(sr, scale, gray) - _shaved(hr, scale, gray)
    mse = float(np.mean(error**2))
    return math.inf if mse < ROUNDING else 10 * math.log10(PEAK**2 / mse)


def ssim_y(sr: Image | Luma, hr: Image, scale: int, gray: bool = False) -> float:
    """Return the structural similarity of Y, at most 1; arguments as for :func:`psnr_y_db`."""
    return float(
        structural_similarity(
            _shaved(sr, scale, gray),
            _shaved(hr, scale, gray),
            data_range=PEAK,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _shaved(image: Image | Luma, border: int, gray: bool) -> NDArray[np.float64]:
    return luma(image, gray)[border:-border, border:-border]
