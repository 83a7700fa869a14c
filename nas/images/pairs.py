"""LR/HR pairs: whole photographs for judging, reduced here or read from a folder."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from srnas.nas.errors import DiskFullError, listed
from srnas.nas.files import write_whole
from srnas.nas.images.imresize import imresize
from srnas.nas.images.layouts import Layout, base_of, bicubic_of, find_layout, scale_of
from srnas.nas.images.listing import Listing, list_images
from srnas.nas.images.metrics import Image, Luma
from srnas.nas.images.photos import Photo, PhotoSet, load_listed
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

    @cached_property
    def is_flat(self) -> bool:
        """Whether the photograph shows nothing where it is judged: all pixels are equal."""
        border = self.hr.shape[0] // self.lr.shape[0]
        inner = self.hr[border:-border, border:-border]
        return bool((inner == inner[:1, :1]).all())


def note_flat(name: str, pairs: Sequence[Pair]) -> list[str]:
    """Return the notes on the flat photographs of a set."""
    flat = [pair.name for pair in pairs if pair.is_flat]
    if not flat:
        return []
    return [f"{name}: {len(flat)} of {len(pairs)} photographs are flat and left out of the mean ({listed(flat)})"]


def make_pairs(
    photos: PhotoSet, scale: int, on_share: OnShare = lambda _: None, *, folder: Path | None = None
) -> tuple[Pair, ...]:
    """Crop each photograph to a multiple of ``scale`` and reduce it with MATLAB's bicubic ``imresize``.

    Args:
        photos: The photographs.
        scale: What their sides are divided by.
        on_share: Called with the share that is done.
        folder: Where the reduced images are kept, if they can be, for the next who reduces the same photographs.
    """
    kept = folder and folder / f"{photos.fingerprint}-x{scale}.safetensors"
    known = _load_reduced(kept) if kept else {}

    def reduce(numbered: tuple[int, Photo]) -> Pair:
        number, photo = numbered
        height, width = (side - side % scale for side in photo.pixels.shape[:2])
        hr = np.ascontiguousarray(photo.pixels[:height, :width])
        lr = known.get(str(number))
        lr = imresize(hr, 1 / scale).astype(np.uint8, copy=False) if lr is None else lr
        return Pair(photo.name, lr, hr, photo.gray)

    pairs = []
    with ThreadPoolExecutor() as pool:
        for pair in pool.map(reduce, enumerate(photos.photos)):
            pairs.append(pair)
            on_share(len(pairs) / len(photos.photos))
    if kept and len(known) < len(pairs):
        # Nobody needs them: what a search must write says why it cannot.
        with suppress(DiskFullError):
            write_whole(kept, save({str(number): np.ascontiguousarray(pair.lr) for number, pair in enumerate(pairs)}))
    return tuple(pairs)


def _load_reduced(path: Path) -> dict[str, Image]:
    """Return what is kept, by number of the photograph; nothing of a file that is missing or damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError):
        return {}


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
        note = f"{self.name}: {gray} judged as gray, as the study does"
        return replace(self, notes=(*self.notes, note)) if gray else self


