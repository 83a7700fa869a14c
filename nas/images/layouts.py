"""The folder layouts of the field: which images are photographs (HR), and which were made from them (LR).

DIV2K, Flickr2K and DF2K as they are unpacked, benchmarks as BasicSR, EDSR, RCAN, SelfExSR and MATLAB scripts leave
them, and crops of them. A folder without any such name is one of photographs. docs/data.md has the table.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from srnas.nas.errors import listed
from srnas.nas.images.listing import Listing
from srnas.search_space import InputError

Part = Literal["train", "held-out"]
Side = Literal["hr", "lr", "other", ""]

_SCALE_FOLDER = re.compile(r"(?:image_)?(?:x|srf_?)([234])(?:_?sub)?")
_LR_WORD = re.compile(r"(?:lr|lq)(bicubic|bic|bi|unknown|bd|dn|wild|mild|difficult)?x?([234])?(?:sub)?")
_HR_WORD = re.compile(r"(?:hr|gt)(?:mod\d+)?x?([234])?(?:sub)?|groundtruth|originals?")
# SelfExSR writes every method's output beside both.
_SELFEX = re.compile(r"(.+)_SRF_([234])_(\w+)", re.IGNORECASE)
_HR_STEM = re.compile(r"(.+?)_(?:HR|GT)(?:_?x(?P<scale>[234]))?", re.IGNORECASE)
_LR_STEM = re.compile(r"(.+?)_(?:LR|LQ)(?P<reduction>BI|BD|DN|bic|_bicubic)?(?:_?x(?P<scale>[234]))?", re.IGNORECASE)
_SCALED_STEM = re.compile(r"(.+?)_?x(?P<scale>[234])", re.IGNORECASE)
# What is not bicubic is taken only if it is asked for.
_OTHER_REDUCTIONS = frozenset(("unknown", "bd", "dn", "wild", "mild", "difficult"))
_PARTS = {"train": ("train",), "held-out": ("valid", "val", "test")}
# Sets that are trained on together, and sets that are never judged together.
_TRAINED = frozenset(("div2k", "flickr2k", "df2k", "div8k", "lsdir", "ost", "wed", "bsd500"))
_JUDGED = frozenset(("set5", "set14", "b100", "bsd100", "bsds100", "urban100", "manga109", "div2k100", "general100"))


@dataclass(frozen=True)
class Marked:
    """An image with what its path says of it.

    Attributes:
        path: The file.
        name: Its path below the folder.
        side: ``hr``, ``lr``, ``other`` (the output of some method), or nothing.
        scale: The scale that folder or name state.
        group: The folder that says so, as a path below the folder.
        is_crop: Whether it is a crop of a whole image (``_sub``).
        reduction: How LR images were made, if the folder or the name says so.
        by_folder: Whether a folder says which side it is, and not only its own name.
    """

    path: Path
    name: PurePosixPath
    side: Side
    scale: int | None
    group: str
    is_crop: bool
    reduction: str
    by_folder: bool

    @property
    def words(self) -> set[str]:
        """The words of the folders that it lies in."""
        return set(_words("/".join(self.name.parts[:-1])))


@dataclass(frozen=True)
class Layout:
    """What is taken of a folder.

    Attributes:
        hr: The photographs.
        lr: Their LR images, if they are there and asked for.
        notes: What is passed over, unless all images are taken.
    """

    hr: Listing
    lr: Listing | None
    notes: tuple[str, ...]


def base_of(name: str) -> str:
    """Return what the names of a photograph and of its LR images have in common."""
    path = PurePosixPath(name)
    folders = [part for part in path.parts[:-1] if not _SCALE_FOLDER.fullmatch(part.lower())]
    for pattern in (_SELFEX, _HR_STEM, _LR_STEM, _SCALED_STEM):
        if match := pattern.fullmatch(path.stem):
            return "/".join([*folders, match[1]])
    return "/".join([*folders, path.stem])


def scale_of(name: str) -> int | None:
    """Return the scale that the name of an image states."""
    return _mark_stem(PurePosixPath(name).stem)[1]


def bicubic_of(found: Listing) -> Listing | None:
    """Return the LR images that are not said to be reduced in another way; ``None`` if there are none."""
    kept = tuple(path for path in found.paths if _mark_stem(path.stem)[2] not in _OTHER_REDUCTIONS)
    return replace(found, paths=kept) if kept else None


def find_layout(found: Listing, scale: int, part: Part, *, with_lr: bool = False, lr: Listing | None = None) -> Layout:
    """Return which images of a folder are photographs, and which their LR images.

    Args:
        found: All images below the folder.
        scale: Upscaling factor.
        part: What the photographs are for: of a set that has both, those to train on or those held out.
        with_lr: Whether LR images are asked for.
        lr: The LR images, where they are given.

    Raises:
        InputError: If that is not clear.
    """
    marked = [_mark(path, PurePosixPath(name)) for path, name in zip(found.paths, found.names(), strict=True)]
    high, low = _sides(found, marked)
    if high is None:
        return Layout(found, lr, ())
    hr = _listing(found, _chosen(found, high, scale, part))
    if with_lr and lr is None:
        lr = _lr_of(found, low, hr, marked, scale, part)
    taken = {*hr.paths, *(lr.paths if lr else ())}
    passed = sorted({_top(image.name) for image in marked if image.path not in taken})
    count = sum(image.path not in taken for image in marked)
    where = found.folder.absolute().name
    said = f"{where}: '{_shown(hr, found)}' is used"
    said += f" with LR images of '{_shown(lr, found)}'" if lr else ""
    notes = [f"{said}; {count} other images are skipped ({listed(passed, most=5)})"] if count else []
    return Layout(hr, lr, (*found.notes, *notes))


def _mark(path: Path, name: PurePosixPath) -> Marked:
    side: Side = ""
    group, reduction, scale, is_crop = "", "", None, False
    parts = name.parts[:-1]
    for depth in range(len(parts), 0, -1):
        folder = parts[depth - 1].lower()
        is_crop = is_crop or folder.endswith("sub")
        if match := _SCALE_FOLDER.fullmatch(folder):
            scale = scale or int(match[1])
        for word in _words(folder):
            if match := _LR_WORD.fullmatch(word):
                side, reduction = "lr", match[1] or reduction
                scale = scale or (int(match[2]) if match[2] else None)
            elif (match := _HR_WORD.fullmatch(word)) and not side:
                side, scale = "hr", scale or (int(match[1]) if match[1] else None)
        if side:
            # These words may stand beside it: LR_unknown, Set5_LR_x2.
            beside = next((int(word[1]) for word in _words(folder) if re.fullmatch("x[234]", word)), None)
            scale = scale or beside
            reduction = reduction or next((w for w in _words(folder) if w in _OTHER_REDUCTIONS), "")
            group = "/".join(parts[:depth])
            break
    by_folder = bool(side)
    stem_side, stem_scale, stem_reduction = _mark_stem(name.stem)
    if not by_folder and stem_side:
        side, group = stem_side, "/".join(parts)
    return Marked(path, name, side, scale or stem_scale, group, is_crop, reduction or stem_reduction, by_folder)


def _mark_stem(stem: str) -> tuple[Side, int | None, str]:
    """Return the side, the scale and the reduction that a name without its suffix says."""
    if match := _SELFEX.fullmatch(stem):
        sides: dict[str, Side] = {"hr": "hr", "lr": "lr"}
        return sides.get(match[3].lower(), "other"), int(match[2]), ""
    both: tuple[tuple[re.Pattern[str], Side], ...] = ((_HR_STEM, "hr"), (_LR_STEM, "lr"), (_SCALED_STEM, ""))
    for pattern, side in both:
        if match := pattern.fullmatch(stem):
            told = match.groupdict()
            reduction = (told.get("reduction") or "").lower().lstrip("_")
            return side, int(told["scale"]) if told["scale"] else None, reduction
    return "", None, ""


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]


def _sides(found: Listing, marked: Sequence[Marked]) -> tuple[list[Marked] | None, list[Marked]]:
    """Return the candidates for HR (none: it is a folder of photographs) and those for LR."""
    high = [image for image in marked if image.side == "hr" and image.by_folder]
    low = [image for image in marked if image.side == "lr" and image.by_folder]
    plain = [image for image in marked if image.side == "" or not image.by_folder]
    if high:
        return high, low
    named = [image for image in plain if image.side == "hr"]
    named_low = [image for image in plain if image.side == "lr"]
    if named and named_low:
        return named, [*low, *named_low]
    stems = {base_of(image.name.as_posix()) for image in plain if image.scale is None}
    scaled = [image for image in plain if image.scale is not None and image.side == ""]
    reduced = [image for image in scaled if base_of(image.name.as_posix()) in stems]
    numbered = [image for image in scaled if re.fullmatch(r"\d+x[234]", image.name.stem)]
    if reduced or named_low or (numbered and len(numbered) == len(marked)):
        raise _unclear(found, "names of LR images are among the photographs", [*reduced, *named_low, *numbered])
    if low:
        beside = {str(image.name.parent) for image in plain}
        if beside == {"."}:
            return plain, low
        raise _unclear(found, "there are LR images, but no folder says which are the photographs", low)
    return None, []


def _chosen(found: Listing, high: Sequence[Marked], scale: int, part: Part) -> list[Marked]:
    """Return the photographs of the only candidate."""
    fitting = [image for image in high if image.scale in (None, scale)]
    if not fitting:
        scales = ", ".join(f"x{image.scale}" for image in {image.scale: image for image in high}.values())
        raise InputError(f"'{found.folder}' must hold photographs for x{scale}, but it holds those for {scales}.")
    fitting = _preferred(fitting, lambda image: "original" not in image.group.lower())
    fitting = _preferred(fitting, lambda image: not image.is_crop)
    fitting = _of_part(fitting, part)
    groups = {_set_of(image) for image in fitting}
    together = part == "train" and all(_TRAINED & set(_words(group)) for group in groups)
    if len(groups) > 1 and not together:
        raise _unclear(found, "there are several candidates for the photographs", fitting)
    return fitting


def _set_of(image: Marked) -> str:
    """Return the folder of an image's set: that of its side, or below it a folder that is called as a benchmark is."""
    deeper = image.name.relative_to(image.group).parts[:-1] if image.group else image.name.parts[:-1]
    below = [part for part in deeper if _JUDGED & set(_words(part))]
    return image.group if not below else f"{image.group}/{below[-1]}"


