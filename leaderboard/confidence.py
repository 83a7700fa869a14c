"""How sure a front is: differences per image, and the probability of each trial to be on the front.

Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", Chapman and Hall 1993.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srnas.leaderboard.front import non_dominated
from srnas.leaderboard.record import Replicate, TrialRecord

Floats = NDArray[np.float64]


def paired_difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Return the mean of ``a - b`` over the same images, and its standard error (NaN for one image).

    Raises:
        ValueError: If there are not equally many of each, and at least one.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"both methods must have the same images, at least one, but got {len(a)} and {len(b)}.")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(a)) if len(a) > 1 else math.nan
    return statistics.fmean(differences), error


def near_front(trials: Sequence[TrialRecord], margin_db: float) -> frozenset[int]:
    """Return the numbers of the trials on the front, and of those within ``margin_db`` of it at their latency."""
    ranked = [(trial.number, trial.point) for trial in trials if trial.point]
    lifted = [
        [other for _, other in ranked if other != point] + [(point[0] + margin_db, point[1])] for _, point in ranked
    ]
    return frozenset(number for (number, _), points in zip(ranked, lifted, strict=True) if non_dominated(points)[-1])


def front_probability(
    trials: Sequence[TrialRecord], replicates: Sequence[Replicate] = (), *, seed: int = 0, draws: int = 1000
) -> dict[int, float]:
    """Return for each finished trial the share of bootstrap draws in which it is on the front.

    Each draw takes images with replacement, the same for all trials; seeds of each trial with replacement; and latency
    rounds with replacement, of which the fastest counts, as in the ranking. The seeds of a trial that was trained once
    deviate as those of the others do from their means; where no trial was trained twice, seeds are taken to be equal.

    Args:
        trials: Of a study; those that were not finished are left out.
        replicates: Of the study.
        seed: Of the draws.
        draws: Their number.
    """
    ranked = [trial for trial in trials if trial.point]
    if not ranked:
        return {}
    rng = np.random.default_rng(seed)
    images = _image_draws(rng, len(ranked[0].quality.psnr_y_db) if ranked[0].quality else 1, draws)
    scores = [_scores(trial, replicates) for trial in ranked]
    deviations = _seed_deviations(scores)
    psnr = np.stack([_psnr_draws(rng, own, images, deviations) for own in scores])
    latency = np.stack([_latency_draws(rng, trial, draws) for trial in ranked])
    return {t.number: float(p) for t, p in zip(ranked, _on_front(psnr, latency).mean(1), strict=True)}


def _image_draws(rng: np.random.Generator, images: int, draws: int) -> NDArray[np.int64]:
    return rng.integers(images, size=(draws, images))


def _scores(trial: TrialRecord, replicates: Sequence[Replicate]) -> Floats:
    """Return ``(seeds, images)``."""
    own = [r.quality.psnr_y_db for r in replicates if r.number == trial.number]
    assert trial.quality
    return np.array([trial.quality.psnr_y_db, *own])


def _seed_deviations(scores: Sequence[Floats]) -> Floats:
    """Return how far means of single seeds lie from those of their trial, enlarged for the mean being of few."""
    found = [0.0]
    for own in scores:
        if len(own) > 1:
            means = own.mean(1)
            found += list((means - means.mean()) * math.sqrt(len(own) / (len(own) - 1)))
    return np.array(found[1:] or found)


def _psnr_draws(rng: np.random.Generator, own: Floats, images: NDArray[np.int64], deviations: Floats) -> Floats:
    """Return ``(draws,)``."""
    draws, seeds = len(images), len(own)
    chosen = rng.integers(seeds, size=(draws, seeds))
    counts = np.stack([(chosen == seed).sum(1) for seed in range(seeds)], 1) / seeds
    mean: Floats = np.einsum("ds,sdi->d", counts, own[:, images]) / images.shape[1]
    return mean + rng.choice(deviations, draws) if seeds == 1 else mean


def _latency_draws(rng: np.random.Generator, trial: TrialRecord, draws: int) -> Floats:
    latency = trial.latency
    assert latency
    rounds = np.array([latency.rounds_ms[number] for number in latency.kept])
    drawn: Floats = rounds[rng.integers(len(rounds), size=(draws, len(rounds)))].min(1)
    return drawn


def _on_front(psnr: Floats, latency: Floats) -> NDArray[np.bool_]:
    """Return ``(trials, draws)``: whether no other is at least as good in both and better in one."""
    kept = np.ones(psnr.shape, bool)
    for number in range(len(psnr)):
        no_worse = (psnr >= psnr[number]) & (latency <= latency[number])
        better = (psnr > psnr[number]) | (latency < latency[number])
        kept[number] = ~(no_worse & better).any(0)
    return kept
