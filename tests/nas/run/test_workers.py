"""Several processes on one study, and what a worker leaves."""

import contextlib
import os
import socket
import sqlite3
import sys
import threading
import time
from dataclasses import replace

import brief
import fresh
import pytest
import tenacity
from optuna.exceptions import StorageInternalError
from optuna.trial import FixedTrial, TrialState
from simulated import open_simulated

from srnas.leaderboard.record.trials import Rung
from srnas.nas.errors import DeviceLostError, StorageLostError
from srnas.nas.judging.accounts import SETTLED
from srnas.nas.judging.observer import Observer
from srnas.nas.optuna_private import set_attributes
from srnas.nas.revisit.archive import list_studies
from srnas.nas.run.engines import workers_of
from srnas.nas.run.join import join
from srnas.nas.run.launch import launch
from srnas.nas.run.plan import plan_search
from srnas.nas.run.replicates import missing
from srnas.nas.run.worker import work
from srnas.nas.strategy.front_sampler import PREDICTED, FrontSampler
from srnas.nas.strategy.rungs import Decision, Halving
from srnas.nas.study import storage
from srnas.nas.study.claims import MAX_DEATHS, Claim, Standing
from srnas.nas.study.owner import Owner
from srnas.nas.study.rung_book import RungBook
from srnas.nas.study.snapshot import since_rise
from srnas.nas.study.storage import critical, open_storage, patiently, shown
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import describe_device
from srnas.search_space import InputError


@pytest.fixture
def simulated(workspace, space_file, few_draws):
    """Return a function that opens the simulated study once more."""
    url = Workspace(workspace).study_url("shared")
    return lambda total=6, sampler="random": open_simulated(url, workspace, "shared", space_file, total, 0, sampler)


@pytest.fixture
def real(search_request, brief_latency):
    return search_request.changed(trials=5, rungs="halving")


def url_of(request):
    return Workspace(request.workspace).study_url("small-x2")


def owned_by(search, claim, **owner):
    """Let another process hold a claim: one process holds one at a time."""
    set_attributes(search.stored.study, claim.trial, {"owner": claim.trial.user_attrs["owner"] | owner})


def claim_until(search, key):
    """Claim for others until a candidate comes; it is claimed by this process."""
    for _ in range(20):
        claim = search.claims.claim()
        if claim.architecture.key == key:
            return claim
        owned_by(search, claim, host="elsewhere")
    raise AssertionError(key)


def judge_next(session):
    """Claim a candidate and hand its record in."""
    claim = session.search.claims.claim()
    record = session.judge.judge(claim.architecture, claim.number, gate=lambda *_: None)
    return session.search.claims.finish(claim, record)


def test_two_workers_never_hold_the_same(simulated):
    first, second = simulated().search, simulated().search
    one = first.claims.claim()
    owned_by(first, one, host="elsewhere")
    other = second.claims.claim()
    assert one.architecture.key != other.architecture.key
    assert {one.number, other.number} == {0, 1}


def test_of_two_workers_with_one_proposal_one_gets_it(simulated, monkeypatch):
    first, second = (simulated(20, "front").search for _ in range(2))
    while first.stored.snapshot().is_queued:
        owned_by(first, first.claims.claim(), host="elsewhere")
    proposal = first.claims._proposer.ahead(first.stored.snapshot())
    for search in (first, second):
        monkeypatch.setattr(search.claims._proposer, "ahead", lambda _: proposal)
    one = first.claims.claim()
    owned_by(first, one, host="elsewhere")
    other = second.claims.claim()
    assert one.architecture == proposal.candidate
    assert other.architecture != proposal.candidate
    assert other.number == one.number + 1
    assert first.space.suggest(FixedTrial(one.trial.params)) == one.architecture


def test_what_a_dead_worker_left_unwritten_is_written_by_another(simulated, workspace):
    session = simulated(6)
    for _ in range(2):
        judge_next(session)
    work(session)
    assert sorted(load_board(Workspace(workspace)).rows["trial"]) == list(range(6))


def test_a_proxy_without_signal_is_computed_no_more(simulated, monkeypatch):
    session = simulated(SETTLED + 2)
    notes = []
    monkeypatch.setattr(session.observer, "on_note", notes.append)
    monkeypatch.setattr(session.publisher, "publish", lambda *_: None)  # What is written costs more than all else here.
    session.judge.proxies = {"psnr", "chance"}  # A simulated PSNR rises with the first.
    work(session)
    assert session.judge.proxies == {"psnr"}
    [note] = notes
    assert note.startswith("predictor chance: ")
    assert note.endswith("no signal; it is dropped")
    records = session.search.stored.snapshot().records
    with_chance = ["chance" in record.predictions for record in records]
    assert with_chance == sorted(with_chance, reverse=True)
    assert sum(with_chance) == SETTLED
    assert all("psnr" in record.predictions for record in records)


