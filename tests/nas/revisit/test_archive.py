"""Studies as files: listed, exported, imported and removed."""

import errno
import itertools
import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from handmade import quality
from safetensors.torch import load_file, save
from simulated import run_simulated

from srnas.leaderboard.rank.front import front_numbers
from srnas.leaderboard.record.trials import Replicate
from srnas.leaderboard.store.answering import StoreLostError
from srnas.nas.revisit.archive import export_study, import_study, list_studies, remove_study
from srnas.nas.revisit.bundle import bundle_of
from srnas.nas.revisit.resync import write_study
from srnas.nas.run.outcome import summarise
from srnas.nas.study.claims import Claim
from srnas.nas.study.storage import critical, open_storage
from srnas.nas.study.stored import StoredStudy
from srnas.nas.training.loop import build_seeded
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError
from srnas.search_space.checkpoints import load_network


def test_studies_are_listed_moved_and_removed(run, workspace, space_file, tmp_path, simulated):
    url = Workspace(workspace).study_url("shared")
    run_simulated(url, workspace, "shared", space_file, 4, 0)
    [row] = list_studies(Workspace(workspace))
    assert (row.study, row.state, row.workers, row.trials, row.total) == ("shared", "complete", 0, 4, 4)
    assert row.hypervolume > 0
    claim = simulated(9).search.claims.claim()
    assert isinstance(claim, Claim)
    assert list_studies(Workspace(workspace))[0].state == "running"
    with pytest.raises(InputError, match="no worker of study 'shared' must be alive, but 1 are"):
        remove_study(Workspace(workspace), "shared")
    simulated(4).search.claims.release(claim)

    code, out, _ = run("studies", "--workspace", workspace)
    assert code == 0
    assert "shared" in out
    assert "4/4" in out
    assert json.loads(run("studies", "--workspace", workspace, "--json")[1])[0]["trials"] == 4
    file = tmp_path / "shared.study"
    assert run("studies", "export", "shared", file, "--workspace", workspace)[0] == 0
    assert "must not exist yet" in run("studies", "export", "shared", file, "--workspace", workspace)[2]
    assert "there must be no study 'shared' yet" in run("studies", "import", file, "--workspace", workspace)[2]
    assert run("studies", "rm", "shared", "--yes", "--workspace", workspace)[0] == 0
    assert list_studies(Workspace(workspace)) == []
    assert not list((workspace / "studies").glob("shared*.db"))
    assert run("studies", "import", file, "--workspace", workspace)[0] == 0
    [back] = list_studies(Workspace(workspace))
    assert replace(back, total=4) == row
    assert len(load_board(Workspace(workspace), "shared").rows) == 4
    assert "study 'none'" in run("studies", "rm", "none", "--yes", "--workspace", workspace)[2]
    assert (
        "must be a file of 'srnas studies export'" in run("studies", "import", space_file, "--workspace", workspace)[2]
    )


@pytest.mark.usefixtures("copied_stores")
def test_a_study_moves_to_another_storage(workspace, space_file, tmp_path):
    run_simulated(Workspace(workspace).study_url("shared"), workspace, "shared", space_file, 3, 0)
    export_study(Workspace(workspace), "shared", tmp_path / "file")
    other = f"sqlite:///{tmp_path / 'all.db'}"
    assert import_study(Workspace(tmp_path), tmp_path / "file", other) == ("shared", 0)
    moved = StoredStudy.find(Workspace(tmp_path).study_url("shared", other), "shared").snapshot()
    before = StoredStudy.find(Workspace(workspace).study_url("shared"), "shared").snapshot()
    assert moved.records == before.records
    assert [row.study for row in list_studies(Workspace(tmp_path), other)] == ["shared"]
    assert summarise(moved).name == "shared"
    optuna.delete_study(study_name="shared", storage=open_storage(other))


@pytest.mark.usefixtures("copied_stores")
def test_an_interrupted_import_into_a_database_leaves_no_part_of_a_study(
    workspace, space_file, tmp_path, monkeypatch, at_each_statement
):
    run_simulated(Workspace(workspace).study_url("shared"), workspace, "shared", space_file, 3, 0)
    export_study(Workspace(workspace), "shared", tmp_path / "file")
    other, place = f"sqlite:///{tmp_path / 'all.db'}", Workspace(tmp_path)

    def interrupt(connection, cursor, statement, *_):
        if statement.startswith("INSERT INTO trials") and next(numbers) == 1:
            raise KeyboardInterrupt

    for is_killed in (False, True):
        numbers = itertools.count()
        with monkeypatch.context() as context, at_each_statement(interrupt):
            if is_killed:
                context.setattr(optuna, "delete_study", lambda **_: None)
            with pytest.raises(KeyboardInterrupt):
                import_study(place, tmp_path / "file", other)
        assert list_studies(place, other) == []
        assert StoredStudy.find(other, "shared") is None
        assert len(optuna.get_all_study_names(open_storage(other))) == is_killed
    import_study(place, tmp_path / "file", other)
    assert optuna.get_all_study_names(open_storage(other)) == ["shared"]
    assert list_studies(place, other)[0].trials == 3


