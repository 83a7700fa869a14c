"""The end of a search in another data type: who is scored as it is timed, what is kept, and what ranks then."""

from dataclasses import replace

import pytest
import torch

from srnas.leaderboard.record.trials import Replicate
from srnas.nas.images.evaluation import evaluate
from srnas.nas.judging.observer import Observer
from srnas.nas.run import final_timing
from srnas.nas.run.final_timing import is_due, time_front
from srnas.nas.run.launch import launch
from srnas.nas.run.outcome import summarise
from srnas.nas.run.plan import plan_search
from srnas.nas.run.session import open_session
from srnas.nas.run.timed_quality import score_as_timed
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space.checkpoints import load_network


@pytest.fixture
def ended(opened):
    """Return a study of eight candidates that is timed in bfloat16, with its notes."""
    return opened(dtype="bfloat16")


def known(session):
    return session.search.stored.snapshot()


def numbers(scorer):
    return sorted(number for number, _ in scorer.scored)


def test_the_front_and_its_neighbours_are_scored_before_they_are_timed(ended, scorer, clock):
    session, notes = ended
    assert is_due(known(session), session.judge.materials.target)
    assert summarise(known(session)).board.front.empty
    time_front(session)
    assert numbers(scorer) == clock.runs[0] == [0, 1, 2, 3, 5]
    assert notes[0] == "scoring 5 networks near the front in bfloat16 by eager"
    assert not is_due(known(session), session.judge.materials.target)
    assert summarise(known(session)).board.front["trial"].tolist() == [0, 1, 5]
    time_front(session)
    assert len(scorer.scored) == 5


def test_what_loses_much_makes_room_for_what_it_had_dominated(ended, scorer, clock):
    session, _ = ended
    scorer.losses = {1: 2.0, 5: 1.5}
    time_front(session)
    board = summarise(known(session)).board
    assert board.front["trial"].tolist() == [0, 2]
    assert clock.runs == [[0, 2, 3]]
    # By its PSNR in float32 trial 5 would be the best of all.
    assert board.rows.set_index("trial").loc[5, ["psnr_y_db", "timed_psnr_y_db"]].tolist() == [32.0, 30.5]


def test_where_all_lose_everyone_who_could_be_on_the_front_is_scored(ended, scorer):
    session, _ = ended
    scorer.losses = dict.fromkeys(range(8), 0.5)
    time_front(session)
    # Only when 1 is scored is 4 near the front with what it was trained to; 6 and 7 are behind 5 whatever they lose.
    assert [number for number, _ in scorer.scored] == [0, 1, 2, 3, 5, 4]
    assert summarise(known(session)).board.front["trial"].tolist() == [0, 1, 5]


def test_a_search_that_is_killed_meanwhile_goes_on(ended, scorer, clock):
    session, _ = ended
    scorer.failing = {2: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        time_front(session)
    there = list(scorer.scored)
    assert 0 < len(there) < 5
    assert clock.runs == []
    assert is_due(known(session), session.judge.materials.target)
    time_front(session)
    assert numbers(scorer) == [0, 1, 2, 3, 5]
    assert scorer.scored[: len(there)] == there


def test_what_cannot_be_run_has_no_rank_and_says_why(ended, scorer):
    session, notes = ended
    scorer.refused = {5: "no kernel", 0: "the network's output is not finite"}
    time_front(session)
    assert "trial 5 has no rank: no kernel" in notes
    rows = summarise(known(session)).board.rows.set_index("trial")
    assert rows.loc[5, "reason"] == "no PSNR in bfloat16: no kernel"
    assert not rows.loc[[0, 5], "front"].any()
    assert not is_due(known(session), session.judge.materials.target)


def test_what_another_machine_trained_keeps_its_chance_of_a_rank(ended, scorer, clock):
    session, notes = ended
    record = known(session).records[5]
    weights = session.publisher.workspace.weights(record)
    weights.unlink()
    time_front(session)
    assert 5 not in numbers(scorer)
    assert len(clock.runs) == 1
    said = f"trial 5 has no rank: its weights are not in this workspace; it was trained on '{record.host}'"
    assert [note for note in notes if "no rank" in note] == [said]
    assert not summarise(known(session)).board.rows.set_index("trial").loc[5, "front"]
    assert is_due(known(session), session.judge.materials.target)
    weights.touch()
    time_front(session)
    assert numbers(scorer) == [0, 1, 2, 3, 5]
    assert not is_due(known(session), session.judge.materials.target)


def test_nothing_ranks_where_nothing_runs(ended, scorer, clock):
    session, _ = ended
    scorer.refused = dict.fromkeys(range(8), "no kernel")
    time_front(session)
    assert summarise(known(session)).board.front.empty
    assert clock.runs == []
    assert not is_due(known(session), session.judge.materials.target)


def test_what_was_trained_again_is_scored_as_well(ended, scorer):
    session, _ = ended
    time_front(session)
    before = known(session)
    again = Replicate(number=1, seed=7, quality=before.records[1].quality, train_s=1.0)
    session.search.stored.keep_replicate(again)
    protocol = session.search.settings.with_training(seed=7).protocol
    weights = session.publisher.workspace.weights(before.records[1].model_copy(update={"protocol": protocol}))
    weights.parent.mkdir()
    weights.touch()
    assert is_due(known(session), session.judge.materials.target)
    held = score_as_timed(session)
    assert scorer.scored[-1] == (1, 7)
    assert held.replicates[0].timed_quality.mean_psnr_y_db == 31.0
    assert summarise(held).board.rows.set_index("trial")["num_seeds"].to_dict()[1] == 2


def test_another_machine_leaves_it(ended, scorer, monkeypatch):
    session, _ = ended
    other = replace(known(session).study.device, name="Other CPU")
    monkeypatch.setattr(final_timing, "describe", lambda *_: other)
    time_front(session)
    assert scorer.scored == []


def test_in_float32_nobody_is_scored(opened, scorer):
    session, _ = opened()
    time_front(session)
    assert scorer.scored == []


@pytest.mark.slow
def test_a_search_ends_with_the_psnr_of_what_is_timed(search_request, launched):
    request = search_request.changed(trials=3, dtype="bfloat16")
    outcome = launched(request)
    front = outcome.board.front
    assert len(front)
    [first] = [record for record in outcome.records if record.number == front["trial"].iloc[0]]
    session = open_session(plan_search(request), Observer())
    network = load_network(first.architecture, Workspace(request.workspace).weights(first)).deploy().bfloat16()
    pairs = session.judge.materials.validation
    expected = evaluate(
        network, pairs, 2, torch.device("cpu"), with_ssim=False, run=lambda x: network(x.bfloat16()).float()
    )
    assert first.timed_quality.psnr_y_db == expected.psnr_y_db
    # 8 bits of a number cost little, and never nothing in every photograph.
    assert 0 < abs(front["timed_psnr_y_db"] - front["psnr_y_db"]).max() < 3
    # The same command again runs nothing, and ranks alike.
    again = launch(request, Observer())
    assert not again.anew
    assert again.board.front["timed_psnr_y_db"].tolist() == front["timed_psnr_y_db"].tolist()
