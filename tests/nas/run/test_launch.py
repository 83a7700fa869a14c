"""A study end to end on real photographs, and everything that may go wrong in it."""

import contextlib
import errno
import sqlite3
import time

import brief
import fresh
import optuna
import pandas as pd
import pytest
import torch
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from srnas.leaderboard.record.columns import DOUBT
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.store import Store
from srnas.nas.errors import DivergedError
from srnas.nas.images.evaluation import evaluate
from srnas.nas.judging.candidate import CandidateTraining
from srnas.nas.judging.judge import Judge
from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.nas.study.options import Budgets
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.search_space import InputError

pytestmark = pytest.mark.usefixtures("brief_latency")


class Broken(torch.nn.Module):
    """Gives NaN."""

    def forward(self, lr):
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2) * torch.nan


class Witness(Observer):
    """Keeps what a search says."""

    def __init__(self):
        self.notes, self.records, self.rungs, self.stages = [], [], [], []
        self.on_note = self.notes.append
        self.on_rung = self.rungs.append
        self.on_stage = self.stages.append

    def on_record(self, record, on_front):
        self.records.append((record, on_front))


@pytest.fixture
def request_(search_request):
    return search_request


def open_study(request, name="small-x2"):
    return optuna.load_study(study_name=name, storage=RDBStorage(Workspace(request.workspace).study_url(name)))


def records(request):
    trials = open_study(request).get_trials()
    return [TrialRecord.model_validate_json(t.user_attrs["record"]) for t in trials if "record" in t.user_attrs]


