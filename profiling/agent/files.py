"""Files by the hash of their content: sent once, bounded in number and size, gone with the agent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
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
    """A file does not match its name."""


class Files:
    """Content by its SHA-256 in a folder.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def missing(self, digests: list[str]) -> list[str]:
        """Return which of these are not there; those that are will be kept the longest."""
        with self._lock:
            here = set(os.listdir(self.folder))
            for digest in here.intersection(digests):
                os.utime(os.path.join(self.folder, digest))
        return [digest for digest in digests if digest not in here]

    def receive(self, digest: str, stream: BufferedIOBase, size: int, *, is_model: bool) -> None:
        """Read a file of ``size`` bytes.

        Raises:
            RefusedFileError: If it ends early, or its hash is another.
            RefusedModelError: If it is a model that must not be run.
        """
        if not _NAME.fullmatch(digest):
            raise RefusedFileError("a file must be called by its SHA-256 in hexadecimal digits")
        aside = os.path.join(self.folder, f".{digest}.{threading.get_ident()}")
        try:
            found = hashlib.sha256()
            with open(aside, "wb") as file:
                while size:
                    chunk = stream.read(min(size, _CHUNK))
                    if not chunk:
                        raise RefusedFileError("the file must come whole, but it ended early")
                    size -= len(chunk)
                    found.update(chunk)
                    file.write(chunk)
            if found.hexdigest() != digest:
                raise RefusedFileError("the file must have the hash that it is called by")
            if is_model:
                with open(aside, "rb") as file:
                    check_model(file.read())
            with self._lock:
                os.replace(aside, os.path.join(self.folder, digest))
                self._make_room()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)

    def _make_room(self) -> None:
        """Drop what was not asked for the longest."""
        entries = [entry for entry in os.scandir(self.folder) if not entry.name.startswith(".")]
        entries.sort(key=lambda entry: entry.stat().st_mtime)
        size = sum(entry.stat().st_size for entry in entries)
        while len(entries) > _MAX_FILES or size > _MAX_BYTES:
            size -= entries[0].stat().st_size
            os.unlink(entries.pop(0).path)