def test_what_a_dead_worker_held_is_claimed_again(simulated):
    search = simulated(40).search
    claim = search.claims.claim()
    owned_by(search, claim, pid=2**22 + 1)
    again = claim_until(search, claim.architecture.key)
    assert again.number != claim.number
    assert search.stored.trials()[claim.number].trial.state == TrialState.FAIL


def test_what_another_host_holds_is_left_alone_until_it_is_silent(simulated, monkeypatch):
    search = simulated(1).search
    claim = search.claims.claim()
    owned_by(search, claim, host="elsewhere", pid=1)
    assert search.claims.claim() is Standing.WAIT
    monkeypatch.setattr(search.stored, "silent", lambda _: {claim.number})
    assert isinstance(search.claims.claim(), Claim)
    trials = [stored.trial for stored in search.stored.trials()]
    assert trials[claim.number].state == TrialState.FAIL
    waiting = [t.system_attrs["fixed_params"] for t in trials if t.state == TrialState.WAITING]
    assert claim.trial.params in waiting


def test_a_candidate_that_ends_every_worker_is_recorded(simulated):
    began_ms = time.time() * 1000
    search = simulated(40).search
    first = search.claims.claim()
    search.claims.release(first)
    for _ in range(MAX_DEATHS):
        owned_by(search, claim_until(search, first.architecture.key), pid=2**22 + 1)
    search.claims.claim()
    [record] = search.stored.snapshot().records
    assert (record.state, record.architecture.key) == ("failed", first.architecture.key)
    assert record.reason == f"{MAX_DEATHS} processes died or lost their device while they judged it"
    assert (record.host, record.pid) == (socket.gethostname(), 2**22 + 1)
    assert began_ms - 1 <= record.started_ms <= record.ended_ms


def test_a_candidate_that_breaks_its_device_is_recorded(simulated, monkeypatch):
    session = simulated(6)
    monkeypatch.setattr(session.publisher, "publish", lambda *_: None)
    real, broken = session.judge.judge, set()

    def judge(architecture, *given):
        if architecture.key in (broken or {architecture.key}):
            broken.add(architecture.key)
            raise DeviceLostError("cuda:0 must answer")
        return real(architecture, *given)

    monkeypatch.setattr(session.judge, "judge", judge)
    for _ in range(MAX_DEATHS):
        with pytest.raises(DeviceLostError):
            work(session)
    assert work(session) is Standing.DONE
    [failed] = [record for record in session.search.stored.snapshot().records if record.state == "failed"]
    assert failed.architecture.key in broken


@pytest.mark.parametrize("sampler", ["random", "front"])
def test_in_an_exhausted_space_nothing_is_written_while_others_train(simulated, space_file, sampler, monkeypatch):
    space_file.write_text('channels = [4]\npositions = 2\ntrunk = ["conv"]\nattention = ["none", "pa"]\n')
    search, asked = simulated(9, sampler).search, []
    for _ in range(4):
        owned_by(search, search.claims.claim(), host="elsewhere")
    before, proposer = len(search.stored.trials()), search.claims._proposer
    for name in ("_front", "_unseen", "_ask"):
        monkeypatch.setattr(proposer, name, lambda *_, name=name: asked.append(name))
    assert search.claims.claim() is Standing.WAIT
    assert len(search.stored.trials()) == before
    assert asked == []


def test_what_is_not_found_once_is_not_looked_for_again(simulated, monkeypatch):
    search, looked = simulated(40, "front").search, []
    while search.stored.snapshot().is_queued:
        owned_by(search, search.claims.claim(), host="elsewhere")
    proposer, known = search.claims._proposer, search.claims._proposer.ahead(search.stored.snapshot())
    owned_by(search, search.claims.claim(), host="elsewhere")
    before = len(search.stored.trials())
    monkeypatch.setattr(FrontSampler, "propose", lambda *_: looked.append("proposal") or known)
    monkeypatch.setattr("srnas.nas.study.proposer._MAX_DRAWS", 1)
    monkeypatch.setattr(proposer._space, "mutate", lambda start, _: looked.append("walk") or start)
    taken = search.stored.snapshot().taken
    assert known.candidate.key in taken
    assert [search.claims.claim() for _ in range(3)] == [Standing.WAIT] * 3
    assert looked == ["proposal", "proposal", "walk"]
    assert len(search.stored.trials()) == before


