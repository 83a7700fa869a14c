"""What is said of a board beside its rows."""

import pytest
from handmade import study, trial

from srnas.leaderboard.rank.board import rank_records
from srnas.leaderboard.show.table import board_table, timing_summary


def said(*timed_together_ms):
    """Return what is said of a front of two and a trial behind it."""
    trials = [trial(0, 31.0, (1.0,)), trial(1, 32.0, (2.0,)), trial(2, 31.9, (2.1,))]
    pairs = zip(trials, timed_together_ms, strict=True)
    return timing_summary(
        rank_records(study(), [one.model_copy(update={"timed_together_ms": ended}) for one, ended in pairs])
    )


def test_whether_a_front_comes_from_one_run_is_said():
    one_run = "The latencies of the front come from one run, in which {} timed too."
    assert said(7, 7, 7) == one_run.format("1 other network was")
    assert said(7, 7, None) == one_run.format("0 other networks were")
    apart = "The latencies of the front do not come from one run: {} of 2 networks were timed at another moment."
    assert said(7, None, 7) == apart.format(1)
    assert said(None, None, None) == apart.format(2)
    assert timing_summary(rank_records(study(), [])) == ""


@pytest.mark.parametrize("sort", ["params", "macs"])
def test_the_column_of_the_order_is_never_left_out(sort):
    board = rank_records(study(), [trial(0, 31.0, (1.0,)), trial(1, 32.0, (2.0,))])
    headings = [column.header for column in board_table(board, width=60, sort=sort).columns]
    assert any(str(heading).lower().startswith(sort) for heading in headings)
