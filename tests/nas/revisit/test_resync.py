"""MLflow lost or damaged: what the files of the studies hold is written again, once."""

import json
import shutil
import warnings

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from srnas.leaderboard.store.store import Store
from srnas.nas.revisit.resync import _contents
from srnas.nas.run.outcome import FILE_ENDS
from srnas.nas.study.owner import Owner
from srnas.nas.study.storage import open_storage
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace

NAME = "small-x2"
NOTHING = {"partial": 0, "written": 0, "timings": 0, "replicates": 0, "confidence": 0, "members": 0, "files": 0}


@pytest.fixture
def searched(search_request, launched):
    """Return the workspace of a study of three candidates, trained again with another seed where they may win."""
    launched(search_request.changed(trials=3, replicates=1))
    return search_request.workspace


@pytest.fixture
def resync(run, searched):
    """Return a function that puts MLflow in order and returns what it did with the only study."""

    def resync(workspace=searched):
        code, out, err = run("leaderboard", "resync", "--workspace", workspace, "--json")
        assert code == 0, err
        [row] = json.loads(out)
        return row

    return resync


def rows(run, workspace):
    found = json.loads(run("leaderboard", "--workspace", workspace, "--json")[1])
    return [{key: value for key, value in row.items() if key != "run_id"} for row in found]


def parent(store):
    [study] = store.studies()
    return store.client.get_run(store.find_study(study)), study


@pytest.mark.slow
@pytest.mark.usefixtures("copied_stores")
@pytest.mark.parametrize("left", [b"", b"no database" * 1000], ids=["lost", "damaged"])
def test_a_lost_or_damaged_file_is_made_anew(run, searched, resync, tmp_path, left):
    # Beside the old one, whose file MLflow keeps open in this process.
    moved = tmp_path / "moved"
    for folder in ("studies", "cache"):
        shutil.copytree(searched / folder, moved / folder)
    if left:
        (moved / "mlflow.db").write_bytes(left)
    was, study = parent(Store(searched))
    replicates, before = len(Store(searched).replicates(study)), rows(run, searched)
    if not left:
        code, _, err = run("leaderboard", "--workspace", moved)
        assert (code, "mlflow.db' must exist, but it does not; run 'srnas leaderboard resync'" in err) == (2, True)
    row = resync(Workspace(moved))
    assert (row["trials"], row["present"], row["written"], row["replicates"]) == (3, 0, 3, replicates)
    assert (row["files"], row["members"]) == (4, sum(one["front"] for one in before))
    assert rows(run, moved) == before
    assert [path.read_bytes() for path in moved.glob("mlflow.db.damaged*")] == ([left] if left else [])
    store = Store(moved)
    now, _ = parent(store)
    assert (now.data.metrics, now.info.status) == (was.data.metrics, "FINISHED")
    names = {found.path for found in store.client.list_artifacts(now.info.run_id)}
    assert names == {f"{NAME}{end}" for end in FILE_ENDS}
    assert len(store.client.get_metric_history(now.info.run_id, "hypervolume")) == len(
        Store(searched).client.get_metric_history(was.info.run_id, "hypervolume")
    )
    assert len(store.replicates(study)) == replicates > 0
    assert resync(Workspace(moved)) == row | NOTHING | {"present": 3}


def test_what_is_lost_or_half_there_is_written_once(run, searched, resync):
    before, store = rows(run, searched), Store(searched)
    ran, study = parent(store)
    lost, cut, bare = (store.rows(study)["run_id"][number] for number in range(3))
    store.client.delete_run(lost)
    store.client.set_terminated(cut, "KILLED")
    shutil.rmtree(searched / "artifacts" / bare)
    row = resync()
    assert (row["present"], row["partial"], row["written"]) == (0, 2, 3)
    assert rows(run, searched) == before
    assert parent(store)[0].info.run_id == ran.info.run_id
    assert resync() == row | NOTHING | {"present": 3}


