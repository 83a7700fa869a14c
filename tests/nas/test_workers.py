"""Several processes on one study, what a worker leaves, and studies as files."""

import contextlib
import json
import os
import sqlite3
import threading
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import FixedTrial, TrialState
from simulated import open_simulated, run_simulated

from srnas.leaderboard import Rung, Store
from srnas.leaderboard.confidence import CONFIDENCE
from srnas.nas import storage, study
from srnas.nas.accountability import SETTLED
from srnas.nas.archive import export_study, import_study, list_studies, remove_study
from srnas.nas.boards import load_board
from srnas.nas.launch import join, launch
from srnas.nas.observer import Observer
from srnas.nas.outcome import summarise
from srnas.nas.storage import StorageLostError, critical, open_storage, patiently, shown, storage_url
from srnas.nas.stored import read_records, since_rise, stored_study
from srnas.nas.study import Claim, Standing
from srnas.nas.worker import work
from srnas.search_space import InputError


@pytest.fixture
def simulated(workspace, space_file):
    """Return a function that opens the simulated study once more."""
    url = storage_url(workspace, "shared")
    return lambda total=6, sampler="random": open_simulated(url, workspace, "shared", space_file, total, 0, sampler)


@pytest.fixture
def real(search_request, brief_latency):
    return replace(search_request, trials=5, rungs="halving")


def owned_by(search, claim, **owner):
    """Let another process hold a claim: one process holds one at a time."""
    search.storage.set_trial_user_attr(claim.trial._trial_id, "owner", claim.trial.user_attrs["owner"] | owner)


def claim_until(search, key):
    """Claim for others until a candidate comes; it is claimed by this process."""
    for _ in range(20):
        claim = search.claim()
        if claim.architecture.key == key:
            return claim
        owned_by(search, claim, host="elsewhere")
    raise AssertionError(key)


def test_two_workers_never_hold_the_same(simulated):
    first, second = simulated()[0], simulated()[0]
    one = first.claim()
    owned_by(first, one, host="elsewhere")
    other = second.claim()
    assert one.architecture.key != other.architecture.key
    assert {one.number, other.number} == {0, 1}


def test_of_two_workers_with_one_proposal_one_gets_it(simulated, monkeypatch):
    first, second = (simulated(20, "front")[0] for _ in range(2))
    while first._is_queued:
        owned_by(first, first.claim(), host="elsewhere")
    proposal = first._ahead()
    for search in (first, second):
        monkeypatch.setattr(search, "_ahead", lambda: proposal)
    one = first.claim()
    owned_by(first, one, host="elsewhere")
    other = second.claim()
    assert one.architecture == proposal.candidate
    assert other.architecture != proposal.candidate
    assert other.number == one.number + 1
    assert first.space.suggest(FixedTrial(one.trial.params)) == one.architecture


def test_what_a_dead_worker_left_unwritten_is_written_by_another(simulated, workspace):
    search, judge, publisher = simulated(6)
    for _ in range(2):
        claim = search.claim()
        search.finish(claim, judge.judge(claim.architecture, claim.number, gate=lambda *_: None))
    work(search, judge, publisher)
    assert sorted(load_board(workspace).rows["trial"]) == list(range(6))


def test_a_proxy_without_signal_is_computed_no_more(simulated, monkeypatch):
    search, judge, publisher = simulated(60)
    notes = []
    monkeypatch.setattr(judge.observer, "on_note", notes.append)
    judge.proxies = {"psnr", "chance"}  # A simulated PSNR rises with the first.
    work(search, judge, publisher)
    assert judge.proxies == {"psnr"}
    [note] = notes
    assert note.startswith("predictor chance: ")
    assert note.endswith("no signal: it is computed no more")
    with_chance = ["chance" in record.predictions for record in search.records]
    assert with_chance == sorted(with_chance, reverse=True)
    assert sum(with_chance) == SETTLED
    assert all("psnr" in record.predictions for record in search.records)


def test_what_a_dead_worker_held_is_claimed_again(simulated):
    search = simulated(40)[0]
    claim = search.claim()
    owned_by(search, claim, pid=2**22 + 1)
    again = claim_until(search, claim.architecture.key)
    assert again.number != claim.number
    assert search._trials()[claim.number].state == TrialState.FAIL


def test_what_another_host_holds_is_left_alone_until_it_is_silent(simulated, monkeypatch):
    search = simulated(1)[0]
    claim = search.claim()
    owned_by(search, claim, host="elsewhere", pid=1)
    assert search.claim() is Standing.WAIT
    monkeypatch.setattr(search.storage, "_get_stale_trial_ids", lambda _: [claim.trial._trial_id])
    assert isinstance(search.claim(), Claim)
    assert search._trials()[claim.number].state == TrialState.FAIL
    waiting = [t.system_attrs["fixed_params"] for t in search._trials() if t.state == TrialState.WAITING]
    assert claim.trial.params in waiting


