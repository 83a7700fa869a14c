"""Files that a command writes: their names, and that they appear whole or not at all."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image as PillowImage

from srnas.nas.errors import DiskFullError, listed
from srnas.search_space import InputError


def output_names(names: Sequence[str], suffixes: Sequence[str] = (".png",)) -> dict[str, str]:
    """Return the name of the PNG file for each image of a folder.

    Args:
        names: Names of the images.
        suffixes: Suffixes of all files that are written for an image; the first is that of its output.

    Raises:
        InputError: If a file would be written for two images.
    """
    files = {name: [PurePosixPath(name).with_suffix(suffix).as_posix() for suffix in suffixes] for name in names}
    counts = Counter(file for written in files.values() for file in written)
    twins = [name for name, written in files.items() if any(counts[file] > 1 for file in written)]
    if twins:
        raise InputError(
            f"images must differ in more than their suffix, but the outputs of {listed(twins)} would be one file; "
            "rename or move some."
        )
    return {name: written[0] for name, written in files.items()}


def check_study_name(name: str) -> str:
    """Return the name of a study, if files that are called after it lie where they are put.

    Raises:
        InputError: If it leads elsewhere.
    """
    if "/" in name or "\\" in name or name.startswith("."):
        raise InputError(f"a study's name must not lead to another folder, but got '{name}'.")
    return name


def check_new(paths: Sequence[Path]) -> None:
    """Raise ``InputError`` if any of these files exists."""
    existing = [str(path) for path in paths if path.exists()]
    if existing:
        verb = "do" if len(existing) > 1 else "does"
        raise InputError(f"an output must not exist yet, but {listed(existing)} {verb}; --overwrite replaces files.")


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
        # Permissions alone do not tell whether a file system takes a file.
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
    # Beside the file, since renaming is atomic only within a file system; by process, since several may write it.
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it.

    Raises:
        DiskFullError: If it cannot be written; a file that was there is left as it is.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            # A full disk needs the room of what was written in part.
            aside.unlink(missing_ok=True)
        raise DiskFullError(
            f"'{path.parent}' must have room for {len(content) / 2**20:.1f} MiB, but {error.strerror or error}; free "
            "some and run the same command again: it continues from here."
        ) from None


def save_png(image: PillowImage.Image, path: Path, profile: bytes | None = None) -> None:
    """Write ``image`` to ``path``, whole or not at all, with an ICC profile if one is given.

    Raises:
        InputError: If it cannot be written; a file that was there is left as it is.
    """
    with writing(path) as aside:
        image.save(aside, "PNG", icc_profile=profile)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"'{path}' must be writable, but {error.strerror or error}; give another place.")