def test_what_cannot_be_shown_of_a_front_costs_no_result(request_, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("srnas.nas.run.exhibits.draw_sheet", full)
    witness = Witness()
    outcome = launch(request_.changed(trials=1), witness)
    assert len(outcome.records) == 1
    said = "crops or latency by position of the front are missing: No space left on device"
    assert said in witness.notes
    (study,) = Store(request_.workspace).stored_studies()
    assert study.status == "FINISHED"


def test_a_study_from_nothing_to_a_front(request_):
    witness = Witness()
    outcome = launch(request_, witness)
    judged = [record for record, _ in witness.records]
    assert len(judged) == 6
    assert len({record.architecture.key for record in judged}) == 6
    assert all(record.state == "complete" for record in judged)
    # Human designs are judged first.
    assert [record.design for record in judged[:3]] == ["EDSR-like", "PlainUSR-like", "MAN-like"]
    assert {"counting", "timing", "training", "judging"} <= set(witness.stages)
    assert len(witness.rungs) == 12
    first = judged[0]
    assert first.sizes.fvcore_macs == first.sizes.macs + 4 * 3 * 32 * 32  # the bilinear global skip
    assert first.latency.fastest_ms > 0
    assert len(first.latency.rounds_ms) == 6  # A candidate is timed briefly, and once more with the front.
    assert all(one.timed_together_ms for one in outcome.members)
    assert sum(counts.macs for counts in first.sizes_by_block.values()) == first.sizes.macs
    assert first.peak_memory_mib > 0
    assert [rung.iteration for rung in first.rungs] == [4, 12]
    assert len(outcome.board.rows) == 6
    assert outcome.board.front["psnr_y_db"].max() == outcome.board.rows["psnr_y_db"].max()
    assert all(path.is_file() for path in outcome.figures)
    store = Store(request_.workspace)
    on_front = load_board(Workspace(request_.workspace)).front["run_id"]
    assert all(store.client.list_artifacts(run_id, "weights") for run_id in on_front)
    for run_id in on_front:
        shown = {file.path for file in store.client.list_artifacts(run_id, "shown")}
        assert shown == {"shown/places.json", "shown/crop0.png.png", "shown/crop1.png.png"}
    [study] = store.studies()
    assert study.reference_fastest_ms > 0
    shown, kept = load_board(Workspace(request_.workspace)).rows, outcome.board.rows
    common = [column for column in kept if column in shown and column != "run_id"]
    # MLflow is told nothing of the doubt of trials that are surely not on the front.
    kept.loc[kept["front_probability"] == 0, [name for name in DOUBT if name in kept]] = None
    pd.testing.assert_frame_equal(shown[common], kept[common], check_exact=True)


def test_the_run_of_a_study_holds_its_outcome_and_its_curve_apart(request_, launched):
    outcome = launched(request_)
    store = Store(request_.workspace)
    parent = store.open_study(store.studies()[0])
    [point] = store.client.get_metric_history(parent, "hypervolume")
    assert point.value == pytest.approx(outcome.board.hypervolume)
    curve = store.client.get_metric_history(parent, "hypervolume_so_far")
    assert sorted(point.step for point in curve) == [1, 2, 3, 4, 5, 6]


def test_a_complete_study_is_not_run_again_and_can_be_extended(request_, launched):
    request = request_.changed(trials=3)
    launched(request)
    before = records(request)
    again = launch(request, Observer())
    assert not again.anew
    assert (again.name, len(again.records), len(again.board.rows)) == ("small-x2", 3, 3)
    witness = Witness()
    launch(request.changed(trials=5), witness)
    assert len(witness.records) == 2
    assert records(request)[:3] == before
    assert len({record.architecture.key for record in records(request)}) == 5


def test_an_end_that_was_interrupted_is_made_up_for(request_, monkeypatch):
    request = request_.changed(trials=2)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(Judge, "time_together", interrupted)
        with pytest.raises(KeyboardInterrupt):
            launch(request, Observer())
    board = load_board(Workspace(request.workspace))
    assert board.front["timed_together_ms"].isna().all()
    witness = Witness()
    outcome = launch(request, witness)
    assert outcome.anew
    assert witness.records == []
    assert any(note.startswith("timing the front of ") for note in witness.notes)
    before, now = (board.rows.set_index("trial") for board in (board, load_board(Workspace(request.workspace))))
    for record in outcome.members:
        row = now.loc[record.number]
        assert row["timed_together_ms"] == record.timed_together_ms
        assert row["latency_fastest_ms"] == record.latency.fastest_ms != before.loc[record.number, "latency_fastest_ms"]
    assert not launch(request, Observer()).anew


def test_other_settings_are_refused_and_listed(request_, launched):
    request = request_.changed(trials=3)
    launched(request)
    with pytest.raises(InputError) as error:
        launch(request.changed(iterations=13, sampler="random"), Observer())
    assert "sampler: front -> random" in str(error.value)
    assert "training.iterations: 12 -> 13" in str(error.value)
    assert len(records(request)) == 3


def test_a_trained_architecture_is_not_trained_again_in_another_study(request_, launched):
    request = request_.changed(trials=3)
    launched(request)
    witness = Witness()
    launch(request.changed(study="second"), witness)
    assert [record.reused for record, _ in witness.records] == [True, True, True]
    assert witness.stages.count("training") == 0
    [first, second] = (load_board(Workspace(request.workspace), name) for name in ("small-x2", "second"))
    assert sorted(first.rows["psnr_y_db"]) == sorted(second.rows["psnr_y_db"])


@pytest.mark.parametrize("sampler", ["nsga2", "random", "gp"])
def test_every_sampler_runs_a_study(request_, sampler):
    outcome = launch(request_.changed(sampler=sampler, trials=7, iterations=1), Observer())
    assert len(set(outcome.board.rows["key"])) == 7


def test_budgets_end_a_trial_before_training(request_):
    witness = Witness()
    launch(request_.changed(trials=4, budgets=Budgets(max_params_k=3.0)), witness)
    judged = [record for record, _ in witness.records]
    over = [record for record in judged if record.state == "over_budget"]
    assert over
    assert all(record.sizes.params > 3000 and record.latency is None and not record.rungs for record in over)
    assert over[0].reason == f"params_k={over[0].sizes.params / 1e3:.4g} > 3"
    assert all(record.sizes.params <= 3000 for record in judged if record.state == "complete")
    states = {t.number: t.state for t in open_study(request_).get_trials()}
    assert all(states[record.number] == TrialState.PRUNED for record in over)


def test_a_failing_candidate_is_recorded_and_the_study_goes_on(request_, monkeypatch):
    real = CandidateTraining.run
    failures = [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (DivergedError("the loss is nan after 3 iterations"), "diverged"),
        (ZeroDivisionError("anything"), "failed"),
    ]
    due = [error for error, _ in failures]

    def fails_first(self, *given):
        if due:
            raise due.pop(0)
        return real(self, *given)

    monkeypatch.setattr(CandidateTraining, "run", fails_first)
    witness = Witness()
    launch(request_.changed(trials=len(failures) + 1), witness)
    *failed, last = [record for record, _ in witness.records]
    for record, (error, state) in zip(failed, failures, strict=True):
        assert record.state == state
        assert str(error) in record.reason
        assert record.latency is not None
    assert last.state == "complete"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("disk I/O error")]
)
@pytest.mark.parametrize("within", [False, True])
def test_a_fault_of_the_machine_is_no_fault_of_a_candidate(request_, monkeypatch, error, within):
    def fail(*_):
        if within:
            raise RuntimeFailedError("the runtime must run it") from error
        raise error

    with monkeypatch.context() as context:
        context.setattr(Judge, "_time_briefly", fail)
        with pytest.raises(InputError, match="this machine must be able to judge candidates, but"):
            launch(request_.changed(trials=1), Observer())
    assert records(request_) == []
    outcome = launch(request_.changed(trials=1), Observer())
    assert [record.state for record in outcome.records] == ["complete"]


