"""Photographs as 8-bit RGB: the embedded sets, or any folder of images."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PIL import ExifTags
from PIL import Image as PillowImage

from srnas.nas.errors import listed
from srnas.nas.images.colour import flatten, to_8_bit, to_srgb
from srnas.nas.images.layouts import Layout, Part, find_layout
from srnas.nas.images.listing import Listing, list_images
from srnas.nas.images.metrics import Image
from srnas.search_space import InputError

Embedded = Literal["train", "held-out", "held-out-before"]
# Name, photographs and the side of the central crop of each embedded set; all of them come with the installed packages
# of scikit-image and scikit-learn. The two views of the motorcycle stay together.
_EMBEDDED: dict[Embedded, tuple[str, tuple[str, ...], int | None]] = {
    "train": ("embedded-train", ("coffee", "chelsea", "rocket", "motorcycle_left", "motorcycle_right", "flower"), None),
    # Not held out are the moon, a retina and what microscopes saw: they order networks otherwise than photographs do.
    "held-out": (
        "embedded-crops",
        ("astronaut", "china", "camera", "brick", "grass", "gravel", "coins", "page", "text", "hubble_deep_field"),
        228,
    ),
    "held-out-before": ("embedded-held-out", ("astronaut", "china"), None),
}

_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# A small file may claim to be a huge image: beyond this, where Pillow warns, it is refused unread.
MAX_MEGAPIXELS = 89
# So many damaged files are named.
_NAMED = 20
# How an image is turned upright, by the orientation in its EXIF.
_UPRIGHT = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}


Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photograph.

    Attributes:
        name: Path below its folder, or the name in the embedded set.
        pixels: ``(H, W, 3)``, 8-bit RGB.
        gray: Whether the file holds gray values (then the three channels are equal).
    """

    name: str
    pixels: Image
    gray: bool = False


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Photographs with the name of their set, and the notes from reading them."""

    name: str
    photos: tuple[Photo, ...]
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A short hash of all pixels and names."""
        digest = hashlib.sha256()
        for photo in self.photos:
            digest.update(f"{photo.name}{photo.pixels.shape}{photo.gray}".encode())
            digest.update(photo.pixels.tobytes())
        return digest.hexdigest()[:12]

    @property
    def described(self) -> str:
        """Name, fingerprint and number of photographs, as a study keeps them."""
        return f"{self.name}@{self.fingerprint} ({len(self.photos)} photographs)"

    def at_least(self, side: int, what: str) -> "PhotoSet":
        """Return the photographs whose sides are all at least ``side`` pixels, with a note on the others.

        Raises:
            InputError: If none is left.
        """
        kept = tuple(photo for photo in self.photos if min(photo.pixels.shape[:2]) >= side)
        if not kept:
            height, width = max((photo.pixels.shape[:2] for photo in self.photos), key=min)
            raise InputError(
                f"photographs of '{self.name}' must be at least {side}x{side} pixels ({what}), but the largest of "
                f"{len(self.photos)} is {width}x{height}; give larger photographs."
            )
        dropped = len(self.photos) - len(kept)
        if not dropped:
            return self
        few = f"skipped {dropped} of {len(self.photos)} photographs smaller than {side}x{side} pixels"
        note = f"{self.name}: {few} ({what})"
        return PhotoSet(self.name, kept, (*self.notes, note))


def embedded_photos(part: Embedded) -> PhotoSet:
    """Return photographs bundled with scikit-image and scikit-learn.

    Args:
        part: ``train``; ``held-out``, central crops of ten other photographs; or ``held-out-before``, the two whole
            photographs by which studies of earlier versions judge.
    """
    from skimage import data
    from sklearn.datasets import load_sample_image

    left, right, _ = data.stereo_motorcycle()
    loaders = {
        "motorcycle_left": lambda: left,
        "motorcycle_right": lambda: right,
        "flower": lambda: load_sample_image("flower.jpg"),
        "china": lambda: load_sample_image("china.jpg"),
    }
    set_name, names, side = _EMBEDDED[part]
    pixels = (loaders[name]() if name in loaders else getattr(data, name)() for name in names)
    return PhotoSet(set_name, tuple(_embedded(name, p, side) for name, p in zip(names, pixels, strict=True)))


