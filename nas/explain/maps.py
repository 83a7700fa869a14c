"""What the attention of a network weighs a photograph by, position by position.

Blocks tell their weights themselves (:meth:`~srnas.search_space.registry.Block.attention_weights`); of one that tells
none, the gain of every pixel stands for them: the norm of its output over that of its input. Maps are reduced as they
come, over channels or over pixels, so that a photograph needs little more memory than inference does.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from srnas.leaderboard.rank.paired import mean_interval
from srnas.nas.explain.places import Place, watched
from srnas.nas.images.metrics import Image
from srnas.nas.images.pairs import to_tensor
from srnas.search_space import InputError, Network
from srnas.search_space.registry import Block

GAIN = "gain"


class Weights(NamedTuple):
    """Weights of one name at one place, for one image.

    Attributes:
        mean: Mean over channels and pixels.
        std: Their standard deviation.
        channels: Mean over pixels by channel, ``(C,)``.
        picture: Mean over channels by pixel, ``(H, W)``; ``None`` of weights without pixels.
    """

    mean: float
    std: float
    channels: NDArray[np.float32]
    picture: NDArray[np.float32] | None

    @classmethod
    def of(cls, weights: torch.Tensor) -> "Weights":
        """Reduce ``(1, C, H, W)``."""
        found = weights[0].float()
        spread = float(found.std(correction=0)) if found.numel() > 1 else 0.0
        picture = found.mean(0).cpu().numpy() if found[0].numel() > 1 else None
        return cls(float(found.mean()), spread, found.mean((1, 2)).cpu().numpy(), picture)


@dataclass(frozen=True, eq=False)
class PlaceMaps:
    """What one attention makes of one image.

    Attributes:
        place: Where it stands.
        weights: Its weights, by name.
        before: Root mean square over the channels of what it is given, ``(H, W)``.
        after: The same of what it gives.
    """

    place: Place
    weights: dict[str, Weights]
    before: NDArray[np.float32]
    after: NDArray[np.float32]


@torch.inference_mode()
def attention_maps(
    network: Network, lr: Image, device: torch.device, pixel: tuple[int, int] | None = None
) -> list[PlaceMaps]:
    """Return what every attention of a network weighs one image by; in the order ``around`` a place comes twice.

    Args:
        network: A network in eval mode on ``device``.
        lr: The image, ``(H, W, 3)``, 8-bit RGB.
        device: The device that holds the network.
        pixel: Row and column whose weights over all others are shown, of blocks with weights for pairs of pixels.

    Raises:
        InputError: If no position has attention, or the pixel lies outside of the image.
    """
    height, width = lr.shape[:2]
    if pixel is not None and not (0 <= pixel[0] < height and 0 <= pixel[1] < width):
        raise InputError(f"a pixel must lie in the image of {width}x{height}, but got {pixel[1]},{pixel[0]}.")
    found = []

    def take(place: Place, block: Block, x: torch.Tensor, y: torch.Tensor) -> None:
        told = {name: Weights.of(weights) for name, weights in block.attention_weights(x, pixel).items()}
        before, after = (features.square().mean(1).sqrt()[0].float() for features in (x, y))
        told = told or {GAIN: Weights.of((after / before.clamp(min=1e-12))[None, None])}
        found.append(PlaceMaps(place, told, before.cpu().numpy(), after.cpu().numpy()))

    with watched(network, take):
        network(to_tensor(lr).to(device))
    return found


def centre_crop(image: Image, side: int) -> Image:
    """Return the middle of an image, at most ``side`` pixels high and wide."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


@dataclass(frozen=True)
class MeanWeight:
    """The mean of a place's weights of one name over images.

    Attributes:
        place: Where the attention stands.
        name: Name of the weights.
        mean: Mean over images of the mean over channels, pixels and, in the order ``around``, both blocks.
        low: Lower end of its 95 % interval over images by Student's t.
        high: Upper end of that.
        least: Least mean of an image.
        greatest: Greatest mean of an image.
        spread: Mean over images of the standard deviation over channels and pixels.
    """

    place: Place
    name: str
    mean: float
    low: float
    high: float
    least: float
    greatest: float
    spread: float


def mean_weights(
    network: Network, images: Sequence[Image], device: torch.device, on_image: Callable[[], None] = lambda: None
) -> list[MeanWeight]:
    """Return the means of the weights of every attention over images, by place and name."""
    seen: dict[tuple[Place, str], list[list[Weights]]] = {}
    for image in images:
        of_image: dict[tuple[Place, str], list[Weights]] = {}
        for maps in attention_maps(network, image, device):
            for name, weights in maps.weights.items():
                of_image.setdefault((maps.place, name), []).append(weights)
        for key, found in of_image.items():
            seen.setdefault(key, []).append(found)
        on_image()
    return [_mean_weight(place, name, found) for (place, name), found in seen.items()]


def _mean_weight(place: Place, name: str, by_image: Sequence[Sequence[Weights]]) -> MeanWeight:
    means = [statistics.fmean(one.mean for one in found) for found in by_image]
    mean, _, low, high = mean_interval(means)
    spread = statistics.fmean(one.std for found in by_image for one in found)
    return MeanWeight(place, name, mean, low, high, min(means), max(means), spread)


def weight_row(one: MeanWeight) -> dict[str, Any]:
    """Return a mean as plain data."""
    row = {"position": one.place.position, "block": one.place.block, "weights": one.name, **vars(one)}
    del row["place"], row["name"]
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
