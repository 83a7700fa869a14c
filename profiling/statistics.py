"""Statistics of samples and predictions: quantiles, rank agreement, relative errors."""

import statistics
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import kendalltau

from srnas.profiling.order_statistics import Interval


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
