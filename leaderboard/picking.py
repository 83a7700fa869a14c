"""Which network to ship: the best PSNR among those that meet a latency budget as surely as is wanted."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from scipy.stats import t as student

from srnas.leaderboard.confidence import mean_by_image, paired_difference
from srnas.leaderboard.ranking import Board
from srnas.leaderboard.record import Quality, TrialRecord
from srnas.search_space import InputError

_DRAWS = 2000
_RUNNERS_UP = 3
_LEVEL = 0.95


@dataclass(frozen=True)
class Contender:
    """A trained network, which meets a budget or is compared.

    Attributes:
        trial: Its record.
        qualities: Of its trainings, the first one's first.
        within: Probability that its median latency is within the budget, by bootstrap over the rounds; not a number
            where there is no budget.
    """

    trial: TrialRecord
    qualities: tuple[Quality, ...]
    within: float = math.nan

    @property
    def psnr_y_db(self) -> float:
        """Mean over photographs and trainings."""
        return statistics.fmean(quality.mean_psnr_y_db for quality in self.qualities)

    @property
    def by_image_db(self) -> list[float]:
        """PSNR of each photograph, mean over trainings."""
        return mean_by_image(self.qualities)


@dataclass(frozen=True)
class Duel:
    """The pick against another network: PSNR paired by photograph.

    Attributes:
        rival: The other network.
        difference_db: What the pick is better by.
        se_db: Standard error of it over photographs; ``None`` of a single photograph.
        low_db: Of its 95 % interval by Student's t.
        high_db: Of it.
    """

    rival: Contender
    difference_db: float
    se_db: float | None
    low_db: float
    high_db: float

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``tie``."""
        return "better" if self.low_db > 0 else "worse" if self.high_db < 0 else "tie"


@dataclass(frozen=True)
class Pick:
    """What to ship within a budget.

    Attributes:
        chosen: The network.
        runners_up: The next best, paired with it.
        human: The best human design within the budget, paired with it; ``None`` if there is none, or it is the pick.
    """

    chosen: Contender
    runners_up: tuple[Duel, ...]
    human: Duel | None


def pick(
    board: Board,
    budget_ms: float,
    confidence: float,
    load: Callable[[int], tuple[TrialRecord, Sequence[Quality]]],
) -> Pick:
    """Return the network of the best PSNR whose median latency is within the budget with so much probability.

    The fastest round, by which a search ranks, is what a device can do; the median over rounds is what it does.

    Args:
        board: The ranked trials of a study.
        budget_ms: Of the median latency.
        confidence: Least probability of being within it.
        load: Returns the record of a trial, and the qualities of its further trainings.

    Raises:
        InputError: If the budget is not positive, the confidence is not in 0 to 1, or no network meets the budget.
    """
    if not (budget_ms > 0 and math.isfinite(budget_ms)):
        raise InputError(f"--latency-ms must be positive, but got {budget_ms:g}.")
    if not 0 < confidence <= 1:
        raise InputError(f"0 < --confidence <= 1 must hold, but got {confidence:g}.")
    done = board.rows[board.rows["state"] == "complete"] if len(board.rows) else board.rows
    if done.empty:
        raise InputError(f"study '{board.study.name}' must hold a trained network, but it holds none.")
    # A median is not below the fastest round.
    near = done[done["latency_stable_ms"] <= budget_ms]
    mean = near["psnr_mean_db"].fillna(near["psnr_y_db"]) if "psnr_mean_db" in near else near["psnr_y_db"]
    ranked = near.assign(mean=mean).sort_values(["mean", "latency_stable_ms"], ascending=[False, True])

    def within(numbers: Iterable[int]) -> Iterator[Contender]:
        for number in numbers:
            trial, others = load(int(number))
            assert trial.latency is not None
            assert trial.quality is not None
            latency = trial.latency
            found = within_budget([latency.rounds_ms[i] for i in latency.kept], budget_ms)
            if found >= confidence:
                yield Contender(trial, (trial.quality, *others), found)

    best = list(islice(within(ranked["trial"]), 1 + _RUNNERS_UP))
    if not best:
        fastest = done.sort_values("latency_ms").iloc[0]
        raise InputError(
            f"a network of study '{board.study.name}' must take at most {budget_ms:g} ms with probability "
            f"{confidence:g}, but none does: the fastest, trial {fastest['trial']}, takes {fastest['latency_ms']:.3g} "
            f"ms [{fastest['latency_ms_low']:.3g}, {fastest['latency_ms_high']:.3g}]; raise --latency-ms or search on."
        )
    chosen, *others = best
    designs = ranked[(ranked["design"] != "") & (ranked["trial"] != chosen.trial.number)]
    human = None if chosen.trial.design else next(within(designs["trial"]), None)
    return Pick(chosen, tuple(duel(chosen, other) for other in others), duel(chosen, human) if human else None)


def within_budget(rounds_ms: Sequence[float], budget_ms: float, seed: int = 0) -> float:
    """Return how often the median of as many rounds, drawn with replacement, is within a budget."""
    drawn = np.random.default_rng(seed).choice(np.asarray(rounds_ms), (_DRAWS, len(rounds_ms)))
    return float((np.median(drawn, axis=1) <= budget_ms).mean())


def duel(chosen: Contender, rival: Contender) -> Duel:
    """Pair two networks by photograph."""
    ours, theirs = chosen.by_image_db, rival.by_image_db
    if len(ours) < 2:
        return Duel(rival, ours[0] - theirs[0], None, -math.inf, math.inf)
    mean, error = paired_difference(ours, theirs)
    reach = float(student.ppf((1 + _LEVEL) / 2, len(ours) - 1)) * error
    return Duel(rival, mean, error, mean - reach, mean + reach)
