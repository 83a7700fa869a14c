"""Rows of a board in another order, and which are kept."""

import math

import pytest
from handmade import study, trial

from srnas.leaderboard.rank.board import rank_records, rank_rows
from srnas.leaderboard.show.table import board_markdown
from srnas.search_space import InputError

# By rising latency; 0 and 3 are the front.
TRIALS = [trial(0, 31.0, (1.0,)), trial(1, 30.2, (2.0,)), trial(2, 30.9, (3.0,)), trial(3, 32.0, (4.0,))]


def test_the_front_and_the_best_others_are_kept_whatever_the_order():
    board = rank_records(study(), TRIALS)
    assert list(board.best(1).rows["trial"]) == [0, 3, 2]
    by_latency = board.selected(sort="latency")
    assert list(by_latency.rows["trial"]) == [0, 1, 2, 3]
    assert list(by_latency.best(1).rows["trial"]) == [0, 2, 3]
    assert list(board.selected(sort="psnr").best(0).rows["trial"]) == [3, 0]
    assert list(board.selected(sort="latency", max_latency_ms=2.5).best(1).rows["trial"]) == [0, 1]
    assert board_markdown(by_latency, limit=1).count("\n") == 1 + 3
    assert "| 3 |" in board_markdown(by_latency, limit=1)


@pytest.mark.parametrize("budget", [math.nan, 0.0, -5.0])
def test_a_budget_is_positive(budget):
    with pytest.raises(InputError, match="max_latency_ms > 0 must hold"):
        rank_records(study(), TRIALS).selected(max_latency_ms=budget)


def test_an_order_by_what_is_not_known_is_refused():
    board = rank_records(study(), TRIALS)
    assert board.selected(sort="probability").rows["front_probability"].is_monotonic_decreasing
    without = rank_rows(study(), board.rows.drop(columns="front_probability"))
    with pytest.raises(InputError, match="'demo' must have a front_probability to sort by 'probability'"):
        without.selected(sort="probability")
