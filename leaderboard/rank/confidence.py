"""How certain a front is: what other seeds, photographs and latency rounds would change.

Seeds are pooled: two or three trainings of one network tell little about their own spread, those of all replicated
networks together tell more. The spread is taken to be the same for every network.

Reference: Davison and Hinkley, "Bootstrap Methods and their Application", Cambridge University Press 1997, chapter 2.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from srnas.leaderboard.rank.front import Floats, are_near, front_numbers, non_dominated_of_rows
from srnas.leaderboard.rank.paired import paired_difference
from srnas.leaderboard.record.columns import DOUBT
from srnas.leaderboard.record.timed_quality import over_seeds, qualities_by_seed
from srnas.leaderboard.record.trials import Quality, Replicate, TrialRecord
from srnas.search_space import InputError


@dataclass(frozen=True)
class SeedSpread:
    """The standard deviation of PSNR over seeds.

    Attributes:
        deviation_db: Standard deviation in dB, pooled over the replicated trials.
        trials: Number of replicated trials.
        trainings: Number of trainings of these trials, the first ones included.
    """

    deviation_db: float
    trials: int
    trainings: int

    def __str__(self) -> str:
        return f"{self.deviation_db:.3f} dB over seeds ({self.trainings} trainings of {self.trials} networks)"


def seed_spread(trials: Sequence[TrialRecord], replicates: Sequence[Replicate]) -> SeedSpread | None:
    """Return how far seeds move PSNR; ``None`` if no trial was replicated."""
    qualities = _complete(trials, replicates).values()
    groups = [[one.mean_psnr_y_db for one in found] for found in qualities if len(found) > 1]
    trainings = sum(map(len, groups))
    if not groups:
        return None
    squares = sum((value - statistics.fmean(group)) ** 2 for group in groups for value in group)
    return SeedSpread(math.sqrt(squares / (trainings - len(groups))), len(groups), trainings)


def near_front(records: Sequence[TrialRecord], margin_db: float, margin_share: float = 0.0) -> list[TrialRecord]:
    """Return the front and its neighbours, by rising latency.

    A neighbour would be on the front with ``margin_db`` more PSNR and a latency that is less by ``margin_share`` of it.
    """
    # The number decides between equals, as records have no order.
    done = sorted((r.point[1], r.number, r.point, r) for r in records if r.point)
    near = are_near([point for *_, point, _ in done], margin_db, margin_share)
    return [record for (*_, record), is_near in zip(done, near, strict=True) if is_near]


def front_probability(
    trials: Sequence[TrialRecord], replicates: Sequence[Replicate], seed: int = 0, draws: int = 2000
) -> dict[int, float]:
    """Return how often each complete trial is on the front of a bootstrap, by number.

    A draw takes photographs with replacement, the same for all trials (they are paired); for the mean PSNR of a trial
    over its seeds a deviation of the pooled seeds; and of each trial's kept rounds some with replacement, of which the
    fastest counts. Where no trial was replicated, seeds are taken to make no difference: the probabilities are too
    sure then.

    Raises:
        InputError: If the trials were not judged on the same photographs.
    """
    qualities = _complete(trials, replicates)
    if not qualities:
        return {}
    _check_images([quality for found in qualities.values() for quality in found])
    rng = np.random.default_rng(seed)
    latencies = {t.number: t.latency for t in trials if t.number in qualities}
    rounds = [sorted(found.rounds_ms[i] for i in found.kept) for found in latencies.values() if found]
    psnr = _draw_psnr(list(qualities.values()), rng, draws)
    latency = np.stack([_draw_fastest(np.array(kept), rng, draws) for kept in rounds], axis=1)
    return dict(zip(qualities, map(float, non_dominated_of_rows(psnr, latency).mean(axis=0)), strict=True))


def confidence_rows(trials: Sequence[TrialRecord], replicates: Sequence[Replicate]) -> pd.DataFrame:
    """Return what a board shows beside its rows: a row per complete trial.

    Beside ``trial`` the columns are those of doubt: ``psnr_mean_db`` (over seeds; not a number where there is one),
    ``psnr_se_db`` (its standard error, from the pooled spread; not a number without replicates), ``num_seeds``,
    ``front_probability`` and, of a member of the front, ``step_db`` over the next faster member with its standard error
    ``step_se_db``, paired by image, and ``step_is_tie`` (1 or 0), by the rule of
    :class:`~srnas.leaderboard.rank.paired.PairedDifference`.
    """
    spread = seed_spread(trials, replicates)
    deviation = spread.deviation_db if spread else math.nan
    probabilities = front_probability(trials, replicates)
    qualities = _complete(trials, replicates)
    steps = _front_steps(over_seeds(trials, replicates))
    rows = [
        (
            number,
            statistics.fmean(quality.mean_psnr_y_db for quality in found) if len(found) > 1 else math.nan,
            deviation / math.sqrt(len(found)),
            len(found),
            probabilities[number],
            *steps.get(number, (math.nan, math.nan, math.nan)),
        )
        for number, found in qualities.items()
    ]
    frame = pd.DataFrame(rows, columns=["trial", *DOUBT])
    # Whole numbers stay whole beside trials that were not finished.
    return frame.astype({"num_seeds": "Int64"})


def _front_steps(trials: Sequence[TrialRecord]) -> dict[int, tuple[float, float, float]]:
    """Return by how much each member of the front is better than the next faster one.

    Beside the mean stand its standard error, not a number of a single photograph, and whether it is a tie.
    """
    front = front_numbers(trials)
    by_latency = [(trial.number, trial.quality) for trial in near_front(trials, 0.0) if trial.number in front]
    by_image = {number: quality.counted_psnr_y_db for number, quality in by_latency if quality}
    steps = {slow: paired_difference(by_image[slow], by_image[fast]) for fast, slow in pairwise(by_image)}
    return {
        number: (step.mean_db, math.nan if step.se_db is None else step.se_db, float(step.verdict == "tie"))
        for number, step in steps.items()
    }


def _complete(trials: Sequence[TrialRecord], replicates: Sequence[Replicate]) -> dict[int, list[Quality]]:
    """Return the qualities of each complete trial."""
    return qualities_by_seed([trial for trial in trials if trial.point], replicates)


def _check_images(qualities: Sequence[Quality]) -> None:
    sets = {quality.images for quality in qualities}
    if len(sets) > 1:
        sizes = ", ".join(sorted(str(len(images)) for images in sets))
        raise InputError(
            f"trials must be judged on the same photographs, but got {len(sets)} sets of {sizes}; compare them apart."
        )


def _draw_psnr(qualities: Sequence[Sequence[Quality]], rng: np.random.Generator, draws: int) -> Floats:
    """Return ``(draws, trials)``: the mean over drawn photographs, moved by drawn deviations of seeds.

    A photograph that counts in no mean of one trial is drawn for none; without any, all trials are equal.
    """
    counted = np.isfinite([Quality.mean_of(found).counted_psnr_y_db for found in qualities]).all(axis=0)
    groups = [np.array([quality.psnr_y_db for quality in found])[:, counted] for found in qualities]
    images = int(counted.sum())
    if not images:
        return np.zeros((draws, len(groups)))
    weights = rng.multinomial(images, np.full(images, 1 / images), size=draws) / images
    psnr: Floats = weights @ np.stack([group.mean(axis=0) for group in groups], axis=1)
    # A deviation from the mean of k seeds is shorter than one from the truth by sqrt(1 - 1/k).
    deviations = [(g - g.mean(axis=0)) * math.sqrt(len(g) / (len(g) - 1)) for g in groups if len(g) > 1]
    if not deviations:
        return psnr
    pool: Floats = weights @ np.concatenate(deviations).T
    rows = np.arange(draws)[:, None]
    for column, group in enumerate(groups):
        drawn = rng.integers(pool.shape[1], size=(draws, len(group)))
        psnr[:, column] += pool[rows, drawn].mean(axis=1)
    return psnr


def _draw_fastest(rounds: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Return the least of as many rounds, drawn with replacement from sorted ones.

    The least is not among the first j of n with probability ``(1 - j / n) ** n``, which is inverted.
    """
    number = len(rounds)
    ranks = np.floor(number * (1 - rng.random(draws) ** (1 / number))).astype(np.intp)
    fastest: Floats = rounds[np.minimum(ranks, number - 1)]
    return fastest
