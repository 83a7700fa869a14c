"""Hierarchical ridge regression: the data decide how much the effects are shrunk.

The effects of one group are normal about a mean of their group, ``b_gj = m_g + d_gj``, with ``m_g ~ N(0, s_m^2)`` and
``d_gj ~ N(0, s_d^2)``, where ``s_m`` and ``s_d`` are shared by the groups of one kind; the noise of an observation is
``N(0, s^2 + v_i)`` with a known ``v_i``. The scales maximise their marginal posterior; given them that of the effects
is normal. Their prior, a gamma of shape 2 and a rate near 0, keeps ``s_m`` and ``s_d`` from 0, where few trials would
put them and every interval would vanish.

Reference: Gelman et al., "Bayesian Data Analysis", 3rd ed., 2013, chapter 15. Chung et al., "A nondegenerate penalized
likelihood estimator for variance parameters in multilevel models", Psychometrika 78, 2013.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import t as student

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# What is not shrunk has a prior so much wider than the responses are spread.
_FREE = 10.0
# Natural logarithms of the least and the greatest scale, of responses of unit spread.
_SCALES = (-6.0, 3.0)


@dataclass(frozen=True, eq=False)
class Fit:
    """The posterior of a regression.

    Attributes:
        effects: Posterior mean of each shrunk effect.
        lows: Lower ends of their 95 % intervals.
        highs: Upper ends.
        noise: Standard deviation of the residuals that the model finds.
        explained: Share of the variance of the responses that the fit explains.
    """

    effects: Vector
    lows: Vector
    highs: Vector
    noise: float
    explained: float


def fit_hierarchical(
    effects: Matrix, groups: Sequence[tuple[str, str]], covariates: Matrix, responses: Vector, variances: Vector
) -> Fit:
    """Fit the regression.

    Args:
        effects: What is shrunk, ``(N, P)``.
        groups: Kind and name of the group of each of the P columns.
        covariates: What is not shrunk, beside an intercept, ``(N, Q)``.
        responses: ``(N,)``.
        variances: Known variance of each response beyond the noise, ``(N,)``.
    """
    centre, spread = float(responses.mean()), float(responses.std()) or 1.0
    y, known = (responses - centre) / spread, variances / spread**2
    same = np.array([[float(a == b) for b in groups] for a in groups])
    kinds = list(dict.fromkeys(kind for kind, _ in groups))
    of_kind = np.array([kinds.index(kind) for kind, _ in groups])
    varying = covariates[:, np.ptp(covariates, axis=0) > 0]
    free = np.column_stack([np.ones(len(y)), (varying - varying.mean(0)) / varying.std(0)])
    beside = _FREE**2 * free @ free.T

    def parts(logs: Vector) -> tuple[Matrix, Matrix]:
        noise, *scales = np.exp(2 * np.clip(logs, *_SCALES))
        means, singles = np.reshape(scales, (2, -1))[:, of_kind]
        prior = same * np.sqrt(np.outer(means, means)) + np.diag(singles)
        return prior, effects @ prior @ effects.T + beside + np.diag(noise + known)

    def surprise(logs: Vector) -> float:
        _, covariance = parts(logs)
        factor = cho_factor(covariance, lower=True)
        fit = np.log(np.diag(factor[0])).sum() + y @ cho_solve(factor, y) / 2
        return float(fit - np.clip(logs[1:], *_SCALES).sum())

    start = np.log([0.5] + [0.3] * 2 * len(kinds))
    best = minimize(surprise, start, method="Nelder-Mead", options={"maxiter": 200 * len(start)}).x
    prior, covariance = parts(best)
    factor = cho_factor(covariance, lower=True)
    gain = prior @ effects.T
    mean = gain @ cho_solve(factor, y)
    posterior = prior - gain @ cho_solve(factor, gain.T)
    fitted = (effects @ prior @ effects.T + beside) @ cho_solve(factor, y)
    # As many degrees of freedom as the fit leaves: the trace of what maps responses to fitted values is what it takes.
    taken = float(np.trace(cho_solve(factor, effects @ prior @ effects.T + beside)))
    reach = float(student.ppf(0.975, max(1.0, len(y) - taken))) * np.sqrt(np.maximum(np.diag(posterior), 0))
    noise = float(np.exp(np.clip(best[0], *_SCALES)))
    explained = 1 - float((y - fitted).var() / y.var()) if y.var() else 0.0
    return Fit(spread * mean, spread * (mean - reach), spread * (mean + reach), spread * noise, explained)
