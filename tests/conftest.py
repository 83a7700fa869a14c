"""A workspace with a migrated store, small real photographs, a space that trains in a second, and the command."""

import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from PIL import Image

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


@pytest.fixture(autouse=True)
def _seeded():
    """Start every test from the same random numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory):
    from srnas.leaderboard import Store

    folder = tmp_path_factory.mktemp("template")
    Store(folder)
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path, _migrated, monkeypatch):
    """Return a folder with an empty MLflow store: migrating one takes seconds, copying it does not."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(_migrated, folder / "mlflow.db")
    return folder


@pytest.fixture
def brief_latency(monkeypatch):
    """Measure latency as always, but for a shorter time."""
    from srnas.profiling import CPU_PROTOCOL

    brief = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.05, burst_ms=1.0, max_time_s=0.0)
    monkeypatch.setattr("srnas.profiling.latency.CPU_PROTOCOL", brief)
    monkeypatch.setattr("srnas.profiling.roofline._TIME_S", 0.0)


def crops(folder, part):
    """Write four 48x64 crops of an embedded photograph into a folder."""
    from srnas.nas.photos import embedded_photos

    pixels = embedded_photos(part).photos[0].pixels
    for i in range(4):
        Image.fromarray(pixels[100 * i : 100 * i + 48, 150:214]).save(folder / f"crop{i}.png")
    return folder


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """Return a folder of small training photographs."""
    return crops(tmp_path_factory.mktemp("photos"), "train")


@pytest.fixture(scope="session")
def held_out_folder(tmp_path_factory):
    """Return a folder of small held-out photographs."""
    return crops(tmp_path_factory.mktemp("held"), "held-out")


@pytest.fixture
def space_file(tmp_path):
    """Return the path of a small space."""
    path = Path(tmp_path, "small.toml")
    path.write_text(SPACE)
    return path


@pytest.fixture
def search_request(workspace, photo_folder, held_out_folder, space_file):
    """Return a search of six candidates of the small space, none of which is stopped early."""
    from srnas.nas.preparation import SearchRequest

    return SearchRequest(
        workspace=workspace,
        space=str(space_file),
        trials=6,
        train=photo_folder,
        validation=held_out_folder,
        device="cpu",
        rungs="none",
    )


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs the command and returns exit code, standard output and standard error."""
    from srnas.nas.cli import main

    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["srnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    yield run
    signal.signal(signal.SIGTERM, before)