def test_another_timing_of_the_front_is_written_once(run, searched, resync):
    stored = StoredStudy.find(Workspace(searched).study_url(NAME), NAME)
    joint = stored.snapshot().joint
    stored.keep_joint(joint.model_copy(update={"ended_ms": joint.ended_ms + 1}))
    row = resync()
    assert (row["present"], row["written"], row["timings"]) == (3, 0, len(joint.networks))
    assert {one["timed_together_ms"] for one in rows(run, searched)} - {None} == {joint.ended_ms + 1}
    assert resync() == row | NOTHING


def test_a_study_whose_own_run_is_lost_gets_its_trials_below_the_new_one(searched, resync):
    store = Store(searched)
    ran, study = parent(store)
    replicates = len(store.replicates(study))
    StoredStudy.find(Workspace(searched).study_url(NAME), NAME).study.set_user_attr("total", 9)
    store.client.delete_run(ran.info.run_id)
    assert resync()["partial"] == 3 + replicates
    now, _ = parent(store)
    runs = [store.client.get_run(run_id) for run_id in store.rows(study)["run_id"]]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {now.info.run_id}
    # The study is paused: more trials are asked for.
    assert now.info.status == "KILLED"
    assert resync()["written"] == 0


def test_runs_of_trials_that_are_not_in_the_study_are_left_and_said(run, searched, resync):
    _, study, [first, *_] = load_study(Workspace(searched), NAME)
    store = Store(searched)
    stray = store.write_trial(parent(store)[0].info.run_id, study, first.model_copy(update={"number": 77}))
    assert resync()["strays"] == [77]
    assert store.client.get_run(stray).info.lifecycle_stage == "active"
    code, out, _ = run("leaderboard", "resync", "--workspace", searched)
    assert code == 0
    assert "runs of trials that are not in the study are kept: #77" in out


def test_a_study_that_is_not_started_or_still_worked_on_is_skipped(run, searched):
    opened = StoredStudy.find(Workspace(searched).study_url(NAME), NAME).study
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Heartbeat of storage")
        opened.ask().set_user_attr("owner", Owner.this().plain())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.create_study(
            storage=open_storage(Workspace(searched).study_url("bare")),
            study_name="bare",
            directions=["maximize", "minimize"],
        )
    code, out, _ = run("leaderboard", "resync", "--workspace", searched, "--json")
    assert code == 0
    assert [(row["study"], row["skipped"]) for row in json.loads(out)] == [
        ("bare", "it has not started yet"),
        (NAME, "its workers are alive and write it"),
    ]
    assert "it has not started yet" in " ".join(run("leaderboard", "resync", "--workspace", searched)[1].split())


def test_a_study_is_read_at_one_moment(searched, monkeypatch):
    read, seen = StoredStudy.snapshot, []
    monkeypatch.setattr(StoredStudy, "snapshot", lambda stored: seen.append(stored.name) or read(stored))
    [(row, outcome)] = _contents(Workspace(searched), None, None)
    assert (seen, row.trials) == ([NAME], len(outcome.records))


def test_what_cannot_be_resynced(run, searched, tmp_path):
    before = (searched / "mlflow.db").stat().st_mtime_ns
    broken = searched / "studies" / "broken.db"
    broken.write_bytes(b"no database" * 1000)
    for options, said in (
        (("--study", "smal-x2"), "unknown study 'smal-x2'. Did you mean 'small-x2'?"),
        ((), f"'{broken}' must hold study 'broken', but it cannot be read"),
        (("--study", "broken"), f"'{broken}' must hold study 'broken', but it cannot be read"),
        (("--workspace", tmp_path / "none"), "a workspace must exist, but got"),
        (("--workspace", tmp_path), "must hold a study, but it holds none"),
    ):
        code, out, err = run("leaderboard", "resync", "--workspace", searched, *options)
        assert (code, out) == (2, "")
        assert said in err
        assert err.strip().count("\n") == 0
    assert (searched / "mlflow.db").stat().st_mtime_ns == before
    assert run("leaderboard", "resync", "--workspace", searched, "--study", NAME)[0] == 0