def test_a_candidate_that_ends_every_worker_is_recorded(simulated):
    search = simulated(40)[0]
    key = search.claim().architecture.key
    search.release(Claim(0, None, "", {}, None))
    for _ in range(study.MAX_DEATHS):
        owned_by(search, claim_until(search, key), pid=2**22 + 1)
    search.claim()
    [record] = search.records
    assert (record.state, record.genotype.key) == ("failed", key)
    assert record.reason == f"{study.MAX_DEATHS} processes died while they judged it"


def test_a_record_of_a_trial_that_was_taken_away_is_not_kept(simulated):
    search, judge, _ = simulated()
    claim = search.claim()
    record = judge.judge(claim.architecture, claim.number, gate=lambda *_: None)
    search.study.tell(claim.number, state=TrialState.FAIL)
    assert not search.finish(claim, record)
    assert search.records == []


def test_a_rung_stops_what_all_neighbours_dominate(simulated):
    search = simulated(20)[0]
    search.settings = search.settings.model_copy(update={"rungs": "halving"})
    claims = []
    for _ in range(8):
        claims.append(search.claim())
        owned_by(search, claims[-1], host="elsewhere")
    decisions = [search.at_rung(c, Rung(iteration=1, psnr_y_db=30.0 - n), 5.0 + n) for n, c in enumerate(claims)]
    assert [decision.survives or decision.spared for decision in decisions[:5]] == [True] * 5
    last = decisions[-1]
    assert last.survives == last.spared
    assert "neighbours in latency at 1 iterations" in last.reason


@pytest.mark.parametrize("sampler", ["random", "front"])
def test_patience_ends_a_study(simulated, sampler):
    search, judge, publisher = simulated(40, sampler)
    search.begin(lambda: search.study_record, patience=3)
    assert work(search, judge, publisher) is Standing.DONE
    assert 3 < len(search.records) < 40
    assert since_rise(search.study_record, search.records) == 3
    assert search._ahead() is None
    assert list_studies(publisher.workspace)[0].state == "converged"


def test_a_storage_that_comes_back_is_waited_for(monkeypatch):
    monkeypatch.setattr(storage.time, "sleep", lambda _: None)
    failures, notes = [StorageInternalError("gone")] * 3, []

    def action():
        if failures:
            raise failures.pop()
        return 7

    url = "postgresql://me:secret@host/db"
    assert patiently(action, url, notes.append) == 7
    assert len(notes) == 1
    assert "the storage 'postgresql://me:***@host/db' does not answer (gone)" in notes[0]
    monkeypatch.setattr(storage, "_PATIENCE_S", 0.0)

    def lost():
        raise StorageInternalError("gone")

    with pytest.raises(StorageLostError, match="for 0 s it did not: gone. Every finished trial is kept"):
        patiently(lost, url, notes.append)


def test_a_busy_database_is_waited_for(simulated, workspace):
    search = simulated()[0]
    file = workspace / "studies" / "shared.db"
    with contextlib.closing(sqlite3.connect(file, check_same_thread=False)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        threading.Timer(1.0, connection.rollback).start()
        started = time.monotonic()
        claim = search.claim()
        assert time.monotonic() - started > 0.8
    assert isinstance(claim, Claim)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "a storage must be a URL"),
        ("mysql://me@host/db", "must be postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE"),
        ("postgresql://me:secret@host", r"but got 'postgresql://me:\*\*\*@host'"),
    ],
)
def test_urls_that_are_no_storage(workspace, given, message):
    with pytest.raises(InputError, match=message):
        storage_url(workspace, "x", given)


def test_a_server_that_does_not_answer(workspace):
    url = storage_url(workspace, "x", "postgresql://srnas@127.0.0.1:1/none")
    assert shown(url) == "'postgresql+psycopg://srnas@127.0.0.1:1/none'"
    with pytest.raises(StorageInternalError, match="connection"), critical(url, "part"):
        pass
    with pytest.raises(StorageInternalError):
        open_storage(url)


@pytest.mark.slow
def test_a_search_with_two_worker_processes(real):
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two cores")
    outcome = launch(replace(real, workers=2), Observer())
    assert len(outcome.records) == 5
    assert len({record.pid for record in outcome.records} - {os.getpid()}) == 2
    assert len({record.genotype.key for record in outcome.records}) == 5
    assert sorted(load_board(real.workspace).rows["trial"]) == sorted(r.number for r in outcome.records)


def test_too_many_workers_for_the_cores(real):
    with pytest.raises(InputError, match="workers x threads <="):
        launch(replace(real, workers=1000), Observer())
    with pytest.raises(InputError, match="engine"):
        launch(replace(real, engine="slurm"), Observer())