def _lr_of(
    found: Listing, low: Sequence[Marked], hr: Listing, marked: Sequence[Marked], scale: int, part: Part
) -> Listing | None:
    """Return the LR images of the photographs, reduced bicubically, if they are there."""
    crops = any(image.is_crop for image in marked if image.path in hr.paths)
    fitting = [i for i in low if i.scale in (None, scale) and i.reduction not in _OTHER_REDUCTIONS]
    fitting = [i for i in _of_part(fitting, part) if i.is_crop == crops]
    fitting = _preferred(fitting, lambda image: image.scale == scale)
    fitting = _preferred(fitting, lambda image: image.reduction != "")
    if len({image.group for image in fitting}) > 1:
        raise _unclear(found, "there are several candidates for the LR images", fitting)
    return _listing(found, fitting) if fitting else None


def _of_part(images: Sequence[Marked], part: Part) -> list[Marked]:
    others = next(words for name, words in _PARTS.items() if name != part)
    return _preferred(images, lambda image: not image.words.intersection(others))


def _preferred(images: Sequence[Marked], rule: Callable[[Marked], bool]) -> list[Marked]:
    """Return those of which a rule holds, or all if it holds of none."""
    return [image for image in images if rule(image)] or list(images)


def _listing(found: Listing, images: Iterable[Marked]) -> Listing:
    chosen = list(images)
    groups = {image.group for image in chosen}
    folder = found.folder / groups.pop() if len(groups) == 1 else found.folder
    return Listing(folder, tuple(image.path for image in chosen))


def _shown(listing: Listing | None, found: Listing) -> str:
    if listing is None:
        return ""
    inside = listing.folder.is_relative_to(found.folder)
    return listing.folder.relative_to(found.folder).as_posix() if inside else str(listing.folder)


def _top(name: PurePosixPath) -> str:
    return "/".join(name.parts[:2][: max(1, len(name.parts) - 1)])


def _unclear(found: Listing, what: str, images: Sequence[Marked]) -> InputError:
    places = listed(sorted({_set_of(image) or image.name.as_posix() for image in images}), most=8)
    return InputError(
        f"which images of '{found.folder}' are photographs must be clear, but {what} ({places}); give the folder of "
        "the photographs itself, or say it: 'srnas evaluate' takes --hr and --lr, 'srnas search' and 'srnas train' "
        "--every-image."
    )
