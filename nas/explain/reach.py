"""How far a network sees: local attribution maps, and the effective receptive field.

Reference: Gu and Dong, "Interpreting Super-Resolution Networks with Local Attribution Maps", CVPR 2021
(https://arxiv.org/abs/2011.11036): integrated gradients of a gradient detector along a path of decreasing blur, and the
diffusion index. Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", NIPS
2016 (https://arxiv.org/abs/1701.04128).

``captum`` is not used: its ``IntegratedGradients`` goes in a straight line from a baseline to the input (it makes the
points ``baseline + alpha * (input - baseline)`` itself and multiplies by ``input - baseline`` at the end), so that a
path of images that are blurred less and less cannot be given to it.

Deviations: the steps between two images of the path are summed with the gradient in their middle, and their number is
doubled until the attributions sum to the detector's difference within 1 %; the area of contribution, which the paper
shows as a picture, is the number of pixels that hold 95 % of the attribution.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from srnas.nas.images.metrics import Image, luma
from srnas.nas.images.pairs import to_tensor
from srnas.search_space import InputError

# The path of blurs. source: the authors' code, 50 images, sigma 1.2, a kernel of 9 pixels.
_STEPS, SIGMA, _KERNEL = 50, 1.2, 9
# Attributions miss the detector's difference by no more than this share of it.
COMPLETE = 0.01
_MOST_STEPS = 800
# What misses more is the rounding of a flat region.
_LOST = 0.5
# Share of the attribution that the area of contribution holds.
AREA_SHARE = 0.95
# The root of a sum of squares has no gradient at 0.
_SMALLEST = 1e-12

Map = NDArray[np.float64]


class Region(NamedTuple):
    """A square of the LR image, whose enlargement is attributed: its top left corner and its side, in LR pixels."""

    left: int
    top: int
    side: int


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the output in a region is made of.

    Attributes:
        region: The region.
        map: Attribution of each LR pixel: the absolute sum over its colours, ``(H, W)``.
        diffusion_index: ``100 (1 - Gini)`` of the map: 100 where all pixels contribute equally.
        area: Number of pixels that hold 95 % of the attribution.
        incompleteness: By which share of the detector's difference the attributions miss it.
        steps: Number of steps of the path.
        field_radius: Radius in LR pixels that holds 95 % of the gradient of the region's central output pixel: the
            effective receptive field.
    """

    region: Region
    map: Map
    diffusion_index: float
    area: int
    incompleteness: float
    steps: int
    field_radius: float


