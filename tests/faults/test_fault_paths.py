"""Workspaces that are moved, copied, mounted read-only, and of names that mean something to URLs and shells."""

import json
import os
import shlex
import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from handmade import study, trial

from srnas.leaderboard.store.files import artifacts_here, artifacts_uri, is_local
from srnas.leaderboard.store.sqlite import sqlite_url
from srnas.leaderboard.store.store import Store
from srnas.nas.study.storage import file_url
from srnas.nas.study.stored import StoredStudy

KEY = "5b15eba89af9"
ODD = "a b?c=1#d%20é&'x"


def locations(workspace):
    with closing(sqlite3.connect(workspace / "mlflow.db")) as store:
        asked = "SELECT artifact_location FROM experiments UNION SELECT artifact_uri FROM runs"
        return [uri for (uri,) in store.execute(asked)]


@pytest.mark.usefixtures("brief_latency")
def test_a_workspace_of_an_odd_name_that_was_moved_works(run, ws, tmp_path):
    odd = tmp_path / ODD
    ws.rename(odd)
    place = ("--workspace", odd)
    code, out, err = run("pick", "--latency-ms", 1, *place)
    assert code == 0, err
    commands = [line for line in out.splitlines() if "srnas " in line]
    assert len(commands) == 4
    assert all(shlex.split(line)[-2:] == ["--workspace", str(odd)] for line in commands)
    assert run("leaderboard", "compare", 0, 1, *place)[0] == 0
    exported = run("export", KEY, "--format", "safetensors", "--out", "x.safetensors", *place)
    assert exported[0] == 0, exported
    judged = run("evaluate", "--trial", 1, "--data", "held", "--json", *place)
    # What the earlier version printed; it was judged before it was folded.
    assert json.loads(judged[1])["mean"]["psnr_y_db"] == pytest.approx(39.29336756835282, abs=1e-3)
    assert [row["study"] for row in json.loads(run("studies", "--json", *place)[1])] == ["small-x2"]
    # What MLflow shows by itself lies there as well as soon as something is written, and nothing lies beside.
    Store(odd).put_right()
    assert all(uri.startswith(artifacts_uri(odd)) for uri in locations(odd))
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("a b") and path != odd]


def test_what_is_written_into_a_copy_does_not_reach_the_original(ws, unchanged):
    Store(ws)
    copy = ws.with_name("copy")
    shutil.copytree(ws, copy)
    with unchanged(ws):
        store = Store(copy)
        [record] = store.studies()
        run_id = store.write_trial(store.open_study(record), record, trial(7, 30.0).model_copy(update={"study": "x"}))
        assert store.trial(run_id).number == 7
    assert (copy / "artifacts" / run_id / "artifacts" / "trial.json").is_file()


def test_a_copy_that_another_process_holds_is_read_where_it_is(ws):
    # MLflow's paths cannot be put right: they lead to '/before/ws', which is not there.
    with closing(sqlite3.connect(ws / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        store = Store(ws)
        store.put_right()
        [record] = store.studies()
        assert [store.trial(run_id).number for run_id in store.rows(record)["run_id"]] == [0, 1, 2]
    assert all(uri.startswith("file:///before/ws/") for uri in locations(ws))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/artifacts/0123456789abcdef0123456789abcdef/artifacts",
        "mlflow-artifacts:/1/0123456789abcdef0123456789abcdef/artifacts",
        "file:///elsewhere/0123456789abcdef0123456789abcdef/files",
    ],
)
def test_artifacts_that_lie_in_no_workspace_stay_where_they_are(uri):
    assert artifacts_here(uri, Path("/ws")) == uri


def test_artifacts_of_an_experiment_of_mlflows_own_lie_in_its_folder():
    run = "0123456789abcdef0123456789abcdef/artifacts"
    assert artifacts_here(f"file:///old/artifacts/x/artifacts/0/{run}", Path("/ws")) == f"file:///ws/artifacts/0/{run}"
    assert artifacts_here(f"/old/artifacts/{run}", Path("/ws")) == f"file:///ws/artifacts/{run}"


def test_stores_of_odd_names_lie_in_their_folder_only(tmp_path, copied_stores, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    odd = tmp_path / ODD
    StoredStudy.create(file_url(odd / "studies" / "s.db"), "s")
    assert StoredStudy.find(file_url(odd / "studies" / "s.db"), "s") is not None
    assert [path.name for path in tmp_path.iterdir()] == [ODD]
    # An unquoted URL would end at the question mark.
    assert sqlite_url(odd / "x.db").count("?") == file_url(odd / "x.db").count("?") == 0


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_tracking_uri_is_none(ws, monkeypatch, value, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    assert is_local()
    store = Store(ws)
    record = study().model_copy(update={"scale": 3})
    run_id = store.write_trial(store.open_study(record), record, trial(0, 30.0))
    assert (ws / "artifacts" / run_id / "artifacts" / "trial.json").is_file()
    assert not (tmp_path / "mlruns").exists()


@contextmanager
def as_nobody(folder):
    """Take the right to write below a folder, from root as well."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    parents = [path for path in folder.parents if not path.stat().st_mode & 0o001]
    modes = [path.stat().st_mode for path in parents]
    for path in parents:
        path.chmod(0o711)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for path, mode in zip(parents, modes, strict=True):
            path.chmod(mode)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.usefixtures("brief_latency")
def test_a_read_only_workspace_is_read(run, ws, tmp_path, unchanged):
    place = ("--workspace", ws)
    reading = [
        ("studies", *place),
        ("leaderboard", *place),
        ("pick", "--latency-ms", 1, *place),
        ("leaderboard", "compare", 0, 1, *place),
        ("evaluate", "--trial", 1, "--data", "held", *place),
    ]
    with unchanged(ws), as_nobody(ws):
        said = {words[0]: run(*words) for words in reading}
        written = run("studies", "rm", "small-x2", "--yes", *place)
    assert [(words, answer) for words, answer in said.items() if answer[0]] == []
    assert written[0] == 2
    assert "must be writable" in written[2]