def test_what_was_dropped_as_a_duplicate_is_no_network_of_the_study(simulated):
    search = simulated(20).search
    claim = search.claims.claim()
    owned_by(search, claim, host="elsewhere")
    search.stored.enqueue(claim.trial.params)
    while queued(search):
        owned_by(search, search.claims.claim(), host="elsewhere")
    assert [one.number for one in search.stored.trials() if one.key == claim.architecture.key] == [claim.number]
    dropped = [one for one in search.stored.trials() if one.trial.params == claim.trial.params]
    assert len(dropped) == 2
    search.stored.keep_longer(9, {claim.architecture.key: 30.0})
    sampler = search.claims._proposer._front(search.stored.snapshot())
    assert [sampler._longer(one.trial) for one in dropped] == [[30.0], [None]]


def queued(search):
    """Return the parameters of what waits to be judged."""
    return [one.trial.system_attrs["fixed_params"] for one in search.stored.trials() if one.is_queued]


def test_a_candidate_that_was_taken_meanwhile_is_not_given_back(simulated):
    search = simulated(40).search
    claim = search.claims.claim()
    search.stored.study.tell(claim.number, state=TrialState.FAIL)
    search.claims.release(claim)
    assert claim.trial.params not in queued(search)


def test_what_is_handed_in_while_the_dead_are_looked_for_is_kept(simulated, monkeypatch):
    session = simulated(40)
    search, claim = session.search, session.search.claims.claim()
    record = session.judge.judge(claim.architecture, claim.number, gate=lambda *_: None)
    owned_by(search, claim, host="elsewhere")

    def silent(_):
        search.claims.finish(claim, record)
        return {claim.number}

    monkeypatch.setattr(search.stored, "silent", silent)
    search.claims.claim()
    assert search.stored.snapshot().records == (record,)
    assert claim.trial.params not in queued(search)


