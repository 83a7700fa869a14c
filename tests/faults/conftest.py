"""What tests of faults share: a small workspace, photographs, and the comparison of a tree before and after."""

import hashlib
import sqlite3
import zipfile
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WORKSPACE = Path(__file__).parents[1] / "nas" / "before" / "workspace.zip"


def tree(folder):
    """Return what lies below a folder: files by the hash of what they hold, and folders."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def unchanged():
    """Return a context in which a folder must stay as it is, to the byte."""

    @contextmanager
    def unchanged(folder):
        before = tree(folder)
        yield
        assert tree(folder) == before

    return unchanged


@pytest.fixture
def ws(tmp_path, monkeypatch):
    """Return a finished study of three trials, ``small-x2``, in the folder ``ws`` of the working directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(WORKSPACE) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "ws"


@pytest.fixture
def edit():
    """Return a function that runs a statement on a SQLite file."""

    def edit(file, statement, *values):
        with closing(sqlite3.connect(file)) as store:
            changed = store.execute(statement, values).rowcount
            store.commit()
        assert changed
        return changed

    return edit


@pytest.fixture
def photo():
    """Return a function that writes a photograph, and returns its pixels: flat if it has a value, else noise."""

    def photo(path, width=32, height=24, value=None, seed=0, **saved):
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (height, width, 3)
        random = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        pixels = random if value is None else np.full(shape, value, np.uint8)
        Image.fromarray(pixels).save(path, **saved)
        return pixels

    return photo
