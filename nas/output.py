"""Images that a command writes: their names, and that they appear whole or not at all."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image as PillowImage

from srnas.nas.photos import listed
from srnas.search_space import InputError


def output_names(names: Sequence[str]) -> dict[str, str]:
    """Return the name of the PNG file for each image of a folder.

    Raises:
        InputError: If two images differ in their suffix only.
    """
    found = {name: PurePosixPath(name).with_suffix(".png").as_posix() for name in names}
    counts = Counter(found.values())
    twins = [name for name, output in found.items() if counts[output] > 1]
    if twins:
        raise InputError(f"images must differ in more than their suffix, but got {listed(twins)}; rename or move some.")
    return found


def check_folder(folder: Path, sources: Iterable[Path]) -> None:
    """Make an output folder, and see that it can be written and holds no source.

    Raises:
        InputError: If it cannot, or if it is or lies in a folder of sources.
    """
    for source in sources:
        if folder.resolve().is_relative_to(source.resolve()):
            raise InputError(f"output must lie outside of '{source}', which is read, but got '{folder}'.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{os.getpid()}"
        aside.touch()
        aside.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which is renamed to ``path`` if all goes well.

    Raises:
        InputError: If it cannot be written; a file that was there is left as it is.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def save_png(image: PillowImage.Image, path: Path) -> None:
    """Write ``image`` to ``path``, whole or not at all.

    Raises:
        InputError: If it cannot be written; a file that was there is left as it is.
    """
    with writing(path) as aside:
        image.save(aside, "PNG")


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"'{path}' must be writable, but {error.strerror or error}; give another place.")