def _embedded(name: str, pixels: Image, side: int | None) -> Photo:
    """Return a gray or RGB picture as a photograph, or its central square of ``side`` pixels, or what it has of it."""
    if side is not None:
        top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
        pixels = pixels[top : top + side, left : left + side]
    gray = pixels.ndim == 2
    rgb = np.stack([pixels] * 3, axis=-1) if gray else pixels
    return Photo(name, np.ascontiguousarray(rgb, dtype=np.uint8), gray)


def load_folder(folder: Path, *, raw_colours: bool = False) -> PhotoSet:
    """Decode every image below ``folder``: PNG, JPEG, WebP, BMP and TIFF of at most 89 megapixels.

    Colour profiles are converted to sRGB, gray and CMYK images become RGB, 16-bit ones 8-bit, a transparent one is laid
    on black; each conversion is noted.

    Args:
        folder: The folder.
        raw_colours: Whether colour profiles are disregarded.

    Raises:
        InputError: If there is no such folder, it holds no image, or an image cannot be decoded (all are named).
    """
    return load_listed(list_images(folder), raw_colours=raw_colours)


def load_listed(found: Listing, *, raw_colours: bool = False) -> PhotoSet:
    """Decode images that were listed, as :func:`load_folder` does.

    Raises:
        InputError: If an image cannot be decoded (all are named).
    """
    photos, notes = _decode_all(found.paths, found.folder, lambda photo: photo, raw_colours)
    return PhotoSet(found.folder.name or str(found.folder), photos, (*found.notes, *notes))


def load_set(folder: Path, scale: int, part: Part, *, every_image: bool = False, raw_colours: bool = False) -> PhotoSet:
    """Decode the photographs of a folder in any layout of the field; see :mod:`~srnas.nas.images.layouts`.

    Args:
        folder: The folder.
        scale: Upscaling factor.
        part: What the photographs are for.
        every_image: Whether every image is a photograph, whatever folders and files are called.
        raw_colours: Whether colour profiles are disregarded.

    Raises:
        InputError: As :func:`load_folder`, and if it is not clear which images are the photographs.
    """
    found = list_images(folder)
    layout = Layout(found, None, ()) if every_image else find_layout(found, scale, part)
    read = load_listed(layout.hr, raw_colours=raw_colours)
    return PhotoSet(folder.name or str(folder), read.photos, (*layout.notes, *read.notes))


