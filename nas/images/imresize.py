"""MATLAB's ``imresize`` with the bicubic kernel, bit for bit: the degradation of super-resolution benchmarks.

Antialiased by widening the kernel when shrinking, vertical pass first, borders clamped, as in the releases that made
the LR images of Set5 and Set14 (later ones mirror at borders). With ``uint8`` input each of the two passes is rounded
and clipped, as MATLAB does.

Reference: Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981, Eq. 15 (a = -1/2).
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_KERNEL_WIDTH = 4.0


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=256)
def _taps(size: int, out_size: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return weights and source indices, both ``(out_size, taps)``."""
    stretch = min(scale, 1.0)
    width = _KERNEL_WIDTH / stretch
    centres = np.arange(1, out_size + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centres - width / 2)
    indices = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * _cubic(stretch * (centres[:, None] - indices))
    weights /= weights.sum(1, keepdims=True)
    # MATLAB leaves out taps that weigh nothing for every pixel, too.
    used = weights.any(0)
    clamped = np.clip(indices[:, used].astype(np.intp) - 1, 0, size - 1)
    return weights[:, used], clamped


def _resize_rows(image: NDArray[np.float64], out_size: int, scale: float) -> NDArray[np.float64]:
    weights, indices = _taps(image.shape[0], out_size, scale)
    resized = np.zeros((out_size, *image.shape[1:]))
    for weight, index in zip(weights.T, indices.T, strict=True):
        resized += weight[:, None, None] * image[index]
    return resized


def imresize(image: NDArray[np.generic], scale: float) -> NDArray[np.generic]:
    """Resize an image of shape ``(H, W, C)`` to ``(ceil(scale H), ceil(scale W), C)``.

    Args:
        image: ``uint8`` (both passes rounded) or floating point (nothing rounded or clipped).
        scale: Factor for both sides; below 1 shrinks.

    Returns:
        The resized image: ``uint8`` for ``uint8``, else ``float64``.
    """
    rounded = image.dtype == np.uint8
    # Rounded first: a third of a multiple of 3 must not become one more by the error of a float.
    height, width = (math.ceil(round(side * scale, 9)) for side in image.shape[:2])
    current = _resize_rows(image.astype(np.float64), height, scale)
    if rounded:
        current = _round(current)
    current = _resize_rows(current.swapaxes(0, 1), width, scale).swapaxes(0, 1)
    return np.ascontiguousarray(_round(current).astype(np.uint8) if rounded else current)


def _round(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round half up, as MATLAB does for the values that survive the clip."""
    return np.clip(np.floor(image + 0.5), 0, 255)