def test_a_study_whose_networks_are_trained_again_has_workers(workspace, space_file):
    place, url = Workspace(workspace), Workspace(workspace).study_url("shared")
    run_simulated(url, workspace, "shared", space_file, 2, 0)
    file = Path(f"{workspace / 'studies' / 'shared.db'}.shared.0.2.lock")
    file.touch()  # As a search leaves it that is killed.
    with critical(url, "shared.0.1", waits=False):
        [row] = list_studies(place)
        assert (row.state, row.workers) == ("running", 1)
        with pytest.raises(InputError, match="no worker of study 'shared' must be alive, but 1 are"):
            remove_study(place, "shared")
    [row] = list_studies(place)
    assert (row.state, row.workers) == ("complete", 0)
    remove_study(place, "shared")
    assert list(file.parent.iterdir()) == []


def test_a_study_that_never_began_is_not_complete(run, workspace):
    StoredStudy.create(Workspace(workspace).study_url("bare"), "bare")
    [row] = list_studies(Workspace(workspace))
    assert (row.state, row.trials, row.total) == ("not started", 0, 0)
    assert "not started" in run("studies", "--workspace", workspace)[1]


@pytest.mark.parametrize(
    ("file", "bundle"),
    [
        ("tiny-x2.study", "tiny-x2.weights.zip"),
        ("tiny-x2", "tiny-x2.weights.zip"),
        ("tiny-x2.1200", "tiny-x2.1200.weights.zip"),
        ("tiny-x2.1200.study", "tiny-x2.1200.weights.zip"),
    ],
)
def test_the_weights_are_called_after_the_whole_name(tmp_path, file, bundle):
    assert bundle_of(tmp_path / file) == tmp_path / bundle


def test_what_a_worker_was_judging_is_judged_anew_where_the_study_goes_on(workspace, space_file, tmp_path, simulated):
    url, new = Workspace(workspace).study_url("shared"), Workspace(tmp_path / "new")
    run_simulated(url, workspace, "shared", space_file, 2, 0)
    search = simulated(4).search
    claim = search.claims.claim()
    export_study(Workspace(workspace), "shared", tmp_path / "file")
    search.claims.release(claim)
    import_study(new, tmp_path / "file")
    [row] = list_studies(new)
    assert (row.workers, row.trials) == (0, 2)
    # Human designs wait before it.
    *_, again = StoredStudy.find(new.study_url("shared"), "shared").trials()
    assert again.is_queued
    assert again.trial.system_attrs["fixed_params"] == claim.trial.params
    assert again.deaths == 0


def test_an_import_says_what_mlflow_lacks(run, workspace, space_file, tmp_path, simulated, monkeypatch):
    run_simulated(Workspace(workspace).study_url("shared"), workspace, "shared", space_file, 2, 0)
    export_study(Workspace(workspace), "shared", tmp_path / "file")
    code, out, said = run("studies", "import", tmp_path / "file", "--workspace", tmp_path / "new")
    assert (code, out) == (0, "Study 'shared' is in the workspace.\n")
    assert "rebuilt" not in said

    def lost(*_):
        raise StoreLostError("the server is gone")

    monkeypatch.setattr("srnas.nas.revisit.resync._write", lost)
    code, out, said = run("studies", "import", tmp_path / "file", "--workspace", tmp_path / "silent")
    assert (code, out) == (0, "Study 'shared' is in the workspace.\n")
    assert "MLflow lacks it: MLflow must answer, but the server is gone" in said
    assert "run 'srnas leaderboard resync'" in said


