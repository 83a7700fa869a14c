"""What calibrates a trained network in int8: the same where it is evaluated, and in the file that is shipped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from srnas.nas.images.imresize import imresize
from srnas.nas.images.pairs import to_tensor
from srnas.nas.images.photos import embedded_photos, load_set
from srnas.nas.judging.timed_scorer import NUM_PATCHES, calibration_of
from srnas.nas.workspace.sources import Source
from srnas.search_space import InputError

# Side of the patches in low-resolution pixels, where no study says another.
_PATCH = 48


@dataclass(frozen=True, eq=False)
class Calibration:
    """Low-resolution images that a network is calibrated on.

    Attributes:
        inputs: The images, ``(N, 3, H, W)``.
        name: What the photographs are called that they were cut from.
    """

    inputs: torch.Tensor
    name: str

    def __str__(self) -> str:
        number, _, height, width = self.inputs.shape
        return f"calibrated on {number} crops of {width}x{height} pixels of '{self.name}'"


def calibration_side(source: Source) -> int:
    """Return the side of the patches for a network in low-resolution pixels: that of its training, if it is known."""
    made = source.final.record if source.final else source.judged and source.judged.study
    return max(int(made.config["training.patch"]) if made else _PATCH, source.architecture.min_size)


def calibrate(source: Source, folder: Path | None, size: tuple[int, int] | None = None) -> Calibration:
    """Return what calibrates a network.

    Args:
        source: The network.
        folder: Photographs to cut from; by default the embedded ones.
        size: Height and width, where the network takes no other: then the middles of photographs, not random patches.

    Raises:
        InputError: If the folder holds no photographs, or none is large enough.
    """
    scale = source.architecture.scale
    photos = load_set(folder, scale, "train") if folder else embedded_photos("train")
    if size is None:
        return Calibration(calibration_of(photos, scale, calibration_side(source)), photos.name)
    middles = [middle(imresize(photo.pixels, 1 / scale), size) for photo in photos.photos[:NUM_PATCHES]]
    return Calibration(torch.cat(middles), photos.name)


def check_calibration(folder: Path | None, dtype: str) -> None:
    """Raise ``InputError`` if photographs are given to calibrate what needs none."""
    if folder is not None and dtype != "int8":
        raise InputError(f"--calibration needs --dtype int8, but got {dtype}; leave one of them out.")


def middle(image: NDArray[np.generic], size: tuple[int, int]) -> torch.Tensor:
    """Return the middle of an image as ``(1, 3, H, W)``; what is too small is mirrored at its edges."""
    beyond = [(0, max(0, wanted - got)) for wanted, got in zip(size, image.shape[:2], strict=True)]
    whole = to_tensor(np.pad(image.astype(np.uint8), [*beyond, (0, 0)], mode="reflect"))
    height, width = size
    top, left = (whole.shape[-2] - height) // 2, (whole.shape[-1] - width) // 2
    return whole[..., top : top + height, left : left + width].contiguous()
