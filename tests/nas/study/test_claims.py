"""Which worker judges what, and what becomes of a candidate whose worker is lost."""

import os
import socket
import time

import pytest
from optuna.trial import FixedTrial, TrialState
from simulated import claim_until, owned_by

from srnas.nas.optuna_private import set_attributes
from srnas.nas.strategy.front_sampler import PREDICTED, FrontSampler
from srnas.nas.study.claims import MAX_DEATHS, Claim, Standing
from srnas.nas.study.owner import Owner


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
