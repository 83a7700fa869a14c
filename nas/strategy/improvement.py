"""The expected improvement of a hypervolume by candidates of which one objective is known.

Reference: Emmerich, Giannakoglou and Naujoks, "Single- and Multiobjective Evolutionary Optimization Assisted by
Gaussian Random Field Metamodels", IEEE Trans. Evol. Comput. 10(4), 2006. Where one objective is known the integral is
one of a piecewise linear function of a normal variable, and closed.
"""

import math

import numpy as np
from scipy.stats import norm

from srnas.leaderboard.rank.front import staircase
from srnas.nas.strategy.surrogate import Floats


def expected_improvement(
    mean: Floats, deviation: Floats, cost: Floats, values: Floats, spent: Floats, reference: tuple[float, float]
) -> Floats:
    """Return by how much each proposal is expected to raise the hypervolume.

    A proposal of cost ``c`` and value ``y`` adds, at each cost from ``c`` to the reference's, what ``y`` exceeds the
    best value at no greater cost by. Between the costs of the front that best value is constant, and the expectation is
    a sum over its steps of width times ``E[max(y - best, 0)] = s (z Phi(z) + phi(z))``, ``z = (mean - best) / s``.

    Args:
        mean: ``(M,)``, expected values, to maximise.
        deviation: ``(M,)``, their standard deviations.
        cost: ``(M,)``, known costs, to minimise, on the scale of the hypervolume.
        values: ``(N,)`` of what was tried.
        spent: ``(N,)``, its costs.
        reference: Value and cost of the reference point.
    """
    worst, limit = reference
    starts, bests = [-math.inf], [worst]
    tried = [(float(value), float(at)) for value, at in zip(values, spent, strict=True) if value > worst and at < limit]
    for value, at in (tried[i] for i in staircase(tried)):
        starts.append(at)
        bests.append(value)
    ends = np.array([*starts[1:], limit])
    widths = np.clip(ends - np.maximum(np.array(starts), cost[:, None]), 0, None)
    s = np.maximum(deviation, 1e-12)[:, None]
    z = (mean[:, None] - np.array(bests)) / s
    improvement: Floats = (widths * s * (z * norm.cdf(z) + norm.pdf(z))).sum(1)
    return improvement
