"""A device that another process measures on: commands end with the reason, and go on when it is free."""

import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from srnas.leaderboard.store.store import Store
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import device_lease, device_share

pytestmark = pytest.mark.usefixtures("brief_latency", "coarse_figures")

HOLD = """
import sys, torch
from srnas.profiling import device_lease
with device_lease(torch.device("cpu")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Return a context in which another process measures, and this one waits for it for a moment only."""
    # Leases of this test's own.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    @contextmanager
    def hold():
        with (
            monkeypatch.context() as impatient,
            subprocess.Popen(
                [sys.executable, "-c", HOLD, "busy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as process,
        ):
            assert process.stdout.readline() == "held\n"
            for module in ("latency", "roofline"):
                impatient.setattr(f"srnas.profiling.{module}.device_lease", partial(device_lease, timeout_s=0.2))
            for module in ("nas.judging.candidate", "profiling.latency"):
                impatient.setattr(f"srnas.{module}.device_share", partial(device_share, timeout_s=0.2))
            yield process
            process.kill()

    return hold


@pytest.fixture
def search(run, workspace, space_file, photo_folder, held_out_folder):
    """Return a function that runs a small search; options given are added."""

    def search(*options):
        given = ("--space", space_file, "--train", photo_folder, "--val", held_out_folder, "--workspace", workspace)
        return run("search", *given, "--device", "cpu", "--iterations", 1, *options)

    return search


def status(workspace):
    """Return the status of the only study's run in MLflow."""
    store = Store(workspace)
    [study] = store.studies()
    return store.client.get_run(store.open_study(study)).info.status


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.slow
def test_a_search_stops_and_goes_on(search, run, hold, workspace):
    assert search("--trials", 1)[0] == 0
    assert status(workspace) == "FINISHED"
    with hold() as holder:
        held = f"process {holder.pid} (-c busy) held it for 0.2 s"
        busy = f"must be free of measurements, but {held}; wait for it or stop it."
        code, out, err = search("--trials", 5)
        assert (code, out) == (2, "")
        assert f"srnas: error: device 'cpu' {busy}" in " ".join(err.split())
        assert status(workspace) == "KILLED"
        assert len(load_study(Workspace(workspace), "small-x2")[2]) == 1

        # Timing the study again ends in the same way, and writes nothing.
        before = contents(workspace)
        given = ("--memory-format", "channels_last", "--device", "cpu", "--workspace", workspace)
        code, out, err = run("retime", "small-x2", *given)
        assert (code, out) == (2, "")
        assert busy in " ".join(err.split())
        assert contents(workspace) == before
        assert len(Store(workspace).studies()) == 1
    code, out, _ = search("--trials", 5)
    assert code == 0
    assert "Front of" in out
    assert status(workspace) == "FINISHED"
    records = load_study(Workspace(workspace), "small-x2")[2]
    # The five human designs of this space come first, the one that was interrupted among them.
    designs = ["EDSR-like", "ESPCN-like", "MAN-like", "PlainUSR-like", "plain-small"]
    assert sorted(record.design for record in records) == designs
    assert all(record.state == "complete" for record in records)
    study = optuna.load_study(study_name="small-x2", storage=RDBStorage(Workspace(workspace).study_url("small-x2")))
    judged = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    assert [trial.number for trial in judged] == [record.number for record in records]
    store = Store(workspace)
    assert sorted(store.rows(store.studies()[0])["trial"]) == [record.number for record in records]


@pytest.mark.slow
def test_a_busy_device_at_the_start_of_a_study(search, hold, workspace):
    with hold() as holder:
        before = contents(workspace)
        code, _, err = search("--trials", 2, "--max-latency-ms", 1000)
        assert (code, f"but process {holder.pid} (-c busy)" in " ".join(err.split())) == (2, True)
        # The smallest network is timed before anything is written.
        assert contents(workspace) == before
        code, _, err = search("--trials", 2)
        assert (code, f"but process {holder.pid} (-c busy)" in " ".join(err.split())) == (2, True)
    assert search("--trials", 2)[0] == 0
    assert [record.number for record in load_study(Workspace(workspace), "small-x2")[2]] == [0, 1]


def test_a_busy_device_is_no_fault_of_a_profile(run, hold, tmp_path):
    nowhere = tmp_path / "none"
    with hold() as holder:
        code, _, err = run("profile", "block", "pa", "--size", "8x8", "--device", "cpu", "--workspace", nowhere)
    assert (code, f"but process {holder.pid} (-c busy)" in " ".join(err.split())) == (2, True)
    assert not nowhere.exists()
