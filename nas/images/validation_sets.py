"""Named sets of photographs that a training is validated on."""

import re
from collections.abc import Sequence
from pathlib import Path

from srnas.nas.errors import listed
from srnas.nas.images.pairs import Pair, least_side, load_pairs, make_pairs
from srnas.nas.images.photos import embedded_photos
from srnas.search_space import InputError

# What MLflow takes in the name of a metric.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def load_sets(given: Sequence[str], scale: int, min_size: int) -> tuple[dict[str, tuple[Pair, ...]], list[str]]:
    """Read ``NAME=FOLDER`` or ``FOLDER``, each as ``srnas evaluate`` does, and say what there is to say of them.

    Args:
        given: The sets; without any the embedded held-out photographs.
        scale: Upscaling factor.
        min_size: Least side of an LR image.

    Raises:
        InputError: If two sets have one name, a name cannot be used, or a folder holds nothing that can be judged.
    """
    if not given:
        photos = embedded_photos("held-out").at_least(least_side(scale, min_size), "the blocks and the SSIM window")
        return {photos.name: make_pairs(photos, scale)}, list(photos.notes)
    named = [_parse(text) for text in given]
    names = [name for name, _ in named]
    twins = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twins:
        raise InputError(f"validation sets must have different names, but got {listed(twins)} twice; give NAME=FOLDER.")
    sets: dict[str, tuple[Pair, ...]] = {}
    notes: list[str] = []
    for name, folder in named:
        pairs = load_pairs(folder, scale, min_size=min_size).as_rgb()
        sets[name] = pairs.pairs
        notes += pairs.notes
    return sets, notes


def _parse(text: str) -> tuple[str, Path]:
    """Return name and folder; a folder that exists may hold ``=`` in its own name."""
    name, equals, folder = text.partition("=")
    if not equals or Path(text).is_dir():
        name, folder = Path(text).absolute().name, text
    if not _NAME.fullmatch(name):
        raise InputError(
            f"a validation set's name must be letters, digits, '.', '_' and '-' (at most 100), but got '{name}'; "
            "give NAME=FOLDER."
        )
    if not folder:
        raise InputError(f"a validation set must have a folder, but got '{text}'; give NAME=FOLDER.")
    return name, Path(folder)
