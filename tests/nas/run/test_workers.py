"""What workers do on one study, and what a worker leaves."""

import os
import sys
from dataclasses import replace

import brief
import fresh
import pytest

from srnas.leaderboard.record.trials import Rung
from srnas.nas.errors import DeviceLostError
from srnas.nas.judging.accounts import SETTLED
from srnas.nas.judging.observer import Observer
from srnas.nas.revisit.archive import list_studies
from srnas.nas.run.join import join
from srnas.nas.run.launch import launch
from srnas.nas.run.replicates import missing
from srnas.nas.run.worker import work
from srnas.nas.strategy.rungs import Decision
from srnas.nas.study.claims import MAX_DEATHS, Standing
from srnas.nas.study.snapshot import since_rise
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import describe_device
from srnas.search_space import InputError


@pytest.fixture
def real(search_request, brief_latency):
    return search_request.changed(trials=5, rungs="halving")


def url_of(request):
    return Workspace(request.workspace).study_url("small-x2")


def judge_next(session):
    """Claim a candidate and hand its record in."""
    claim = session.search.claims.claim()
    record = session.judge.judge(claim.architecture, claim.number, gate=lambda *_: None)
    return session.search.claims.finish(claim, record)


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
