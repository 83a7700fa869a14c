"""What is said of samples and of predictions: intervals of medians, rank agreement, relative errors."""

import statistics
from collections.abc import Callable, Sequence
from math import comb

import numpy as np
from scipy.stats import kendalltau

Interval = tuple[float, float]


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the distribution-free confidence interval of the median from order statistics.

    The interval ``[x(k), x(n+1-k)]`` covers the median with probability ``1 - 2 P(Bin(n, 1/2) < k)``; the greatest k
    that keeps ``confidence`` is taken. Fewer than 6 samples give their range.

    Reference: Conover, "Practical Nonparametric Statistics", 3rd ed., 1999, section 3.2.
    """
    ordered = sorted(samples)
    n = len(ordered)
    below, k = 0.0, 0
    while k < n // 2 and 2 * (below + comb(n, k) / 2**n) <= 1 - confidence:
        below += comb(n, k) / 2**n
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the quantile of ``samples`` by linear interpolation between order statistics."""
    return float(np.quantile(samples, share))


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's tau-b between two lists of values; NaN if one of them is constant."""
    return float(kendalltau(first, second).statistic)


def mean_relative_error(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Return the mean absolute percentage error (MAPE) as a share."""
    return statistics.fmean(abs(p - m) / m for p, m in zip(predicted, measured, strict=True))


def bootstrap_interval(
    pairs: Sequence[tuple[float, float]],
    statistic: Callable[[Sequence[float], Sequence[float]], float],
    *,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic of pairs.

    Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    drawn = np.random.default_rng(seed).choice(np.asarray(pairs, float), (draws, len(pairs)))
    values = [statistic(first, second) for first, second in drawn.transpose(0, 2, 1)]
    # A rank correlation of a draw that repeats one pair is not a number.
    low, high = np.nanquantile(values, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
