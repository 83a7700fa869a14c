"""SQLite files: what their URLs are, and that they appear whole. MLflow is not loaded here."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL


def sqlite_url(file: Path) -> str:
    """Return SQLAlchemy's URL of a SQLite file, whatever stands in its path."""
    database = str(file.resolve())
    url = URL.create("sqlite", database=database).render_as_string()
    # MLflow makes the folder of a URL that starts as usual, and takes its escapes for part of the name.
    return url if url.endswith(database) else url.replace("sqlite:", "sqlite+pysqlite:", 1)


def has_content(path: Path) -> bool:
    """Return whether a file is there in which anything was written: SQLite makes an empty one when it is opened."""
    return path.is_file() and path.stat().st_size > 0


@contextlib.contextmanager
def made_aside(path: Path) -> Iterator[Path]:
    """Give a path to make a SQLite file at, which is renamed to ``path`` when it is whole.

    Tables are made one after another, each for itself: whoever is killed between two of them would leave a file that
    nobody can use. What another maker left aside is removed; only one may be at work.
    """
    aside = path.with_name(f".{path.name}.making")
    for end in ("", "-journal", "-wal", "-shm"):
        # A journal would be applied to whichever file has its name.
        aside.with_name(aside.name + end).unlink(missing_ok=True)
    yield aside
    aside.replace(path)
