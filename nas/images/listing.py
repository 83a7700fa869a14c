"""The images below a folder: links are followed, and whatever is skipped is reported."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from srnas.nas.errors import listed
from srnas.search_space import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Folders that systems and tools put beside photographs; all others of theirs begin with a dot.
_TOOLS = frozenset(("__macosx", "@eadir", "$recycle.bin", "lost+found", "system volume information", "#recycle"))


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    Attributes:
        folder: The folder.
        paths: Its images, sorted.
        notes: What was left out, and why.
    """

    folder: Path
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the paths below the folder, with slashes."""
        return [path.relative_to(self.folder).as_posix() for path in self.paths]


@dataclass
class _Left:
    """What is left out, by why."""

    hidden: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def notes(self, where: str) -> Iterator[str]:
        for names, what in (
            (self.hidden, "hidden or system files or folders"),
            (self.dangling, "links that lead nowhere"),
            (self.seen, "links to folders that are read already"),
            (self.unreadable, "files or folders that cannot be read"),
        ):
            if names:
                yield f"{where}: skipped {len(names)} {what} ({listed(sorted(names))})"


def list_images(folder: Path) -> Listing:
    """Return the files below a folder that end as images do, in folders that links lead to as well.

    Raises:
        InputError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"a folder of photographs must exist, but got '{folder}'.")
    left = _Left()
    paths = tuple(sorted(_walk(folder, folder, {os.path.realpath(folder)}, left)))
    notes = tuple(left.notes(folder.absolute().name))
    if not paths:
        more = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(f"folder '{folder}' must hold images ({', '.join(SUFFIXES)}), but it holds none{more}.")
    return Listing(folder, paths, notes)


def _walk(folder: Path, root: Path, seen: set[str], left: _Left) -> Iterator[Path]:
    def name(path: Path) -> str:
        return path.relative_to(root).as_posix()

    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        left.unreadable.append(name(folder))
        return
    for entry in entries:
        path = folder / entry.name
        is_image = path.suffix.lower() in SUFFIXES
        try:
            is_folder = entry.is_dir()
            if entry.name.startswith(".") or entry.name.lower() in _TOOLS:
                left.hidden += [name(path)] if is_folder or is_image else []
            elif is_folder:
                # Each folder once: a link may lead to one that it lies in.
                real = os.path.realpath(path)
                if real in seen:
                    left.seen.append(name(path))
                else:
                    seen.add(real)
                    yield from _walk(path, root, seen, left)
            elif is_image and entry.is_file():
                yield path
            elif entry.is_symlink() and not path.exists():
                left.dangling.append(name(path))
        except OSError:
            left.unreadable.append(name(path))
