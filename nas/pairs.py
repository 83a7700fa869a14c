"""LR/HR pairs: whole photographs for judging, and training patches cut, flipped and transposed in batch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from srnas.nas.imresize import imresize
from srnas.nas.metrics import Image
from srnas.nas.photos import Photo, PhotoSet
from srnas.search_space import InputError

Progress = Callable[[float], None]
"""Called with the share that is done, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A photograph and its bicubic reduction.

    Attributes:
        name: The photograph's.
        lr: ``(H, W, 3)``, 8-bit RGB.
        hr: ``(scale H, scale W, 3)``.
        gray: Whether the photograph is gray.
    """

    name: str
    lr: Image
    hr: Image
    gray: bool


def make_pairs(photos: PhotoSet, scale: int, on_progress: Progress = lambda _: None) -> tuple[Pair, ...]:
    """Crop each photograph to a multiple of ``scale`` and reduce it with MATLAB's bicubic ``imresize``."""

    def reduce(photo: Photo) -> Pair:
        height, width = (side - side % scale for side in photo.pixels.shape[:2])
        hr = np.ascontiguousarray(photo.pixels[:height, :width])
        return Pair(photo.name, imresize(hr, 1 / scale).astype(np.uint8, copy=False), hr, photo.gray)

    pairs = []
    with ThreadPoolExecutor() as pool:
        for pair in pool.map(reduce, photos.photos):
            pairs.append(pair)
            on_progress(len(pairs) / len(photos.photos))
    return tuple(pairs)


class PatchSampler:
    """Draws batches of aligned LR and HR patches from photographs that were decoded once.

    All pixels lie in two flat ``uint8`` tensors. A batch is one gather from each, whose indices carry crop, flip and
    transpose; positions are uniform over all patches of all photographs.

    Args:
        pairs: Photographs of at least ``patch`` LR pixels a side.
        scale: Upscaling factor.
        patch: Side of an LR patch in pixels.
        device: Where the pixels are kept and the batches are cut.

    Raises:
        InputError: If a photograph is smaller than a patch.
    """

    def __init__(self, pairs: Sequence[Pair], scale: int, patch: int, device: torch.device) -> None:
        sizes = torch.tensor([pair.lr.shape[:2] for pair in pairs])
        if int(sizes.min()) < patch:
            raise InputError(
                f"every photograph must be at least {patch * scale} pixels a side, but the smallest has "
                f"{int(sizes.min()) * scale}; remove it or lower the patch."
            )
        self.scale, self.patch, self.device = scale, patch, device
        self._rows, self._columns = (sizes - patch + 1).unbind(1)
        self._widths = sizes[:, 1]
        ends = (sizes[:, 0] * sizes[:, 1]).cumsum(0)
        self._starts = ends - sizes[:, 0] * sizes[:, 1]
        self._positions_end = (self._rows * self._columns).cumsum(0)
        self._lr = _flat([pair.lr for pair in pairs]).to(device)
        self._hr = _flat([pair.hr for pair in pairs]).to(device)
        self._lr_grid, self._hr_grid = _symmetries(patch), _symmetries(patch * scale)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``lr (B, 3, P, P)`` and ``hr (B, 3, sP, sP)``, float in 0 to 1, channels last in memory."""
        position = torch.randint(int(self._positions_end[-1]), (batch,), generator=generator)
        symmetry = torch.randint(8, (batch,), generator=generator)
        photo = torch.searchsorted(self._positions_end, position, right=True)
        position -= self._positions_end[photo] - self._rows[photo] * self._columns[photo]
        top, left = position // self._columns[photo], position % self._columns[photo]
        width, start = self._widths[photo], self._starts[photo]
        scale = self.scale
        lr = self._cut(self._lr, self._lr_grid[symmetry], start, top, left, width)
        hr = self._cut(self._hr, self._hr_grid[symmetry], start * scale**2, top * scale, left * scale, width * scale)
        return lr, hr

    def _cut(
        self,
        pixels: torch.Tensor,
        grid: torch.Tensor,
        start: torch.Tensor,
        top: torch.Tensor,
        left: torch.Tensor,
        width: torch.Tensor,
    ) -> torch.Tensor:
        origin = (start + top * width + left)[:, None, None]
        index = origin + grid[:, 0] * width[:, None, None] + grid[:, 1]
        cut = pixels[index.to(self.device)]
        return cut.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def _flat(images: Sequence[Image]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([image.reshape(-1, 3) for image in images]))


def _symmetries(side: int) -> torch.Tensor:
    """Return ``(8, 2, side, side)``: row and column of each pixel under the 8 symmetries of the square."""
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    turned = [grid, grid.flip(1), grid.flip(2), grid.flip(1, 2)]
    return torch.stack([*turned, *(g.transpose(1, 2) for g in turned)])


def to_tensor(image: Image) -> torch.Tensor:
    """Return ``(1, 3, H, W)``, float in 0 to 1."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32) / 255


def to_image(tensor: torch.Tensor) -> Image:
    """Return ``(H, W, 3)``, clamped and rounded to 8 bits, of ``(1, 3, H, W)`` in 0 to 1."""
    scaled = tensor[0].float().clamp(0, 1).mul(255).add(0.5).floor()
    image: Image = scaled.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return image