def test_a_nan_in_training_is_divergence(request_):
    witness = Witness()
    launch(request_.changed(trials=1, learning_rate=1e30), witness)
    assert witness.records[0][0].state == "diverged"
    assert witness.records[0][0].quality is None


def test_an_output_that_is_not_finite_is_divergence(request_, monkeypatch):
    monkeypatch.setattr(
        "srnas.nas.judging.candidate.evaluate", lambda _, *given, **options: evaluate(Broken(), *given, **options)
    )
    witness = Witness()
    launch(request_.changed(trials=1), witness)
    assert witness.records[0][0].reason == "the network's output is not finite"


def test_an_exhausted_space_ends_the_study(request_, tmp_path):
    path = tmp_path / "four.toml"
    path.write_text('channels = [4]\npositions = 2\ntrunk = ["conv"]\nattention = ["none", "pa"]\n')
    outcome = launch(request_.changed(space=str(path), trials=9, iterations=1, patch=8, batch=1), Observer())
    assert outcome.exhausted
    again = launch(request_.changed(space=str(path), trials=9, iterations=1, patch=8, batch=1), Observer())
    assert (again.anew, again.exhausted) == (False, True)
    assert len(set(outcome.board.rows["key"])) == len(outcome.board.rows) == 4


def test_a_study_that_has_come_to_rest_is_not_run_again(request_):
    request = request_.changed(patience=1, iterations=1)
    first = launch(request, Observer())
    assert len(first.records) < request.trials
    assert not launch(request, Observer()).anew
    assert len(launch(request.changed(patience=None), Observer()).records) == request.trials


def test_an_interrupt_keeps_what_is_finished(request_):
    class Impatient(Observer):
        def on_trial(self, number, architecture, design):
            if number == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch(request_, Impatient())
    assert len(records(request_)) == 2
    store = Store(request_.workspace)
    [study] = store.studies()
    runs = store.search_runs(store.open_experiment(study.experiment), "tags.`srnas.role` = 'study'")
    assert runs[0].info.status == "KILLED"
    witness = Witness()
    outcome = launch(request_, witness)
    # The interrupted design is judged, under a new number.
    assert "MAN-like" in {record.design for record, _ in witness.records}
    assert len(outcome.board.rows) == 6


