"""LR/HR pairs: whole photographs for judging, reduced here or read from a folder."""

import math
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from srnas.nas.errors import listed
from srnas.nas.images.imresize import imresize
from srnas.nas.images.metrics import Image, Luma
from srnas.nas.images.photos import SUFFIXES, Photo, PhotoSet, load_folder
from srnas.search_space import InputError
from srnas.search_space.host import luma

OnShare = Callable[[float], None]
"""Called with the share that is done, 0 to 1."""

# SSIM's window must fit into what is left of a photograph.
_SSIM_WINDOW = 11
# Where LR images lie beside a folder ``HR``; the first that holds images is taken.
_LR_FOLDERS = ("lr_bicubic/x{0}", "lr/x{0}", "lr_bicubicx{0}", "lrx{0}", "x{0}", "lr_bicubic", "lr")


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


def make_pairs(photos: PhotoSet, scale: int, on_share: OnShare = lambda _: None) -> tuple[Pair, ...]:
    """Crop each photograph to a multiple of ``scale`` and reduce it with MATLAB's bicubic ``imresize``."""

    def reduce(photo: Photo) -> Pair:
        height, width = (side - side % scale for side in photo.pixels.shape[:2])
        hr = np.ascontiguousarray(photo.pixels[:height, :width])
        return Pair(photo.name, imresize(hr, 1 / scale).astype(np.uint8, copy=False), hr, photo.gray)

    pairs = []
    with ThreadPoolExecutor() as pool:
        for pair in pool.map(reduce, photos.photos):
            pairs.append(pair)
            on_share(len(pairs) / len(photos.photos))
    return tuple(pairs)


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs of a folder.

    Attributes:
        name: Name of the folder.
        pairs: The pairs.
        lr: Where the LR images are from: a folder, or ``imresize``.
        folders: What was read.
        notes: What was said while they were read.
    """

    name: str
    pairs: tuple[Pair, ...]
    lr: str
    folders: tuple[Path, ...]
    notes: tuple[str, ...]

    def as_rgb(self) -> "PairSet":
        """Return the same pairs, of which gray ones are judged as RGB."""
        return replace(self, pairs=tuple(replace(pair, gray=False) for pair in self.pairs))

    def noting_gray(self) -> "PairSet":
        """Return the same pairs, with a note if some are judged in gray values."""
        gray = sum(pair.gray for pair in self.pairs)
        note = f"{self.name}: {gray} judged in gray values, as the study judges them"
        return replace(self, notes=(*self.notes, note)) if gray else self


def load_pairs(data: Path, scale: int, *, lr: Path | None = None, min_size: int = 1) -> PairSet:
    """Read photographs and their LR images, or reduce the photographs.

    ``data`` holds a folder ``HR``, or is the folder of the photographs itself. Beside ``HR``, LR images are looked for
    in ``LR_bicubic/X4``, ``LR/X4``, ``LR_bicubic_x4``, ``LRx4``, ``X4``, ``LR_bicubic`` and ``LR`` (at scale 4; in any
    case, with or without ``_``). The first that holds images is taken; without any the photographs are reduced with
    MATLAB's bicubic ``imresize``. Files are matched by name without suffix, to which that of an LR file may add ``x4``.

    Args:
        data: The folder.
        scale: Upscaling factor.
        lr: Folder of the LR images.
        min_size: Least side of an LR image.

    Raises:
        InputError: If a folder is missing or an image does not decode, if no photograph is large enough, or if LR
            images are missing or of another size (all are listed).
    """
    hr = next((path for path in _folders(data, "*") if path.name.lower() == "hr"), data)
    least = least_side(scale, min_size)
    read = replace(load_folder(hr), name=data.absolute().name)
    photos = read.at_least(least, "the blocks and the SSIM window")
    lr = lr or (_find_lr(data, scale) if hr != data else None)
    if lr is None:
        said = (*photos.notes, f"{photos.name}: reduced by {scale} with MATLAB's bicubic imresize")
        return PairSet(photos.name, make_pairs(photos, scale), "imresize", (hr,), said)
    reduced = load_folder(lr)
    pairs = _match(photos, reduced, scale, lr)
    unused = len(reduced.photos) - len(read.photos)
    left = (f"{lr.name}: {unused} images have no photograph",) if unused > 0 else ()
    return PairSet(photos.name, pairs, str(lr), (hr, lr), (*photos.notes, *reduced.notes, *left))


def least_side(scale: int, min_size: int) -> int:
    """Return the least side of a photograph that can be judged: its LR image suits the blocks, SSIM's window fits."""
    return scale * max(min_size, math.ceil(_SSIM_WINDOW / scale) + 2)


def _folders(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_dir())


def _find_lr(data: Path, scale: int) -> Path | None:
    places = {}
    for path in (*_folders(data, "*"), *_folders(data, "*/*")):
        if any(file.suffix.lower() in SUFFIXES for file in path.iterdir()):
            places[path.relative_to(data).as_posix().lower().replace(f"_x{scale}", f"x{scale}")] = path
    return next((places[place] for wanted in _LR_FOLDERS if (place := wanted.format(scale)) in places), None)


def _match(photos: PhotoSet, reduced: PhotoSet, scale: int, folder: Path) -> tuple[Pair, ...]:
    stems = [_stem(photo.name) for photo in reduced.photos]
    marked = [re.sub(rf"_?x{scale}$", "", stem, flags=re.IGNORECASE) for stem in stems]
    # A name as it is goes before one without its scale.
    low = dict(zip(marked, reduced.photos, strict=True)) | dict(zip(stems, reduced.photos, strict=True))
    problems = [f"several files are '{stem}'" for stem, number in Counter(stems).items() if number > 1]
    pairs = []
    for photo in photos.photos:
        height, width = (side // scale for side in photo.pixels.shape[:2])
        reduced_photo = low.get(_stem(photo.name))
        if reduced_photo is None:
            problems.append(f"'{photo.name}' has none")
        elif reduced_photo.pixels.shape[:2] != (height, width):
            got = "x".join(map(str, reduced_photo.pixels.shape[1::-1]))
            problems.append(f"'{photo.name}' needs {width}x{height} and has {got}")
        else:
            hr = np.ascontiguousarray(photo.pixels[: height * scale, : width * scale])
            pairs.append(Pair(photo.name, reduced_photo.pixels, hr, photo.gray))
    if problems:
        raise InputError(
            f"photographs of '{photos.name}' must have LR images of 1/{scale} of their size in '{folder}', but "
            f"{listed(problems, most=8)}; give another --lr or --scale."
        )
    return tuple(pairs)


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def to_tensor(image: Image) -> torch.Tensor:
    """Return ``(1, 3, H, W)``, float in 0 to 1."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32) / 255


def to_image(tensor: torch.Tensor) -> Image:
    """Return ``(H, W, 3)``, clamped and rounded to 8 bits, of ``(1, 3, H, W)`` in 0 to 1."""
    scaled = tensor[0].float().clamp(0, 1).mul(255).add(0.5).floor()
    image: Image = scaled.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return image


def to_luma(image: torch.Tensor) -> Luma:
    """Return Y, ``(H, W)`` in 16 to 235, clamped to 0 to 255 and not rounded, of ``(1, 3, H, W)`` in 0 to 1."""
    y: Luma = (luma(image) * 255).clamp(0, 255)[0, 0].cpu().double().numpy()
    return y
