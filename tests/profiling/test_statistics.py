"""Intervals against theory, and rank agreement by hand."""

import random

import pytest
from scipy.stats import binom

from srnas.profiling.order_statistics import median_interval
from srnas.profiling.statistics import (
    bootstrap_interval,
    kendall_tau,
    mean_relative_error,
    quantile,
)


@pytest.mark.parametrize("n", [6, 7, 12, 25, 60])
def test_interval_of_the_median_has_its_coverage(n):
    low, high = median_interval(list(range(n)))
    rank = round(low) + 1
    assert high == n - rank
    # Conservative, and one rank further in would not be.
    assert 1 - 2 * binom.cdf(rank - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, n, 0.5) < 0.95


def test_few_samples_give_their_range():
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert median_interval([2.0]) == (2.0, 2.0)


def test_interval_covers_the_median():
    rng = random.Random(0)
    covered = 0
    for _ in range(500):
        low, high = median_interval([rng.lognormvariate(0, 0.3) for _ in range(15)])
        covered += low <= 1.0 <= high
    assert covered >= 0.93 * 500


def test_quantile():
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.0) == 1.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile([4.0, 1.0, 3.0, 2.0], 1.0) == 4.0
    assert quantile([7.0], 0.3) == 7.0


def test_kendall_tau():
    assert kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1.0
    # One of six pairs is the wrong way round: (5 - 1) / 6.
    assert kendall_tau([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(4 / 6)


def test_mean_relative_error():
    assert mean_relative_error([1.1, 1.8], [1.0, 2.0]) == pytest.approx(0.1)


def test_bootstrap_interval_of_a_mean():
    rng = random.Random(1)
    pairs = [(rng.gauss(5, 1), 0.0) for _ in range(100)]
    low, high = bootstrap_interval(pairs, lambda first, _: sum(first) / len(first))
    # 1.96 standard errors of 0.1 on both sides.
    assert (low, high) == pytest.approx((5 - 0.196, 5 + 0.196), abs=0.15)
    assert high - low == pytest.approx(0.39, rel=0.25)
