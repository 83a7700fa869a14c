"""What an expensive objective is expected to be, with its uncertainty: a Gaussian process of few constants.

Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press 2006: equations 2.25 and 2.26
(prediction), 2.30 (marginal likelihood), 5.12 (leave-one-out prediction in closed form).
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

Floats = NDArray[np.float64]

# Length scales in units of the typical distance, share of the variance that is linear, share that is noise.
_LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
_LINEAR = (0.0, 0.3, 0.7, 0.95)
_NOISE = (0.003, 0.03, 0.2)
# The mean is taken off before: the linear kernel needs no constant, but its logarithm must exist.
_ORIGIN = 1e-3


class Surrogate:
    """Predicts values at features.

    The kernel is a Matern 3/2 kernel plus a linear one plus noise; its three constants are those of a small grid with
    the greatest marginal likelihood, which needs no optimiser and cannot fail to converge.

    Args:
        features: ``(N, D)``, N at least 2, on scales that say how much each may matter.
        values: ``(N,)``.
        doubts: ``(N,)``, extra standard deviation of each value, or none.
    """

    def __init__(self, features: ArrayLike, values: ArrayLike, doubts: ArrayLike | None = None) -> None:
        x, y = np.asarray(features, float), np.asarray(values, float)
        self._center = x.mean(0)
        self._spread = float(np.sqrt(x.var(0).sum())) or 1.0
        self._mean, self._deviation = float(y.mean()), float(y.std()) or 1.0
        self._values = (y - self._mean) / self._deviation
        extra = np.zeros(len(y)) if doubts is None else (np.asarray(doubts, float) / self._deviation) ** 2
        scaled = self._scaled(x)
        fits = (self._fit(scaled, extra, *constants) for constants in itertools.product(_LENGTHS, _LINEAR, _NOISE))
        self._process = max(fits, key=lambda process: float(process.log_marginal_likelihood_value_))

    def _scaled(self, features: ArrayLike) -> Floats:
        # Then the typical squared distance of a row to the center is 1, and that of two rows 2.
        scaled: Floats = (np.asarray(features, float) - self._center) / self._spread
        return scaled

    def _fit(
        self, features: Floats, extra: Floats, length: float, linear: float, noise: float
    ) -> GaussianProcessRegressor:
        kernel: Any = ConstantKernel(1 - linear) * Matern(length, nu=1.5)
        if linear:
            kernel += ConstantKernel(linear) * DotProduct(_ORIGIN)
        process = GaussianProcessRegressor(kernel + WhiteKernel(noise), alpha=extra + 1e-8, optimizer=None)
        return process.fit(features, self._values)

    def predict(self, features: ArrayLike) -> tuple[Floats, Floats]:
        """Return means and standard deviations ``(M,)`` at features ``(M, D)``."""
        mean, deviation = self._process.predict(self._scaled(features), return_std=True)
        return mean * self._deviation + self._mean, deviation * self._deviation

    @property
    def values(self) -> Floats:
        """``(N,)``: what it was fitted to."""
        values: Floats = self._values * self._deviation + self._mean
        return values

    def left_out(self) -> Floats:
        """Return ``(N,)``: each value as it is predicted without it."""
        inverse = cho_solve((self._process.L_, True), np.eye(len(self._values)))
        predicted: Floats = self._values - (inverse @ self._values) / np.diag(inverse)
        return predicted * self._deviation + self._mean


def extrapolate(partial: Sequence[float | None], final: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """Return the expected final value and its standard deviation for each item that has only a partial one.

    A line is fitted to the items that have both; with fewer than four, nothing is expected.

    Args:
        partial: Values on the way.
        final: Values at the end.
    """
    both = [(p, f) for p, f in zip(partial, final, strict=True) if p is not None and f is not None]
    if len(both) < 4:
        return [None] * len(partial)
    before, after = np.array(both).T
    slope = np.cov(before, after)[0, 1] / max(before.var(ddof=1), 1e-12)
    intercept = after.mean() - slope * before.mean()
    deviation = float(np.std(after - intercept - slope * before, ddof=2))
    return [
        (float(intercept + slope * p), deviation) if p is not None and f is None else None
        for p, f in zip(partial, final, strict=True)
    ]