def test_a_worker_joins_a_study_and_refuses_another_device(real, monkeypatch):
    with pytest.raises(InputError, match="must have been started by 'srnas search'"):
        join(real.workspace, "small-x2", Observer())
    launch(replace(real, trials=1), Observer())
    url = storage_url(real.workspace, "small-x2")
    stored_study(url, "small-x2").set_user_attr("total", 3)
    assert join(real.workspace, "small-x2", Observer()) is Standing.DONE
    assert len(read_records(stored_study(url, "small-x2"))) == 3
    real_profile = __import__("srnas.nas.launch", fromlist=["describe_device"]).describe_device
    monkeypatch.setattr(
        "srnas.nas.launch.describe_device", lambda *given: replace(real_profile(*given), name="another machine")
    )
    with pytest.raises(InputError, match="must run on the device profile"):
        join(real.workspace, "small-x2", Observer())


def test_replicates_are_trained_once(real):
    request = replace(real, trials=3, rungs="none", replicates=2)
    outcome = launch(request, Observer())
    seeds = {(one.number, one.seed) for one in outcome.replicates}
    assert seeds == {(number, seed) for number, _ in seeds for seed in (1, 2)}
    assert outcome.replicated == 2
    front = outcome.board.front
    assert (front["num_seeds"] == 3).all()
    assert front["psnr_se_db"].gt(0).all()
    assert front["front_probability"].between(0, 1).all()
    again = launch(request, Observer())
    assert not again.anew
    stored = load_board(real.workspace).front
    for name in front.columns.intersection(CONFIDENCE):
        if front[name].isna().all():  # A front of one has no step.
            continue
        np.testing.assert_allclose(stored[name].astype(float), front[name].astype(float))
    store = Store(real.workspace)
    runs = store._search(store._experiment("sr-x2/search"), "tags.`srnas.role` = 'replicate'")
    assert len(runs) == len(seeds)


def test_proxies_are_recorded_and_accounted_for(real):
    outcome = launch(replace(real, trials=4, rungs="none", proxies=True), Observer())
    assert all({"grad_norm", "synflow", "zico"} <= record.predictions.keys() for record in outcome.records)
    assert {"grad_norm", "synflow", "zico"} <= {account.name for account in outcome.accounts}
    assert all(account.has_signal is None for account in outcome.accounts)


def test_a_candidate_that_takes_too_long(real):
    outcome = launch(replace(real, trials=1, max_train_s=1e-9), Observer())
    [record] = outcome.records
    assert record.state == "timed_out"
    assert "train_s=" in record.reason
    assert not list(real.workspace.glob("cache/*/*.training"))


def test_studies_are_listed_moved_and_removed(run, workspace, space_file, tmp_path, simulated):
    url = storage_url(workspace, "shared")
    run_simulated(url, workspace, "shared", space_file, 4, 0)
    [row] = list_studies(workspace)
    assert (row.study, row.state, row.workers, row.trials, row.total) == ("shared", "complete", 0, 4, 4)
    assert row.hypervolume > 0
    claim = simulated(9)[0].claim()
    assert isinstance(claim, Claim)
    assert list_studies(workspace)[0].state == "running"
    with pytest.raises(InputError, match="no worker of study 'shared' must be alive, but 1 are"):
        remove_study(workspace, "shared")
    simulated(4)[0].release(claim)

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
    assert list_studies(workspace) == []
    assert not list((workspace / "studies").glob("shared*.db"))
    assert run("studies", "import", file, "--workspace", workspace)[0] == 0
    [back] = list_studies(workspace)
    assert replace(back, total=4) == row
    assert len(load_board(workspace, "shared").rows) == 4
    assert "study 'none'" in run("studies", "rm", "none", "--yes", "--workspace", workspace)[2]
    assert (
        "must be a file of 'srnas studies export'" in run("studies", "import", space_file, "--workspace", workspace)[2]
    )


def test_a_study_moves_to_another_storage(workspace, space_file, tmp_path):
    run_simulated(storage_url(workspace, "shared"), workspace, "shared", space_file, 3, 0)
    export_study(workspace, "shared", tmp_path / "file")
    other = f"sqlite:///{tmp_path / 'all.db'}"
    assert import_study(tmp_path, tmp_path / "file", other) == "shared"
    moved = stored_study(storage_url(tmp_path, "shared", other), "shared")
    assert read_records(moved) == read_records(stored_study(storage_url(workspace, "shared"), "shared"))
    assert [row.study for row in list_studies(tmp_path, other)] == ["shared"]
    assert summarise(moved).name == "shared"
    optuna.delete_study(study_name="shared", storage=open_storage(other))