def load_pairs(
    data: Path,
    scale: int,
    *,
    hr: Path | None = None,
    lr: Path | None = None,
    min_size: int = 1,
    raw_colours: bool = True,
) -> PairSet:
    """Read photographs and their LR images, or reduce the photographs.

    ``data`` is the folder of the photographs, or has one of the layouts of :mod:`~srnas.nas.images.layouts`. Beside a
    folder ``HR``, LR images are looked for in ``LR_bicubic/X4``, ``LR/X4``, ``LR_bicubic_x4``, ``LRx4``, ``X4``,
    ``LR_bicubic`` and ``LR`` (at scale 4; in any case, with or without ``_``), and the first that holds images is
    taken. Without LR images the photographs are reduced with MATLAB's bicubic ``imresize``. Files are matched by what
    their names have in common: that of an LR file may add ``x4``, for example.

    Args:
        data: The folder.
        scale: Upscaling factor.
        hr: Folder of the photographs, where ``data`` does not tell.
        lr: Folder of the LR images.
        min_size: Least side of an LR image.
        raw_colours: Whether colour profiles are disregarded, as benchmarks do.

    Raises:
        InputError: If a folder is missing or an image does not decode, if no photograph is large enough, or if LR
            images are missing or of another size (all are listed).
    """
    layout = _find_layout(data, scale, hr, lr)
    read = load_listed(layout.hr, raw_colours=raw_colours)
    read = replace(read, name=data.absolute().name, notes=(*layout.notes, *read.notes))
    photos = read.at_least(least_side(scale, min_size), "the blocks and the SSIM window")
    hr = layout.hr.folder
    if layout.lr is None:
        pairs = make_pairs(photos, scale)
        said = (*photos.notes, f"{photos.name}: reduced by {scale} with MATLAB's bicubic imresize")
        return PairSet(photos.name, pairs, "imresize", (hr,), (*said, *note_flat(photos.name, pairs)))
    lr = layout.lr.folder
    reduced = load_listed(layout.lr, raw_colours=raw_colours)
    pairs = _match(photos, reduced, scale, lr)
    unused = len(reduced.photos) - len(read.photos)
    left = (f"{lr.name}: {unused} images have no photograph",) if unused > 0 else ()
    said = (*photos.notes, *reduced.notes, *left, *note_flat(photos.name, pairs))
    return PairSet(photos.name, pairs, str(lr), (hr, lr), said)


def least_side(scale: int, min_size: int) -> int:
    """Return the least side of a photograph that can be judged: its LR image suits the blocks, SSIM's window fits."""
    return scale * max(min_size, math.ceil(_SSIM_WINDOW / scale) + 2)


def _find_layout(data: Path, scale: int, hr: Path | None, lr: Path | None) -> Layout:
    """Return the layout that is given, or else that of the folder."""
    if hr is not None:
        return Layout(list_images(hr), list_images(lr) if lr else None, ())
    found = list_images(data)
    if lr is not None:
        reduced: Listing | None = list_images(lr)
    else:
        beside = _beside_hr(found, scale)
        reduced = bicubic_of(list_images(beside)) if beside else None
    return find_layout(found, scale, "held-out", with_lr=True, lr=reduced)


def _beside_hr(found: Listing, scale: int) -> Path | None:
    """Return the folder of LR images beside a folder ``HR``."""
    places = {}
    for folder in sorted({path.parent for path in found.paths}):
        place = folder.relative_to(found.folder).as_posix().lower()
        places[place.replace(f"_x{scale}", f"x{scale}")] = folder
    if "hr" not in {place.partition("/")[0] for place in places}:
        return None
    return next((places[place] for wanted in _LR_FOLDERS if (place := wanted.format(scale)) in places), None)


def _match(photos: PhotoSet, reduced: PhotoSet, scale: int, folder: Path) -> tuple[Pair, ...]:
    stems = [_stem(photo.name) for photo in reduced.photos]
    fitting = [photo for photo in reduced.photos if scale_of(photo.name) in (None, scale)]
    bases = {base_of(photo.name): photo for photo in fitting}
    number_of = Counter(base_of(photo.name) for photo in fitting)
    # A name as it is goes before one without its scale.
    low = bases | dict(zip(stems, reduced.photos, strict=True))
    problems = [f"several files are '{stem}'" for stem, number in Counter(stems).items() if number > 1]
    pairs = []
    for photo in photos.photos:
        height, width = (side // scale for side in photo.pixels.shape[:2])
        reduced_photo = low.get(_stem(photo.name)) or low.get(base_of(photo.name))
        if _stem(photo.name) not in stems and number_of[base_of(photo.name)] > 1:
            problems.append(f"several files are of '{photo.name}'")
        elif reduced_photo is None:
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
