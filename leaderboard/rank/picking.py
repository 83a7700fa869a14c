"""Which network to ship: the best PSNR among those whose fastest round meets a latency budget."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from scipy.stats import t as student

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.rank.budget import meets, within_probability
from srnas.leaderboard.rank.confidence import mean_by_image, paired_difference
from srnas.leaderboard.record.trials import Quality, TrialRecord
from srnas.search_space import InputError

_RUNNERS_UP = 3
_LEVEL = 0.95


@dataclass(frozen=True)
class Contender:
    """A trained network, which meets a budget or is compared.

    Attributes:
        trial: Its record.
        qualities: Scores of its trainings, the first one's first.
        within: Probability that the fastest of as many rounds, drawn again, is within the budget; not a number where
            there is no budget.
    """

    trial: TrialRecord
    qualities: tuple[Quality, ...]
    within: float = math.nan

    @property
    def psnr_y_db(self) -> float:
        """Mean PSNR-Y in dB over photographs and trainings."""
        return statistics.fmean(quality.mean_psnr_y_db for quality in self.qualities)

    @property
    def by_image_db(self) -> list[float]:
        """PSNR-Y of each photograph in dB, mean over trainings."""
        return mean_by_image(self.qualities)


@dataclass(frozen=True)
class Duel:
    """The pick against another network: PSNR paired by photograph.

    Attributes:
        rival: The other network.
        difference_db: By how many dB of PSNR-Y the pick is better.
        se_db: Standard error of the difference over photographs in dB; ``None`` of a single photograph.
        low_db: Lower end in dB of the difference's 95 % interval by Student's t.
        high_db: Upper end of that interval in dB.
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
    confidence: float | None,
    load: Callable[[int], tuple[TrialRecord, Sequence[Quality]]],
) -> Pick:
    """Return the network of the best PSNR whose fastest round is within the budget, as in the search itself.

    Args:
        board: The ranked trials of a study.
        budget_ms: What the fastest round must not exceed, in milliseconds.
        confidence: Least probability of being within it, if that is asked for as well.
        load: Returns the record of a trial, and the qualities of its further trainings.

    Raises:
        InputError: If the budget is not positive, the confidence is not in 0 to 1, or no network meets the budget.
    """
    if not (budget_ms > 0 and math.isfinite(budget_ms)):
        raise InputError(f"--latency-ms must be positive, but got {budget_ms:g}.")
    if confidence is not None and not 0 < confidence <= 1:
        raise InputError(f"0 < --confidence <= 1 must hold, but got {confidence:g}.")
    done = board.rows[board.rows["state"] == "complete"] if len(board.rows) else board.rows
    if done.empty:
        raise InputError(f"study '{board.study.name}' must hold a trained network, but it holds none.")
    near = done[[meets(fastest_ms, budget_ms) for fastest_ms in done["latency_fastest_ms"]]]
    mean = near["psnr_mean_db"].fillna(near["psnr_y_db"]) if "psnr_mean_db" in near else near["psnr_y_db"]
    ranked = near.assign(mean=mean).sort_values(["mean", "latency_fastest_ms"], ascending=[False, True])

    def within(numbers: Iterable[int]) -> Iterator[Contender]:
        for number in numbers:
            trial, others = load(int(number))
            assert trial.latency is not None
            assert trial.quality is not None
            latency = trial.latency
            found = within_probability([latency.rounds_ms[i] for i in latency.kept], budget_ms)
            if confidence is None or found >= confidence:
                yield Contender(trial, (trial.quality, *others), found)

    # One by one: every record is a file of MLflow's, and few of them are looked at.
    best = list(islice(within(ranked["trial"]), 1 + _RUNNERS_UP))
    if not best:
        fastest = done.sort_values("latency_fastest_ms").iloc[0]
        asked = "" if confidence is None else f" with probability {confidence:g}"
        raise InputError(
            f"the fastest round of a network of study '{board.study.name}' must take at most {budget_ms:g} ms{asked}, "
            f"but none does: that of trial {fastest['trial']} takes {fastest['latency_fastest_ms']:.3g} ms, its median "
            f"{fastest['latency_median_ms']:.3g} ms; raise --latency-ms or search on."
        )
    chosen, *others = best
    designs = ranked[(ranked["design"] != "") & (ranked["trial"] != chosen.trial.number)]
    human = None if chosen.trial.design else next(within(designs["trial"]), None)
    return Pick(chosen, tuple(duel(chosen, other) for other in others), duel(chosen, human) if human else None)


def duel(chosen: Contender, rival: Contender) -> Duel:
    """Pair two networks by photograph."""
    ours, theirs = chosen.by_image_db, rival.by_image_db
    if len(ours) < 2:
        return Duel(rival, ours[0] - theirs[0], None, -math.inf, math.inf)
    mean, error = paired_difference(ours, theirs)
    reach = float(student.ppf((1 + _LEVEL) / 2, len(ours) - 1)) * error
    return Duel(rival, mean, error, mean - reach, mean + reach)