def test_an_imported_study_ranks_as_it_did(workspace, space_file, tmp_path):
    """With the first seed alone another network would be on the front."""
    url, new = Workspace(workspace).study_url("shared"), Workspace(tmp_path / "new")
    run_simulated(url, workspace, "shared", space_file, 6, 0)
    stored = StoredStudy.find(url, "shared")
    [first, *_] = front_numbers(stored.snapshot().records)
    stored.keep_replicate(Replicate(number=first, seed=1, quality=quality(-90.0, "a"), train_s=1.0))
    board = summarise(stored.snapshot()).board
    assert first not in board.front["trial"].tolist()
    export_study(Workspace(workspace), "shared", tmp_path / "file")
    import_study(new, tmp_path / "file")
    write_study(new, "shared")
    assert load_board(new, "shared").front["trial"].tolist() == board.front["trial"].tolist()
    assert load_board(new, "shared").hypervolume == board.hypervolume


def test_what_only_this_machine_has_stays_here(workspace, space_file, tmp_path, search_request):
    url = Workspace(workspace).study_url("shared")
    run_simulated(url, workspace, "shared", space_file, 2, 0)
    own = {"train": tmp_path / "photographs", "storage": "postgresql://me:secret@host/studies", "workspace": tmp_path}
    asked = search_request.model_copy(update=own | {"replicates": 2}).absolute()
    StoredStudy.find(url, "shared").keep_wishes(total=2, patience=3, request=asked.model_dump_json())
    export_study(Workspace(workspace), "shared", tmp_path / "file")
    held = (tmp_path / "file").read_bytes()
    assert b"secret" not in held
    assert str(tmp_path).encode() not in held
    moved = StoredStudy.find(f"sqlite:///{tmp_path / 'file'}", "shared").snapshot()
    request = type(asked).model_validate_json(moved.request)
    assert (request.train, request.storage, request.replicates, moved.patience) == (None, None, 2, 3)


@pytest.mark.usefixtures("copied_stores")
def test_weights_of_the_front_and_of_designs_travel_with_a_study(run, workspace, space_file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    old, new = Workspace(workspace), Workspace(tmp_path / "new")
    run_simulated(old.study_url("shared"), workspace, "shared", space_file, 18, 0)
    known = StoredStudy.find(old.study_url("shared"), "shared").snapshot()
    for record in known.records:
        network = build_seeded(record.architecture, record.number)
        with torch.no_grad():
            # One value is too large for half precision.
            next(network.parameters()).view(-1)[0] = 1e6
        old.weights(record).parent.mkdir(parents=True, exist_ok=True)
        old.weights(record).write_bytes(save(network.state_dict()))
    file, bundle = tmp_path / "shared.study", tmp_path / "shared.weights.zip"
    code, out, _ = run("studies", "export", "shared", file, "--weights", "--workspace", workspace)
    front = front_numbers(known.records)
    expected = [record for record in known.records if record.number in front or record.design]
    assert front
    assert 0 < len(expected) < len(known.records)
    assert (code, f"Weights of {len(expected)} trials are beside it." in out) == (0, True)
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-30])
    code, _, err = run("studies", "import", file, "--workspace", new.path)
    assert (code, "must hold whole weights" in err) == (2, True)
    assert list_studies(new) == []
    bundle.write_bytes(whole)
    with monkeypatch.context() as context:
        context.setattr("srnas.nas.files.Path.write_bytes", full)
        code, _, err = run("studies", "import", file, "--workspace", new.path)
        assert (code, "free some and run the same command again" in err) == (2, True)
    assert list_studies(new) == []
    optuna.logging.set_verbosity(optuna.logging.INFO)
    assert f"with the weights of {len(expected)} trials" in run("studies", "import", file, "--workspace", new.path)[1]
    # Optuna's log is not the user's.
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    for record in known.records:
        path = new.weights(record)
        assert path.is_file() == (record in expected)
        if path.is_file():
            before, after = (load_network(record.architecture, one.weights(record)).deploy() for one in (old, new))
            assert {w.dtype for w in load_file(path).values()} == {torch.float16, torch.float32}
            torch.testing.assert_close(after.state_dict(), before.state_dict(), rtol=2**-10, atol=1e-6)
    code, _, err = run("studies", "export", "shared", tmp_path / "other", "--weights", "--workspace", new.path)
    assert (code, err) == (0, "")
    code, _, err = run("studies", "export", "shared", tmp_path / "other", "--weights", "--workspace", new.path)
    assert (code, "other.weights.zip do; --overwrite replaces files" in " ".join(err.split())) == (2, True)
    again = ("studies", "export", "shared", tmp_path / "other", "--weights", "--overwrite", "--workspace", new.path)
    assert run(*again)[0] == 0


def test_a_file_that_is_missing_is_not_made(workspace, tmp_path):
    with pytest.raises(InputError, match="the file of a study must exist"):
        import_study(Workspace(workspace), tmp_path / "missing.study")
    assert not (tmp_path / "missing.study").exists()