def attribute(
    network: nn.Module,
    lr: Image,
    region: Region,
    scale: int,
    device: torch.device,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Attribution:
    """Return the local attribution map of a region.

    Args:
        network: A network in eval mode on ``device``; it is left as it was.
        lr: The whole LR image, ``(H, W, 3)``, 8-bit RGB.
        region: What is attributed.
        scale: Upscaling factor.
        device: The device that holds the network.
        on_step: Told of the number of steps that are done, and of how many there are.

    Raises:
        InputError: If the region does not lie in the image, or is flat in the output of image and baseline alike.
    """
    height, width = lr.shape[:2]
    left, top, side = region
    if side < 2 or min(left, top) < 0 or left + side > width or top + side > height:
        raise InputError(
            f"a region must lie in the image of {width}x{height} with a side of at least 2, but got "
            f"{left},{top},{side}."
        )
    x = to_tensor(lr).to(device)
    steps = _STEPS
    while True:
        found, missing = _integrate(network, x, region, scale, steps, on_step)
        if missing <= COMPLETE or steps >= _MOST_STEPS:
            break
        steps *= 2
    if missing > _LOST:
        raise InputError(
            "a region must show something that its blurred form does not, but the attributions miss "
            f"{missing:.0%} of the difference between both; give another."
        )
    map_ = found.sum(1).abs()[0].cpu().double().numpy()
    centre = (top + side // 2, left + side // 2)
    radius = holding_radius(gradient_field(network, x, centre, scale), centre)
    return Attribution(region, map_, diffusion_index(map_), area_of(map_), missing, steps, radius)


def detect(sr: torch.Tensor, region: Region, scale: int) -> torch.Tensor:
    """Return the gradient detector of a region: the sum over its pixels and colours of the gradient's norm."""
    left, top, side = (value * scale for value in region)
    patch = sr[..., top : top + side, left : left + side]
    down, across = patch[..., 1:, :-1] - patch[..., :-1, :-1], patch[..., :-1, 1:] - patch[..., :-1, :-1]
    return (down.square() + across.square()).clamp(min=_SMALLEST).sqrt().sum()


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return ``x``, ``(1, C, H, W)``, blurred by a Gaussian of ``sigma`` pixels, edges repeated."""
    if sigma <= 0:
        return x
    offsets = torch.arange(_KERNEL, dtype=x.dtype, device=x.device) - _KERNEL // 2
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    pad = _KERNEL // 2
    rows = F.conv2d(F.pad(x, (pad, pad, 0, 0), mode="replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(rows, (0, 0, pad, pad), mode="replicate"), kernel.mT, groups=x.shape[1])


def _integrate(
    network: nn.Module, x: torch.Tensor, region: Region, scale: int, steps: int, on_step: Callable[[int, int], None]
) -> tuple[torch.Tensor, float]:
    """Return the attributions, and by which share of the detector's difference they miss it."""

    def at(step: int) -> torch.Tensor:
        return blurred(x, SIGMA * (steps - step) / steps)

    total, before = torch.zeros_like(x), at(0)
    with torch.no_grad():
        difference = float(detect(network(x), region, scale) - detect(network(before), region, scale))
    for step in range(steps):
        after = at(step + 1)
        middle = ((before + after) / 2).requires_grad_()
        # Only the image's gradient: that of the parameters is not asked for, so that nothing is left in them.
        (gradient,) = torch.autograd.grad(detect(network(middle), region, scale), middle)
        total += gradient * (after - before)
        before = after
        on_step(step + 1, steps)
    if difference == 0:
        raise InputError("a region must show something that its blurred form does not, but it is flat; give another.")
    return total, abs(float(total.sum()) - difference) / abs(difference)


def diffusion_index(map_: Map) -> float:
    """Return ``100 (1 - G)`` with the Gini coefficient G of the values; 0 where there are none."""
    values = np.sort(np.abs(map_).ravel())
    total, n = float(values.sum()), len(values)
    if total == 0:
        return 0.0
    ranks = np.arange(1, n + 1)
    gini = float(((2 * ranks - n - 1) * values).sum()) / (n * total)
    return 100 * (1 - gini)


def area_of(map_: Map, share: float = AREA_SHARE) -> int:
    """Return the least number of pixels that hold a share of the map's sum."""
    values = np.sort(np.abs(map_).ravel())[::-1].cumsum()
    return 0 if values[-1] == 0 else int(np.searchsorted(values, share * values[-1] * (1 - 1e-12))) + 1


def gradient_field(network: nn.Module, x: torch.Tensor, centre: tuple[int, int], scale: int) -> Map:
    """Return the absolute gradient, summed over colours, of the output pixel at the middle of an LR pixel, ``(H, W)``.

    Args:
        network: A network in eval mode.
        x: The LR image, ``(1, 3, H, W)`` in 0 to 1.
        centre: Row and column of the LR pixel.
        scale: Upscaling factor.
    """
    x = x.detach().clone().requires_grad_()
    row, column = (value * scale + scale // 2 for value in centre)
    (gradient,) = torch.autograd.grad(network(x)[..., row, column].sum(), x)
    field: Map = gradient.abs().sum(1)[0].cpu().double().numpy()
    return field


def holding_radius(field: Map, centre: tuple[int, int], share: float = AREA_SHARE) -> float:
    """Return the radius about ``centre`` that holds a share of the field's sum, in pixels."""
    rows, columns = np.indices(field.shape)
    distances = np.hypot(rows - centre[0], columns - centre[1]).ravel()
    order = np.argsort(distances, kind="stable")
    held = field.ravel()[order].cumsum()
    if held[-1] == 0:
        return math.nan
    return float(distances[order][int(np.searchsorted(held, share * held[-1] * (1 - 1e-12)))])


def most_detailed(lr: Image, side: int) -> Region:
    """Return the square of an image whose luma varies most, away from the edges where the image is large enough."""
    y = luma(lr)
    edge = side if min(y.shape) >= 4 * side else 0
    rows, columns = (range(edge, length - side - edge + 1, max(1, side // 2)) for length in y.shape)
    corners = [(top, left) for top in rows for left in columns]
    top, left = max(corners, key=lambda corner: float(y[corner[0] :, corner[1] :][:side, :side].std()))
    return Region(left, top, side)
