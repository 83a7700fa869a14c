"""The surrogate of an expensive objective: a Gaussian process that learns the weights of its features.

Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press 2006: equations 2.25 and 2.26
(prediction), 2.30 (marginal likelihood), 5.9 (its gradient), 5.12 (leave-one-out prediction in closed form).
scikit-learn has no kernel over some of the features; sums of fixed matrices need little more than a Cholesky factor.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

Floats = NDArray[np.float64]

# Lengths of the Matern kernel, in units of the typical distance to the centre; the likelier one is taken.
_LENGTHS = (1.0, 2.0)
# Where the weights are expected, and the standard deviation of their natural logarithms; four of them are the bounds.
_WEIGHT, _NOISE, _SPREAD = 0.2, 0.02, 2.0
_BOUND = 4
# Keeps the matrix regular where two rows have equal features.
_JITTER = 1e-8
_EQUAL = 1e-9
_STEPS = 40
# A line from one length to another is fitted to so many items at least.
_LEAST_IN_LINE = 4


class Surrogate:
    """Predicts values at features that come in groups.

    The kernel is a linear one for each group, a Matern 3/2 kernel in whose distance all groups count the same, and
    noise, each with a weight of its own: those of the greatest posterior density.

    Args:
        groups: ``(N, D)`` each, D as it comes, N at least 2. Scales matter only inside a group.
        values: ``(N,)``.
        doubts: ``(N,)``, extra standard deviation of each value, or none.
    """

    def __init__(self, groups: Sequence[ArrayLike], values: ArrayLike, doubts: ArrayLike | None = None) -> None:
        y = np.asarray(values, float)
        self._mean, self._deviation = float(y.mean()), _spread(y[:, None])
        self._values: Floats = (y - self._mean) / self._deviation
        extra = np.zeros(len(y)) if doubts is None else (np.asarray(doubts, float) / self._deviation) ** 2
        arrays = [np.asarray(group, float) for group in groups]
        self._centers = [x.mean(0) for x in arrays]
        self._scales = [_spread(x) for x in arrays]
        self._known = self._scaled(arrays)
        fits = [self._fit(length, extra) for length in _LENGTHS]
        _, self._weights, self._length, self._factor = min(fits, key=lambda fit: fit[0])
        self._alpha: Floats = cho_solve((self._factor, True), self._values)

    def _scaled(self, groups: Sequence[ArrayLike]) -> list[Floats]:
        # Then the typical squared distance of a row to the center is 1 in each group.
        return [
            (np.asarray(x, float) - center) / scale
            for x, center, scale in zip(groups, self._centers, self._scales, strict=True)
        ]

    def _kernels(self, rows: list[Floats], length: float) -> Floats:
        """Return ``(K, M, N)``: each kernel between rows and what is known."""
        linear = [x @ z.T for x, z in zip(rows, self._known, strict=True)]
        x, z = np.concatenate(rows, 1), np.concatenate(self._known, 1)
        squares = (x**2).sum(1)[:, None] + (z**2).sum(1) - 2 * x @ z.T
        distance = np.sqrt(3 * np.maximum(squares, 0) / len(rows)) / length
        return np.stack([*linear, (1 + distance) * np.exp(-distance)])

    def _fit(self, length: float, extra: Floats) -> tuple[float, Floats, float, Floats]:
        """Return the negative logarithm of the posterior density, the weights that make it least, and the factor."""
        y, number = self._values, len(self._values)
        kernels = np.concatenate([self._kernels(self._known, length), np.eye(number)[None]])
        expected = np.log([_WEIGHT] * (len(kernels) - 1) + [_NOISE])

        def factor(weights: Floats) -> Floats:
            matrix = np.tensordot(weights, kernels, 1) + np.diag(extra + _JITTER)
            factored: Floats = cho_factor(matrix, lower=True)[0]
            return factored

        def loss(logarithms: Floats) -> tuple[float, Floats]:
            weights = np.exp(logarithms)
            lower = factor(weights)
            inverse = cho_solve((lower, True), np.eye(number))
            alpha = inverse @ y
            off = (logarithms - expected) / _SPREAD
            value = 0.5 * y @ alpha + np.log(np.diag(lower)).sum() + 0.5 * off @ off
            slope = 0.5 * weights * np.tensordot(kernels, inverse - np.outer(alpha, alpha), 2) + off / _SPREAD
            return float(value), slope

        bounds = [(center - _BOUND * _SPREAD, center + _BOUND * _SPREAD) for center in expected]
        optimum = minimize(loss, expected, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
        weights: Floats = np.exp(optimum.x)
        return float(optimum.fun), weights, length, factor(weights)

    def predict(self, groups: Sequence[ArrayLike]) -> tuple[Floats, Floats]:
        """Return means and standard deviations, noise included, ``(M,)`` at features ``(M, D)`` in the same groups."""
        rows = self._scaled(groups)
        between = np.tensordot(self._weights[:-1], self._kernels(rows, self._length), 1)
        # At distance 0 the Matern kernel and the noise, whose weights are the last two, are 1.
        itself = sum(w * (x**2).sum(1) for w, x in zip(self._weights, rows, strict=False)) + self._weights[-2:].sum()
        explained = (between * cho_solve((self._factor, True), between.T).T).sum(1)
        deviation = np.sqrt(np.maximum(itself - explained, _JITTER))
        return between @ self._alpha * self._deviation + self._mean, deviation * self._deviation

    @property
    def values(self) -> Floats:
        """``(N,)``: what it was fitted to."""
        values: Floats = self._values * self._deviation + self._mean
        return values

    def left_out(self) -> Floats:
        """Return ``(N,)``: each value as it is predicted without it, by a model of the same weights."""
        inverse = cho_solve((self._factor, True), np.eye(len(self._values)))
        predicted: Floats = self._values - self._alpha / np.diag(inverse)
        return predicted * self._deviation + self._mean


def _spread(x: Floats) -> float:
    """Return the typical distance of a row to the center; 1 if they are equal but for rounding."""
    spread = float(np.sqrt(x.var(0).sum()))
    return spread if spread > _EQUAL * max(1.0, float(np.abs(x).max(initial=0))) else 1.0


def extrapolate(views: Sequence[Sequence[float | None]], own: int) -> list[tuple[float, float] | None]:
    """Return what each item is expected to be worth at the greatest length, and with which standard deviation.

    That is the last length at which enough items were seen. An item that was seen there is worth what was seen; of
    another that at the last length from which a line leads there, fitted to the items that were seen at both, tells.
    Of an item without such a length, or where there are too few of all, nothing is expected.

    Args:
        views: For each item its values at increasing lengths, of which the shorter are correlated views of the longest.
        own: Index of the least length whose values may be what is expected.
    """
    columns = [*zip(*views, strict=True)]
    seen = [sum(value is not None for value in column) >= _LEAST_IN_LINE for column in columns]
    target = max((number for number in range(own, len(columns)) if seen[number]), default=own)
    expected: list[tuple[float, float] | None] = [None] * len(views)
    for column in columns[: target + 1]:
        expected = [late or early for early, late in zip(expected, _by_line(column, columns[target]), strict=True)]
    return expected


def _by_line(partial: Sequence[float | None], final: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """Return final values where they are known, and what a line expects of partial ones."""
    both = [(p, f) for p, f in zip(partial, final, strict=True) if p is not None and f is not None]
    if len(both) < _LEAST_IN_LINE:
        return [None] * len(partial)
    before, after = np.array(both).T
    slope = np.cov(before, after)[0, 1] / max(before.var(ddof=1), 1e-12)
    intercept = after.mean() - slope * before.mean()
    deviation = float(np.std(after - intercept - slope * before, ddof=2))
    return [
        (f, 0.0) if f is not None else None if p is None else (float(intercept + slope * p), deviation)
        for p, f in zip(partial, final, strict=True)
    ]
