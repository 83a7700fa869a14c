"""A board in another data type than float32: what has its own PSNR ranks by it, what has none does not rank."""

import math

import pytest
from handmade import as_timed, quality, replicate, study, trial

from srnas.leaderboard.rank.board import rank_records
from srnas.leaderboard.rank.picking import pick
from srnas.leaderboard.record.timed_quality import TimedQuality, as_ranked
from srnas.leaderboard.show.table import board_markdown, board_summary
from srnas.leaderboard.show.terminal import front_chart
from srnas.leaderboard.store.store import Store
from srnas.search_space import InputError

# 1 is the better of two equally fast ones by its training, 0 by its own PSNR; 3 is the best of all and has none.
TRIALS = [
    as_timed(trial(0, 31.5, (2.0,)), 31.4),
    as_timed(trial(1, 31.9, (2.0,)), 31.0),
    as_timed(trial(2, 31.0, (1.0,)), 30.5),
    trial(3, 33.0, (0.5,)),
    TimedQuality(number=4, seed=0, dtype="int8", runtime="r", reason="not finite").of(trial(4, 32.0, (0.7,))),
    trial(5, 0.0, state="stopped"),
]


@pytest.fixture
def board():
    return rank_records(study("int8"), TRIALS)


def test_the_front_is_that_of_its_own_psnr(board):
    assert board.front["trial"].tolist() == [2, 0]
    # The front, the others by their own PSNR, then what has none by that of its training, then what was not finished.
    assert board.rows["trial"].tolist() == [2, 0, 1, 3, 4, 5]
    assert board.front["gain_db"].tolist() == pytest.approx([0.5, 1.4])
    assert board.rows["gain_db"].isna().tolist() == [False, False, False, True, True, True]
    # Closed form against (30 dB, e ms): 0.5 dB from 1 ms on, 0.9 dB more from 2 ms on.
    assert board.hypervolume == pytest.approx(0.5 + 0.9 * (1 - math.log(2)))
    assert board.rows.set_index("trial")["front_probability"].isna().tolist() == [False] * 3 + [True] * 3
    assert rank_records(study(), TRIALS).front["trial"].tolist() == [3]


def test_limits_and_orders_go_by_it(board):
    assert board.selected(min_psnr_y_db=31.0).rows["trial"].tolist() == [0, 1]
    assert board.selected(sort="psnr").rows["trial"].tolist()[:3] == [0, 1, 2]


def test_both_are_shown_where_a_study_has_both(board):
    heads, _, first, *_ = board_markdown(board).splitlines()
    assert [cell.strip() for cell in heads.split("|")][4:6] == ["PSNR-Y", "PSNR int8"]
    assert [cell.strip() for cell in first.split("|")][4:6] == ["31.00", "30.50"]
    plain = rank_records(study(), [trial(0, 31.0)])
    assert "PSNR int8" not in board_markdown(plain)
    assert "timed_psnr_y_db" not in plain.rows


def test_what_has_none_is_drawn_nowhere(board):
    assert front_chart(board, width=80).count("●") - 2 == 2


def test_before_the_end_of_a_search_nothing_ranks():
    board = rank_records(study("int8"), [trial(0, 31.0), trial(1, 32.0)])
    assert board.front.empty
    assert board.hypervolume == 0
    assert board_summary(board).startswith("No trial has its PSNR in int8, without which none ranks")
    assert front_chart(board, width=80) == ""
    with pytest.raises(InputError, match="must hold a trained network with its PSNR in int8, but it holds none"):
        pick(board, 5.0, None, None)


def test_what_is_picked_has_its_own(board):
    def load(number):
        [own] = as_ranked(board.study, [TRIALS[number]])
        return TRIALS[number], [own.quality]

    picked = pick(board, 5.0, None, load)
    assert (picked.chosen.trial.number, picked.chosen.psnr_y_db) == (0, 31.4)
    assert [duel.rival.trial.number for duel in picked.runners_up] == [1, 2]


def test_scores_in_one_data_type_are_not_taken_for_those_of_another(workspace):
    store, again = Store(workspace), replicate(0, 31.0).model_copy(update={"timed_quality": quality(30.0)})
    store.write_replicate(store.open_study(study("bfloat16")), study("bfloat16"), again)
    assert store.replicates(study("bfloat16")) == [again]
    retimed = {dtype: study(dtype).model_copy(update={"retimed_from": "demo"}) for dtype in ("float32", "int8")}
    assert store.replicates(retimed["float32"]) == [again]
    assert store.replicates(retimed["int8"]) == []
