"""How far the attention of each position follows fine detail, or flat parts, of a photograph.

Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021 (https://arxiv.org/abs/2104.09497), find
that low layers attend to low frequencies and high layers to high ones. Here that is a number: the correlation over
pixels between a map of attention and the strength of the high-pass filtered luma of the LR image, averaged over images.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, laplace

from srnas.leaderboard.rank.paired import mean_interval
from srnas.nas.explain.maps import attention_maps
from srnas.nas.explain.places import Place
from srnas.nas.images.metrics import Image, luma
from srnas.search_space import Network

Filter = Literal["gaussian", "laplacian"]
"""``gaussian``: ``|Y - G * Y|`` with a Gaussian G of ``SIGMA`` pixels. ``laplacian``: ``|L * Y|`` with L of 3x3."""
FILTERS: tuple[Filter, ...] = ("gaussian", "laplacian")
SIGMA = 1.5
# Pixels at the edge whose filter or padding sees beyond the image count for nothing.
BORDER = 4


def high_pass(lr: Image, kind: Filter) -> NDArray[np.float64]:
    """Return the strength of the high frequencies of an image's luma, ``(H, W)``, edges mirrored.

    Args:
        lr: The image, ``(H, W, 3)``, 8-bit RGB.
        kind: Which filter.
    """
    y = luma(lr)
    passed = y - gaussian_filter(y, SIGMA) if kind == "gaussian" else laplace(y)
    strength: NDArray[np.float64] = np.abs(passed)
    return strength


def correlation(map_: NDArray[np.floating], strength: NDArray[np.float64]) -> float:
    """Return Pearson's correlation over the inner pixels of two ``(H, W)``; not a number where one is constant."""
    inner = (slice(BORDER, -BORDER),) * 2
    a, b = (values[inner].astype(np.float64).ravel() for values in (map_, strength))
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    # What rounding leaves of a constant is no signal.
    is_constant = math.sqrt(float(a @ a)) <= 1e-6 * float(np.linalg.norm(map_))
    return math.nan if norm == 0 or is_constant else float(a @ b) / norm


@dataclass(frozen=True)
class Response:
    """How a map of attention follows high frequencies, over images.

    Attributes:
        place: Where the attention stands.
        name: Name of the weights, of which the map is the mean over channels.
        filter: The filter.
        correlation: Mean over images of the correlation over pixels, in the order ``around`` that of both blocks.
        low: Lower end of the mean's 95 % interval over images by Student's t.
        high: Upper end of it.
        images: Number of images with a correlation: not those where the map is constant.
    """

    place: Place
    name: str
    filter: Filter
    correlation: float
    low: float
    high: float
    images: int


def frequency_response(
    network: Network, images: Sequence[Image], device: torch.device, on_image: Callable[[], None] = lambda: None
) -> list[Response]:
    """Return the response of every map of attention that has as many pixels as its image, by place, name and filter.

    Args:
        network: A network in eval mode on ``device``.
        images: LR images, ``(H, W, 3)``, larger than twice ``BORDER``.
        device: The device that holds the network.
        on_image: Called after each image.

    Raises:
        InputError: If no position has attention.
    """
    seen: dict[tuple[Place, str, Filter], list[float]] = {}
    for image in images:
        for key, value in _correlations(network, image, device).items():
            seen.setdefault(key, []).append(value)
        on_image()
    found = []
    for (place, name, kind), values in seen.items():
        mean, _, low, high = mean_interval(values)
        found.append(Response(place, name, kind, mean, low, high, len(values)))
    # A map may vary in later images only.
    return sorted(found, key=lambda one: one.place.position)


def _correlations(network: Network, image: Image, device: torch.device) -> dict[tuple[Place, str, Filter], float]:
    """Return the correlations of one image: of each place the mean over those of its blocks whose map varies."""
    strengths = {kind: high_pass(image, kind) for kind in FILTERS}
    found: dict[tuple[Place, str, Filter], list[float]] = {}
    for maps in attention_maps(network, image, device):
        for name, weights in maps.weights.items():
            if weights.picture is None or weights.picture.shape != image.shape[:2]:
                continue
            for kind, strength in strengths.items():
                value = correlation(weights.picture, strength)
                if math.isfinite(value):
                    found.setdefault((maps.place, name, kind), []).append(value)
    return {key: statistics.fmean(values) for key, values in found.items()}
