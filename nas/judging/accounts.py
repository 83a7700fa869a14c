"""How good predictors are: Kendall's tau with finished trials at equal latency, with an interval.

A predictor that only knows which networks are slow knows nothing that is not measured anyway, so that latency is held
fixed: tau is counted over the pairs of trials that are close in latency, with what their PSNR exceeds the trend by.
Pairs that are equal in either are left out, which makes no difference where none are.

Reference: Kendall, "A New Measure of Rank Correlation", Biometrika 30, 1938.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srnas.leaderboard.record.trials import TrialRecord

Floats = NDArray[np.float64]

# Pairs are compared whose latencies differ by no more than this share; or, of few trials, the closest tenth of pairs.
CLOSE = 0.15
_LEAST_SHARE = 0.1
# With fewer trials no predictor is judged.
MIN_TRIALS = 12
# With fewer the interval of a predictor of use often includes 0 as well.
SETTLED = 48
# Bootstrap draws: twelve of them lie beyond each end of a 95 % interval.
_DRAWS = 500


@dataclass(frozen=True)
class Account:
    """A predictor against finished trials.

    Attributes:
        name: Name of the predictor.
        tau: Kendall's tau, -1 to 1.
        low: Lower end of the 95 % bootstrap interval of tau over trials.
        high: Upper end of that interval.
        num_trials: Number of trials that tau is computed over.
        given_latency: Whether latency is held fixed.
    """

    name: str
    tau: float
    low: float
    high: float
    num_trials: int
    given_latency: bool

    @property
    def has_signal(self) -> bool | None:
        """Whether the whole interval is above 0; ``None`` while there are too few trials to say."""
        return None if self.num_trials < MIN_TRIALS else self.low > 0

    def __str__(self) -> str:
        what = "with PSNR at equal latency" if self.given_latency else "with latency"
        verdict = {None: "too few trials to judge", True: "has signal", False: "no signal"}[self.has_signal]
        return (
            f"predictor {self.name}: Kendall tau {what} {self.tau:+.2f} ({self.low:+.2f} to {self.high:+.2f}, "
            f"{self.num_trials} trials), {verdict}"
        )


Row = tuple[float, float, float]


def accounts_of(records: Sequence[TrialRecord], names: Collection[str] | None = None) -> list[Account]:
    """Return what each predictor, or those of ``names``, was worth on the trials that were trained to the end."""
    points = {record.number: record.point for record in records if record.point}
    psnr = {number: point[0] for number, point in points.items()}
    latency = {number: point[1] for number, point in points.items()}
    predictions: dict[str, dict[int, float]] = {}
    for record in records:
        for name, value in record.predictions.items():
            if record.number in points and (names is None or name in names):
                predictions.setdefault(name, {})[record.number] = value
    # These predict latency; every other predictor is one of PSNR.
    of_latency = ("table", "surrogate.cheap")
    timed = {name: values for name, values in predictions.items() if name in of_latency}
    # The last two say how sure the surrogate is, and predict nothing.
    for name in (*timed, "surrogate.std", "surrogate.trusted"):
        predictions.pop(name, None)
    return [*account(predictions, psnr, latency), *account_latency(timed, latency)]


def without_signal(records: Sequence[TrialRecord], names: Collection[str]) -> dict[str, Account]:
    """Return which of these predictors have shown no signal over ``SETTLED`` trials or more."""
    accounts = accounts_of(records, names) if names else []
    return {one.name: one for one in accounts if one.num_trials >= SETTLED and not one.has_signal}


def account(
    predictions: Mapping[str, Mapping[int, float]], psnr_db: Mapping[int, float], fastest_ms: Mapping[int, float]
) -> list[Account]:
    """Return what each predictor of PSNR is worth, given latency.

    Args:
        predictions: Predicted values by predictor and by number of the trial; a higher value shall mean better.
        psnr_db: PSNR in dB by number of the trial.
        fastest_ms: Fastest round in milliseconds by number of the trial.
    """
    accounts = []
    for name, predicted in predictions.items():
        numbers = sorted(predicted.keys() & psnr_db.keys())
        gained = beside_trend([psnr_db[n] for n in numbers], [fastest_ms[n] for n in numbers])
        rows = [(predicted[n], gain, fastest_ms[n]) for n, gain in zip(numbers, gained, strict=True)]
        accounts += _account(name, rows, given_latency=True)
    return accounts


def beside_trend(psnr_db: Sequence[float], fastest_ms: Sequence[float]) -> list[float]:
    """Return what PSNR exceeds a line over the logarithm of latency by."""
    logs = [math.log(latency) for latency in fastest_ms]
    # Through a single latency goes no line.
    if len(set(logs)) < 2:
        return list(psnr_db)
    slope, intercept = statistics.linear_regression(logs, psnr_db)
    return [psnr - intercept - slope * log for psnr, log in zip(psnr_db, logs, strict=True)]


def account_latency(predictions: Mapping[str, Mapping[int, float]], fastest_ms: Mapping[int, float]) -> list[Account]:
    """Return what each predictor of latency is worth."""
    accounts = []
    for name, predicted in predictions.items():
        # With one latency for all, no pair is left out as not close: here latency is what is predicted.
        rows = [(predicted[n], fastest_ms[n], 1.0) for n in sorted(predicted.keys() & fastest_ms.keys())]
        accounts += _account(name, rows, given_latency=False)
    return accounts


def _account(name: str, rows: Sequence[Row], *, given_latency: bool) -> list[Account]:
    if len(rows) < 3:
        return []
    predicted, reached, latency = np.array(rows).T
    signs = np.sign(np.subtract.outer(predicted, predicted)) * np.sign(np.subtract.outer(reached, reached))
    signs *= _close(latency, signs != 0)
    counted = np.abs(signs)

    def taus(weights: Floats) -> Floats:
        """Return tau for each row of weights of the trials; pairs that are equal in either count as neither."""
        pairs = ((weights @ counted) * weights).sum(1)
        values: Floats = ((weights @ signs) * weights).sum(1) / np.maximum(pairs, 1)
        return values

    number = len(rows)
    # A fixed seed gives the same trials the same interval. A trial that is drawn twice counts with weight 2.
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=_DRAWS).astype(float)
    low, high = np.quantile(taus(drawn), (0.025, 0.975))
    return [Account(name, float(taus(np.ones((1, number)))[0]), float(low), float(high), number, given_latency)]


def _close(latency: Floats, told_apart: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pairs are close in latency: by a share, or, where few of those told apart are, the closest tenth."""
    distance = np.abs(np.subtract.outer(np.log(latency), np.log(latency)))
    apart = np.sort(distance[np.triu(told_apart)])
    least = apart[math.ceil(_LEAST_SHARE * len(apart)) - 1] if len(apart) else 0.0
    close: NDArray[np.bool_] = distance <= max(math.log(1 + CLOSE), least)
    return close