def test_who_dies_while_it_gives_back_leaves_the_candidate_in_the_queue(simulated, monkeypatch):
    search = simulated(40).search
    claim = search.claims.claim()

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(search.stored.study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            search.claims.release(claim)
    assert claim.trial.params in queued(search)


def test_what_was_expected_of_a_candidate_is_given_back_with_it(simulated):
    search = simulated(40).search
    claim = search.claims.claim()
    set_attributes(search.stored.study, claim.trial, {PREDICTED: {"psnr": 30.0}})
    search.claims.release(claim)
    assert claim_until(search, claim.architecture.key).predictions == {"surrogate.psnr": 30.0}


def test_a_study_that_was_interrupted_proposes_the_same(simulated):
    search = simulated(40).search
    claim = search.claims.claim()
    seed = search.claims._proposer._seed(search.stored.snapshot())
    search.claims.release(claim)
    assert search.claims._proposer._seed(search.stored.snapshot()) == seed


def test_a_claim_whose_answer_was_lost_is_no_death(simulated):
    search = simulated(40).search
    lost = search.claims.claim()
    again = claim_until(search, lost.architecture.key)
    assert again.number != lost.number
    assert search.stored.trials()[again.number].deaths == 0


def test_of_a_living_process_of_this_host_silence_says_nothing(simulated, monkeypatch):
    search = simulated(1).search
    claim = search.claims.claim()
    owned_by(search, claim, **Owner.of(os.getppid()).plain())
    monkeypatch.setattr(search.stored, "silent", lambda _: {claim.number})
    assert search.claims.claim() is Standing.WAIT


def test_a_record_of_a_trial_that_was_taken_away_is_not_kept(simulated):
    session = simulated()
    search = session.search
    claim = search.claims.claim()
    record = session.judge.judge(claim.architecture, claim.number, gate=lambda *_: None)
    search.stored.study.tell(claim.number, state=TrialState.FAIL)
    assert not search.claims.finish(claim, record)
    assert search.stored.snapshot().records == ()


@pytest.mark.parametrize(("state", "counts"), [("stopped", True), ("timed_out", False), ("diverged", False)])
def test_what_died_after_its_first_rung_is_not_expected_to_reach_the_end(simulated, state, counts):
    session = simulated(9)
    search = session.search
    claim = search.claims.claim()
    [first, *_] = search.settings.training.rung_iterations
    search.stored.keep_rung(claim.trial, first, 30.0, 2.0)
    record = session.judge.judge(claim.architecture, claim.number, gate=lambda *_: None)
    search.claims.finish(claim, record.model_copy(update={"state": state, "quality": None}))
    sampler = search.claims._proposer._front(search.stored.snapshot())
    assert (sampler._partial(claim.trial) == 30.0) is counts


def test_a_rung_stops_what_all_neighbours_dominate(simulated):
    search = simulated(20).search
    book = RungBook(search.stored, "halving")
    claims = []
    for _ in range(8):
        claims.append(search.claims.claim())
        owned_by(search, claims[-1], host="elsewhere")
    decisions = [
        book.decide(c.trial, c.architecture.key, Rung(iteration=1, psnr_y_db=30.0 - n), 5.0 + n)
        for n, c in enumerate(claims)
    ]
    assert [decision.survives or decision.spared for decision in decisions[:5]] == [True] * 5
    last = decisions[-1]
    assert last.survives == last.spared
    assert "neighbours in latency at 1 iterations" in last.reason


def test_a_candidate_that_was_given_back_counts_once_at_a_rung(simulated, monkeypatch):
    search, compared = simulated(20).search, []
    monkeypatch.setattr(Halving, "decide", lambda *given, **_: compared.append(given[2]) or Decision(True, ""))
    book = RungBook(search.stored, "halving")

    def reach(claim, psnr_db):
        book.decide(claim.trial, claim.architecture.key, Rung(iteration=1, psnr_y_db=psnr_db), 5.0)

    first = search.claims.claim()
    reach(first, 30.0)
    search.claims.release(first)
    again = claim_until(search, first.architecture.key)
    reach(again, 31.0)
    owned_by(search, again, host="elsewhere")
    reach(search.claims.claim(), 29.0)
    assert [one.psnr_db for one in compared[-1]] == [31.0, 29.0]


def test_yardsticks_are_not_stopped(simulated, monkeypatch):
    session = simulated(12)

    def decide(*_, is_yardstick):
        return Decision(survives=is_yardstick, reason="dominated")

    monkeypatch.setattr(session.search.rung_book, "decide", decide)
    real, survived = session.judge.judge, {}

    def judge(architecture, number, design="", gate=None, predictions=None):
        survived[design] = gate(Rung(iteration=1, psnr_y_db=30.0), 5.0).survives
        return real(architecture, number, design, gate, predictions)

    monkeypatch.setattr(session.judge, "judge", judge)
    work(session)
    assert len(survived) > 2
    assert all(survives == bool(design) for design, survives in survived.items())


@pytest.mark.parametrize("sampler", ["random", "front"])
def test_patience_ends_a_study(simulated, sampler, monkeypatch):
    session = simulated(40, sampler)
    monkeypatch.setattr(session.publisher, "publish", lambda *_: None)
    session.search.want(total=40, patience=2)
    assert work(session) is Standing.DONE
    known = session.search.stored.snapshot()
    assert 2 < len(known.records) < 40
    assert since_rise(known.study, known.records) == 2
    assert session.search.claims._proposer.ahead(known) is None
    assert list_studies(session.publisher.workspace)[0].state == "converged"


def test_a_storage_that_comes_back_is_waited_for(monkeypatch):
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _: None)
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
    search = simulated().search
    file = workspace / "studies" / "shared.db"
    with contextlib.closing(sqlite3.connect(file, check_same_thread=False)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        threading.Timer(1.0, connection.rollback).start()
        claim = search.claims.claim()
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
        Workspace(workspace).study_url("x", given)


def test_a_server_that_does_not_answer(workspace):
    url = Workspace(workspace).study_url("x", "postgresql://srnas@127.0.0.1:1/none")
    assert shown(url) == "'postgresql+psycopg://srnas@127.0.0.1:1/none'"
    with pytest.raises(StorageInternalError, match="connection"), critical(url, "part"):
        pass
    with pytest.raises(StorageInternalError):
        open_storage(url)
    with pytest.raises(StorageInternalError):
        StoredStudy.find(url, "x")


def test_who_asks_a_server_that_does_not_answer_for_a_study_waits(real, monkeypatch):
    monkeypatch.setattr(storage, "_PATIENCE_S", 0.0)
    silent = "postgresql://srnas@127.0.0.1:1/none"
    with pytest.raises(StorageLostError):
        join(Workspace(real.workspace), "small-x2", Observer(), storage=silent)
    with pytest.raises(StorageLostError):
        plan_search(real.changed(storage=silent))


@pytest.mark.slow
def test_a_search_with_two_worker_processes(real, monkeypatch):
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two cores")
    started = []

    def popen(command, **given):
        started.append(command[:4])
        return fresh.Forked(command, first=brief.CODE, **given)

    monkeypatch.setattr("srnas.nas.run.engines.subprocess.Popen", popen)
    outcome = launch(real.changed(workers=2, replicates=1), Observer())
    # By this process, after the others have ended.
    assert len({record.timed_together_ms for record in outcome.members} - {None}) == 1
    # Two for the candidates, and two for the replicates.
    assert started == [[sys.executable, "-P", "-m", "srnas.nas.run.process"]] * 4
    assert {one.seed for one in outcome.replicates} == {1}
    assert not missing(StoredStudy.find(url_of(real), outcome.name).snapshot(), 1)
    assert len(outcome.records) == 5
    assert len({record.pid for record in outcome.records} - {os.getpid()}) == 2
    assert len({record.architecture.key for record in outcome.records}) == 5
    assert sorted(load_board(Workspace(real.workspace)).rows["trial"]) == sorted(r.number for r in outcome.records)


@pytest.mark.parametrize(
    ("asked", "cores", "left", "expected"), [("auto", 6, 9, 6), ("auto", 6, 2, 2), ("auto", 1, 9, 1), (3, 1, 1, 3)]
)
def test_without_a_number_there_is_a_worker_for_each_core(real, monkeypatch, asked, cores, left, expected):
    monkeypatch.setattr("srnas.nas.run.engines.usable_cores", lambda: cores)
    request = real.changed(workers=asked)
    assert workers_of(request, plan_search(request).settings, left) == expected


@pytest.mark.parametrize(("device", "expected"), [("auto", 4), ("cuda", 4), ("cuda:1", 1)])
def test_without_a_number_there_is_a_worker_for_each_gpu(real, monkeypatch, device, expected):
    settings = plan_search(real).settings.model_copy(update={"device": "cuda:0"})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert workers_of(real.changed(workers="auto", device=device), settings, 9) == expected


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, None, "0", "-1", "two", "2.5", ""])
def test_numbers_of_workers_that_cannot_be(real, bad):
    with pytest.raises(InputError, match=r"workers must be 'auto' or a positive integer, but got workers="):
        real.changed(workers=bad)
    assert (real.changed(workers="2").workers, real.changed(workers="auto").workers) == (2, "auto")


