"""The interval of a median. The agent on another machine runs this module as it is: it keeps to what Python has."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

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
