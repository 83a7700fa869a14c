"""Non-domination and hypervolume against brute force and closed forms."""

import math
import random
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srnas.leaderboard.rank.front import (
    dominates,
    hypervolume,
    non_dominated,
    non_dominated_of_rows,
    staircase,
)

points = st.lists(st.tuples(st.integers(20, 30).map(float), st.integers(1, 12).map(float)), max_size=14)


def by_definition(a, b):
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@given(points)
@settings(deadline=None)
def test_non_dominated_equals_its_definition(candidates):
    expected = [not any(by_definition(other, point) for other in candidates) for point in candidates]
    assert non_dominated(candidates) == expected


@given(points)
@settings(deadline=None)
def test_every_form_of_domination_agrees(candidates):
    expected = [not any(by_definition(other, point) for other in candidates) for point in candidates]
    assert [not any(dominates(other, point) for other in candidates) for point in candidates] == expected
    psnr, latency = (np.array([[point[i] for point in candidates]]) for i in (0, 1))
    assert non_dominated_of_rows(psnr, latency).tolist() == [expected]
    steps = [candidates[i] for i in staircase(candidates)]
    # The front without its repetitions: latency and PSNR rise together.
    assert steps == sorted({point for point, kept in zip(candidates, expected, strict=True) if kept}, key=itemgetter(1))


def test_a_margin_asks_for_more_psnr():
    assert dominates((31.0, 1.0), (30.5, 2.0), margin_db=0.5)
    assert not dominates((31.0, 1.0), (30.5, 2.0), margin_db=0.6)
    assert not dominates((31.0, 1.0), (31.0, 1.0))


def test_nan_is_never_on_the_front():
    assert non_dominated([(math.nan, 1.0), (30.0, math.nan), (29.0, 2.0)]) == [False, False, True]
    assert non_dominated([]) == []


def test_hypervolume_of_one_point():
    # (31 - 30) dB times ln(10 / 5).
    assert hypervolume([(31.0, 5.0)], (30.0, 10.0)) == pytest.approx(math.log(2))


def test_hypervolume_of_a_staircase():
    expected = 1 * math.log(8 / 1) + 1 * math.log(8 / 2) + 2 * math.log(8 / 4)
    assert hypervolume([(31.0, 1.0), (32.0, 2.0), (34.0, 4.0), (31.5, 3.0)], (30.0, 8.0)) == pytest.approx(expected)


def test_points_that_do_not_dominate_the_reference_add_nothing():
    assert hypervolume([(30.0, 1.0), (35.0, 8.0), (29.0, 9.0)], (30.0, 8.0)) == 0


@given(points, st.integers(0, 1000))
@settings(deadline=None)
def test_hypervolume_does_not_depend_on_order_or_unit(candidates, seed):
    shuffled = random.Random(seed).sample(candidates, len(candidates))
    in_microseconds = [(psnr, latency * 1000) for psnr, latency in shuffled]
    expected = hypervolume(candidates, (20.0, 13.0))
    assert hypervolume(shuffled, (20.0, 13.0)) == pytest.approx(expected)
    assert hypervolume(in_microseconds, (20.0, 13_000.0)) == pytest.approx(expected)


@given(points)
@settings(max_examples=20, deadline=None)
def test_hypervolume_equals_a_grid_count(candidates):
    # In units of 1 dB and ln 2 the area is a count of cells.
    doubled = [(psnr, 2.0 ** int(latency)) for psnr, latency in candidates]
    cells = sum(
        any(p >= psnr and latency <= 2.0**step for p, latency in doubled)
        for psnr in range(21, 31)
        for step in range(1, 13)
    )
    assert hypervolume(doubled, (20.0, 2.0**13)) == pytest.approx(cells * math.log(2))
