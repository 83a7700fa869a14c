"""A workspace with a migrated store, small real photographs, a space that trains in a second, and the command."""

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import sys
from contextlib import closing, contextmanager
from functools import cache
from multiprocessing import forkserver
from pathlib import Path

import alembic.util
import brief
import fresh
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from matplotlib.figure import Figure
from PIL import Image
from sqlalchemy import event
from sqlalchemy.engine import Engine

SPACE = """
channels = [6, 12]
positions = 2
trunk = ["none", "conv"]
attention = ["none", "pa", "mlka", { name = "lia", features = 2 }]
[defaults]
latency_output = [32, 32]
patch = 8
batch = 2
iterations = 12
"""


# Tests run side by side: two threads each would wait for one another.
torch.set_num_threads(1)

# What passes once passes always.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_sessionfinish():
    """End the server of forked programs, and wait for it: the time that it took is this process's then."""
    forkserver._forkserver._stop()


@pytest.fixture(autouse=True)
def _seeded():
    """Start every test from the same random numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once():
    """Read each step of a migration once: MLflow and Optuna read dozens of files whenever a store is opened."""
    read = alembic.util.load_python_file
    once = cache(read)

    def load(folder, name):
        return once(str(folder), name) if Path(folder).name == "versions" else read(folder, name)

    with pytest.MonkeyPatch.context() as context:
        context.setattr("alembic.util.load_python_file", load)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Return a function that returns a folder of a name, filled once for all test processes and only read then."""
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "shared"
    root.mkdir(exist_ok=True)

    def shared(name, fill):
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return shared


@contextmanager
def at_each_statement(called):
    """Call a function before every statement of any database."""
    event.listen(Engine, "before_cursor_execute", called)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", called)


@pytest.fixture(name="at_each_statement")
def _at_each_statement():
    """Return the context."""
    return at_each_statement


@pytest.fixture(scope="session")
def _migrated(shared):
    def migrate(folder):
        from srnas.leaderboard.store.store import Store

        there = []
        with (
            pytest.MonkeyPatch.context() as context,
            at_each_statement(lambda *_: there.append((folder / "mlflow.db").exists())),
        ):
            context.delenv("MLFLOW_TRACKING_URI", raising=False)
            Store(folder)
        # Migrating takes seconds: whether the file was there is written down for the test that asks.
        (folder / "there.json").write_text(json.dumps(there))

    return shared("migrated", migrate) / "mlflow.db"


@pytest.fixture
def migrated(_migrated):
    """Return the file of an empty MLflow store."""
    return _migrated


@pytest.fixture
def workspace(tmp_path, _migrated, monkeypatch):
    """Return a folder with an empty MLflow store: migrating one takes seconds, copying it does not."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(_migrated, folder / "mlflow.db")
    return folder


@pytest.fixture
def copied_stores(_migrated, monkeypatch):
    """Create stores in this process as copies of the migrated one."""
    copy = lambda uri, _: shutil.copy(_migrated, uri.removeprefix("sqlite:///"))  # noqa: E731
    monkeypatch.setattr("srnas.leaderboard.store.files.create_database", copy)


@pytest.fixture
def brief_latency(monkeypatch):
    """Measure latency as always, but for a shorter time."""
    brief.shorten(monkeypatch.setattr)


@pytest.fixture
def coarse_figures(monkeypatch):
    """Draw figures as always, but coarsely and with nothing moved aside: to lay text out takes most of a second."""
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **given: save(figure, path, **given | {"dpi": 20}))
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda *_: None)


@pytest.fixture
def few_draws(monkeypatch):
    """Draw less often for networks that a nearly exhausted space does not have."""
    monkeypatch.setattr("srnas.nas.strategy.front_strategy._MAX_TRIES", 2)


@pytest.fixture
def forked_pools(monkeypatch):
    """Fork the processes of pools where the libraries are imported already."""
    real = multiprocessing.get_context
    context = lambda method=None: fresh.CONTEXT if method == "spawn" else real(method)  # noqa: E731
    monkeypatch.setattr("multiprocessing.get_context", context)


def crops(folder, part):
    """Write four 48x64 crops of an embedded photograph into a folder."""
    from srnas.nas.images.photos import embedded_photos

    pixels = embedded_photos(part).photos[0].pixels
    for i in range(4):
        Image.fromarray(pixels[100 * i : 100 * i + 48, 150:214]).save(folder / f"crop{i}.png")


@pytest.fixture(scope="session")
def photo_folder(shared):
    """Return a folder of small training photographs."""
    return shared("photos0", lambda folder: crops(folder, "train"))


@pytest.fixture(scope="session")
def held_out_folder(shared):
    """Return a folder of small held-out photographs."""
    return shared("held0", lambda folder: crops(folder, "held-out-before"))


@pytest.fixture
def space_file(tmp_path):
    """Return the path of a small space."""
    path = Path(tmp_path, "small.toml")
    path.write_text(SPACE)
    return path


@pytest.fixture
def search_request(workspace, photo_folder, held_out_folder, space_file, few_draws, coarse_figures):
    """Return a search of six candidates of the small space, none of which is stopped early."""
    from srnas.nas.run.request import SearchRequest

    return SearchRequest(
        workspace=workspace,
        space=str(space_file),
        trials=6,
        train=photo_folder,
        validation=held_out_folder,
        device="cpu",
        rungs="none",
        workers=1,
    )


@pytest.fixture
def launched(shared, _migrated, brief_latency):
    """Return a function that is like ``launch`` in an empty workspace: equal searches are run once, and copied.

    The paths in the outcome are those of the search that was run.
    """
    from srnas.nas.judging.observer import Observer
    from srnas.nas.run.launch import launch

    def launched(request):
        space = Path(request.space)
        same = request.changed(workspace=Path("runs"), space=f"{space.name} {space.read_text()}")

        def search(folder):
            (folder / "runs").mkdir()
            shutil.copy(_migrated, folder / "runs")
            shutil.copy(space, folder)
            torch.manual_seed(0)
            outcome = launch(request.changed(workspace=folder / "runs", space=str(folder / space.name)), Observer())
            (folder / "outcome").write_bytes(pickle.dumps(outcome))

        made = shared(f"study-{hashlib.sha256(repr(same).encode()).hexdigest()[:12]}", search)
        shutil.copytree(made / "runs", request.workspace, dirs_exist_ok=True)
        with closing(sqlite3.connect(request.workspace / "mlflow.db")) as store:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                moved = (str(made / "runs"), str(request.workspace))
                store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", moved)
            store.commit()
        return pickle.loads((made / "outcome").read_bytes())

    return launched


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs the command and returns exit code, standard output and standard error.

    A search has one worker, which is this process.
    """
    from srnas.nas.cli import main

    monkeypatch.setenv("SRNAS_WORKERS", "1")

    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["srnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    yield run
    signal.signal(signal.SIGTERM, before)
