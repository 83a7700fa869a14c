"""What reached a rung is remembered by the study, and compared with what comes next."""

import pytest
from simulated import claim_until, owned_by

from srnas.leaderboard.record.trials import Rung
from srnas.nas.strategy.rungs import Decision, Halving
from srnas.nas.study.rung_book import RungBook


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
