"""Differences that are paired by photograph, and what is said of them, against closed forms."""

import math

import pytest

from srnas.leaderboard.rank.paired import paired_difference
from srnas.search_space import InputError


def test_mean_standard_error_and_interval():
    # Differences 1, 2, 3: mean 2, standard deviation 1, over the root of 3; Student's t of 2 degrees is 4.3027.
    found = paired_difference([31, 33, 35], [30, 31, 32])
    assert (found.mean_db, found.se_db) == pytest.approx((2, 1 / math.sqrt(3)))
    assert (found.low_db, found.high_db) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


def test_a_single_photograph_has_no_interval():
    found = paired_difference([31.0], [30.0])
    assert (found.mean_db, found.se_db, found.low_db, found.high_db) == (1.0, None, -math.inf, math.inf)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.05, 0.051, 0.049), "better"),
        ((-0.05, -0.051, -0.049), "worse"),
        ((0.001, 0.001, 0.001), "better"),
        ((0.0, 0.0, 0.0), "tie"),
        ((0.1, -0.02, 0.04), "tie"),
        ((-0.1, 0.02, -0.04), "tie"),
        ((3.0, -1.0, 0.5), "undecided"),
        ((-3.0, 1.0, -0.5), "undecided"),
        # Large differences of both signs, of which neither network is better on the whole.
        ((1.0, -1.0, 0.03), "tie"),
        ((0.04,), "tie"),
        ((-0.06,), "undecided"),
    ],
)
def test_the_verdict(differences, verdict):
    assert paired_difference(differences, (0.0,) * len(differences)).verdict == verdict


def test_what_cannot_be_paired():
    for a, b in (((), ()), ((1, 2), (1, 2, 3))):
        with pytest.raises(InputError, match=f"the same one or more images, but got {len(a)} and {len(b)}"):
            paired_difference(a, b)