def test_too_many_workers_for_the_cores(real):
    with pytest.raises(InputError, match="workers x threads <="):
        launch(real.changed(workers=1000), Observer())
    with pytest.raises(InputError, match="engine"):
        launch(real.changed(engine="slurm"), Observer())


def test_a_worker_joins_a_study_and_refuses_another_device(real, monkeypatch, launched):
    with pytest.raises(InputError, match="must have been started by 'srnas search'"):
        join(Workspace(real.workspace), "small-x2", Observer())
    launched(real.changed(trials=1))
    url = url_of(real)
    StoredStudy.find(url, "small-x2").study.set_user_attr("total", 3)
    assert join(Workspace(real.workspace), "small-x2", Observer()) is Standing.DONE
    stored = StoredStudy.find(url, "small-x2")
    assert len(stored.snapshot().records) == 3
    # What trains may be another device; what is timed may not.
    elsewhere = stored.snapshot().settings.model_copy(update={"device": "cuda:7"})
    stored.keep_settings(elsewhere)
    assert join(Workspace(real.workspace), "small-x2", Observer()) is Standing.DONE
    monkeypatch.setattr(
        "srnas.nas.run.join.describe", lambda *given: replace(describe_device(*given), name="another machine")
    )
    with pytest.raises(InputError, match="must run on the device profile"):
        join(Workspace(real.workspace), "small-x2", Observer())
    StoredStudy.find(url, "small-x2").study.set_user_attr("request", "")
    with pytest.raises(InputError, match="'small-x2' must say what it was asked for"):
        join(Workspace(real.workspace), "small-x2", Observer())


def test_proxies_are_recorded_and_accounted_for(real):
    outcome = launch(real.changed(trials=4, rungs="none", proxies=True), Observer())
    assert all({"grad_norm", "synflow", "zico"} <= record.predictions.keys() for record in outcome.records)
    assert {"grad_norm", "synflow", "zico"} <= {account.name for account in outcome.accounts}
    assert all(account.has_signal is None for account in outcome.accounts)


def test_a_candidate_that_takes_too_long(real):
    outcome = launch(real.changed(trials=1, max_train_s=1e-9), Observer())
    [record] = outcome.records
    assert record.state == "timed_out"
    assert "train_s=" in record.reason
    assert not list(real.workspace.glob("cache/*/*.training"))