def test_a_trial_killed_before_it_was_told_is_told_on_resume(request_, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(StoredStudy, "tell", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            launch(request_, Observer())
    [trial] = open_study(request_).get_trials(states=(TrialState.RUNNING,))
    launch(request_.changed(trials=2), Observer())
    told = open_study(request_).get_trials()[trial.number]
    assert told.state == TrialState.COMPLETE
    assert tuple(told.values) == records(request_)[0].point
    assert len(records(request_)) == 2


def test_mlflow_going_away_does_not_stop_a_search(request_, monkeypatch):
    def lost(self, *arguments):
        raise ConnectionError("the store is gone")

    witness = Witness()
    with monkeypatch.context() as context:
        context.setattr(Store, "write_trial", lost)
        outcome = launch(request_.changed(trials=2), witness)
    assert outcome.unwritten == "MLflow does not answer (the store is gone)"
    assert len(outcome.board.front) >= 1
    assert any("MLflow does not answer (the store is gone)" in n for n in witness.notes)
    assert load_board(Workspace(request_.workspace)).rows.empty
    outcome = launch(request_.changed(trials=2), Observer())
    assert outcome.anew
    assert not outcome.unwritten
    assert sorted(load_board(Workspace(request_.workspace)).rows["trial"]) == [0, 1]
    assert not launch(request_.changed(trials=2), Observer()).anew


def test_whether_mlflow_or_the_storage_does_not_answer_is_said(request_, monkeypatch):
    def lost(*_, **__):
        raise StorageInternalError("gone")

    witness = Witness()
    with monkeypatch.context() as context:
        context.setattr("srnas.nas.run.publishing.critical", lost)
        outcome = launch(request_.changed(trials=1), witness)
    said = "the study's storage does not answer (gone); the missing results will be written when it does"
    assert [note for note in witness.notes if "does not answer" in note] == [said]
    assert outcome.unwritten == "the study's storage does not answer (gone)"


def test_a_study_killed_before_its_tables_were_made_starts_anew(request_):
    (request_.workspace / "studies").mkdir()
    (request_.workspace / "studies" / "small-x2.db").touch()
    assert StoredStudy.find(Workspace(request_.workspace).study_url("small-x2"), "small-x2") is None
    assert len(launch(request_.changed(trials=1), Observer()).board.rows) == 1


@pytest.mark.slow
def test_kill_9_loses_no_finished_trial(request_, tmp_path, run):
    arguments = [
        *("search", "--space", request_.space, "--trials", "4", "--workspace", str(request_.workspace)),
        *("--train", str(request_.train), "--val", str(request_.validation), "--device", "cpu", "--workers", "1"),
    ]
    started = fresh.Started(tmp_path, brief.CODE + fresh.SRNAS, *arguments)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and started.process.is_alive():
        time.sleep(0.05)
        if _count_judged(request_.workspace / "studies" / "small-x2.db") >= 1:
            break
    started.process.kill()
    started.wait()
    before = records(request_)
    assert 1 <= len(before) < 4
    code, out, _ = run(*arguments)
    assert code == 0
    assert "Front of" in out
    after = records(request_)
    assert after[: len(before)] == before
    assert len(after) == 4
    assert len({record.architecture.key for record in after}) == 4
    board = load_board(Workspace(request_.workspace))
    assert sorted(board.rows["trial"]) == sorted(record.number for record in after)


def _count_judged(path):
    """Count without opening the study, which would create tables beside the process that does."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT COUNT(*) FROM trial_user_attributes WHERE key = 'record'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_study_on_a_gpu(request_):
    outcome = launch(request_.changed(device="cuda", trials=4), Observer())
    assert (outcome.board.rows["state"] == "complete").all()
