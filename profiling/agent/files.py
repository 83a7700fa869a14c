"""Files by the hash of their content: sent once, bounded in number and size, gone with the agent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from io import BufferedIOBase

from srnas.profiling.agent.models import check_model

MAX_FILE_BYTES = 256 * 2**20
# A model is read whole to be checked.
MAX_MODEL_BYTES = 64 * 2**20
_MAX_BYTES = 2**30
_MAX_FILES = 512
_CHUNK = 2**16
_NAME = re.compile(r"[0-9a-f]{64}")


class RefusedFileError(ValueError):
    """A file does not match its name, or there is no room for it."""


class Files:
    """Content by its SHA-256 in a folder.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._wanted: set[str] = set()

    def missing(self, digests: list[str]) -> list[str]:
        """Return which of these are not there; none of them is dropped until others are asked for.

        Raises:
            RefusedFileError: If they are too many.
        """
        wanted = set(digests)
        if len(wanted) > _MAX_FILES:
            raise RefusedFileError(
                f"a measurement must need at most {_MAX_FILES} files, but {len(wanted)} are asked for; time fewer "
                "networks at once"
            )
        with self._lock:
            self._wanted = wanted
            here = set(os.listdir(self.folder))
            for digest in here & wanted:
                os.utime(os.path.join(self.folder, digest))
        return [digest for digest in digests if digest not in here]

    def receive(self, digest: str, stream: BufferedIOBase, size: int, *, is_model: bool) -> None:
        """Read a file of ``size`` bytes.

        Raises:
            RefusedFileError: If it ends early, its hash is another, or there is no room for it.
            RefusedModelError: If it is a model that must not be run.
        """
        if not _NAME.fullmatch(digest):
            raise RefusedFileError("a file must be called by its SHA-256 in hexadecimal digits")
        aside = os.path.join(self.folder, f".{digest}.{threading.get_ident()}")
        chunks = _chunks(stream, size)
        try:
            found = hashlib.sha256()
            with open(aside, "wb") as file:
                for chunk in chunks:
                    found.update(chunk)
                    file.write(chunk)
            if found.hexdigest() != digest:
                raise RefusedFileError("the file must have the hash that it is called by")
            if is_model:
                with open(aside, "rb") as file:
                    check_model(file.read())
            with self._lock:
                self._make_room(size, digest)
                os.replace(aside, os.path.join(self.folder, digest))
        except OSError:
            # Who still sends would not see an answer.
            for _ in chunks:
                pass
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)

    def _make_room(self, size: int, digest: str) -> None:
        """Drop what was not asked for the longest, until there is room for one more file of so many bytes.

        If that one was last asked for, what was asked for with it stays.

        Raises:
            RefusedFileError: If all that is left was last asked for.
        """
        entries = [entry for entry in os.scandir(self.folder) if not entry.name.startswith(".")]
        kept = self._wanted if digest in self._wanted else frozenset()
        idle = [entry for entry in entries if entry.name not in kept]
        idle.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        number, size = len(entries) + 1, size + sum(entry.stat().st_size for entry in entries)
        while number > _MAX_FILES or size > _MAX_BYTES:
            if not idle:
                raise RefusedFileError(
                    f"a measurement must need at most {_MAX_FILES} files of at most {_MAX_BYTES} bytes together; time "
                    "fewer networks at once, or a smaller input"
                )
            oldest = idle.pop()
            number, size = number - 1, size - oldest.stat().st_size
            os.unlink(oldest.path)


def _chunks(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, _CHUNK))
        if not chunk:
            raise RefusedFileError("the file must come whole, but it ended early")
        size -= len(chunk)
        yield chunk
