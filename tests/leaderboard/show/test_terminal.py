"""The front as a chart of characters."""

import re

import pytest
from handmade import study, trial

from srnas.leaderboard.rank.board import rank_records
from srnas.leaderboard.show.terminal import front_chart


@pytest.mark.parametrize("width", [60, 120])
def test_every_trial_has_its_mark(width):
    front = [trial(0, 31.0, (1.0,)), trial(1, 32.0, (3.0,)), trial(2, 33.0, (9.0,))]
    dominated = [trial(3, 30.5, (2.0,)), trial(4, 31.5, (6.0,))]
    design = trial(5, 31.2, (20.0,)).model_copy(update={"design": "EDSR-like"})
    unfinished = trial(6, 0.0, (4.0,), state="stopped")
    chart = front_chart(rank_records(study(), [*front, *dominated, design, unfinished]), width=width)
    lines = chart.splitlines()
    assert all(len(line) <= width for line in lines)
    # The legend shows a mark twice.
    assert chart.count("●") - 2 == len(front)
    assert chart.count("·") - 2 == len(dominated)
    assert sum(line.count("o") for line in lines if not re.search("[a-z]{2}", line)) == 1
    assert "dominated human design" in chart
    # Faster is further left, better is further up.
    columns = [line.rindex("●") for line in lines if "●" in line and "●●" not in line]
    assert columns == sorted(columns, reverse=True)


def test_nothing_is_drawn_of_nothing():
    assert front_chart(rank_records(study(), []), width=80) == ""
    assert front_chart(rank_records(study(), [trial(0, 0.0, state="failed")]), width=80) == ""


@pytest.mark.parametrize("width", [60, 80, 140])
def test_both_axes_have_names(width):
    chart = front_chart(rank_records(study(), [trial(0, 31.0, (1.0,)), trial(1, 32.0, (3.0,))]), width=width)
    assert chart.startswith("PSNR-Y in dB; line: bicubic")
    assert "latency in ms, fastest round" in chart