def survey(
    paths: Sequence[Path], folder: Path, *, raw_colours: bool = False
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Decode files below ``folder`` and return their heights and widths, with notes on their conversions.

    Raises:
        InputError: If an image cannot be decoded (all are named).
    """
    return _decode_all(paths, folder, lambda photo: (photo.pixels.shape[0], photo.pixels.shape[1]), raw_colours)


def load_photo(path: Path, folder: Path, *, raw_colours: bool = False) -> Photo:
    """Decode one file below ``folder``, as :func:`load_folder` does.

    Raises:
        InputError: If it cannot be decoded.
    """
    return _decode_all([path], folder, lambda photo: photo, raw_colours)[0][0]


def _decode_all(
    paths: Sequence[Path], folder: Path, keep: Callable[[Photo], Kept], raw: bool
) -> tuple[tuple[Kept, ...], tuple[str, ...]]:
    """Return what ``keep`` takes of each photograph, and notes on the conversions."""

    def decode(path: Path) -> tuple[str, Kept, list[str]] | str:
        name = path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
        # Decoders of other people raise whatever they raise, and it is always about this file.
        try:
            photo, notes = _decode(path, name, raw)
        except Exception as error:
            return f"'{name}' ({str(error) or type(error).__name__})"
        return name, keep(photo), notes

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(decode, paths))
    broken = [result for result in results if isinstance(result, str)]
    if broken:
        raise InputError(f"cannot decode {listed(broken, most=_NAMED)}; repair or remove it.")
    decoded = [result for result in results if not isinstance(result, str)]
    said: dict[str, list[str]] = {}
    for name, _, notes in decoded:
        for note in notes:
            said.setdefault(note, []).append(name)
    where = folder.absolute().name
    conversions = tuple(f"{where}: {len(names)} {note} ({listed(names)})" for note, names in said.items())
    return tuple(kept for _, kept, _ in decoded), conversions


def _decode(path: Path, name: str, raw: bool) -> tuple[Photo, list[str]]:
    """Return the photograph and notes on its conversion; whatever a decoder raises is raised."""
    with PillowImage.open(path) as opened:
        megapixels = opened.width * opened.height / 1e6
        if megapixels > MAX_MEGAPIXELS:
            raise ValueError(f"it has {megapixels:.0f} megapixels, and at most {MAX_MEGAPIXELS} are decoded")
        # Read before loading, which forgets how the file is laid out.
        pages = getattr(opened, "n_frames", 1)
        deep = ";16" in str(opened.tile)
        opened.load()
        image, *notes = _upright(opened)
    if image.mode == "F":
        raise ValueError("floating-point values are not supported")
    if pages > 1:
        notes.append("of several pages or frames, the first is used")
    gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    if image.mode.startswith("I"):
        image, deep = to_8_bit(image), True
    if deep:
        notes.append("16-bit, reduced to 8 bits")
    mode = image.mode
    image, said = to_srgb(image, raw=raw)
    notes += [said] if said else []
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image, transparent = flatten(image)
        notes.append("partly transparent, laid on black" if transparent else "with an opaque alpha channel, dropped")
    if gray:
        notes.append("gray, used as RGB")
    elif mode not in ("RGB", "RGBA", "RGBa", "PA", "P", "LAB") and not said:
        notes.append(f"{mode}, converted to RGB")
    return Photo(name, np.array(image.convert("RGB")), gray), notes


def _upright(opened: PillowImage.Image) -> tuple[PillowImage.Image, *tuple[str, ...]]:
    """Return an image turned as its EXIF says, and a note on damaged EXIF."""
    try:
        exif = opened.getexif()
        orientation = exif.get(ExifTags.Base.Orientation)
        exif.tobytes()
    except Exception:
        # Pillow reads the orientation where other entries cannot be written.
        try:
            orientation = opened.getexif().get(ExifTags.Base.Orientation)
        except Exception:
            return opened, "with EXIF that cannot be read, not turned by it"
        return _turned(opened, orientation), "with damaged EXIF, of which only the orientation is used"
    return (_turned(opened, orientation),)


def _turned(image: PillowImage.Image, orientation: object) -> PillowImage.Image:
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def all_notes(train: PhotoSet, held_out: PhotoSet) -> list[str]:
    """Return the notes from reading the sets, and what the sets share."""
    validated = {held_out.name: [(photo.name, photo.pixels) for photo in held_out.photos]}
    return [*train.notes, *held_out.notes, *shared_with((photo.pixels for photo in train.photos), validated)]


def shared_with(train: Iterable[Image], sets: Mapping[str, Iterable[tuple[str, Image]]]) -> list[str]:
    """Return notes on the photographs that are both trained and validated on.

    Args:
        train: What is trained on.
        sets: Names and pixels of what is validated on, by name of the set.
    """
    # Of photographs that fill the memory no second copy is made.
    seen = {_digest(pixels) for pixels in train}
    shared = {name: [one for one, pixels in photos if _digest(pixels) in seen] for name, photos in sets.items()}
    return [
        f"warning: {len(names)} photographs of '{name}' are in the training set too ({listed(names)}), "
        "so their PSNR is too high"
        for name, names in shared.items()
        if names
    ]


def _digest(pixels: Image) -> bytes:
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest()
