"""Which network to ship within a budget: the one with the best PSNR, or a faster or simpler one that ties with it."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.rank.budget import meets, within_probability
from srnas.leaderboard.rank.paired import TIE_DB, PairedDifference, paired_difference
from srnas.leaderboard.record.trials import Quality, TrialRecord
from srnas.search_space import InputError

_RUNNERS_UP = 3
# Two fastest rounds of one network differ by less in 19 of 20 cases: 1.96 * sqrt(2) * 1.1 %, the coefficient of
# variation from process to process on a loaded machine. source: docs/measurements.md, "Latencies".
_AS_FAST = 0.03


@dataclass(frozen=True)
class Contender:
    """A trained network, which meets a budget or is compared.

    Attributes:
        trial: Its record.
        qualities: Scores of its trainings as its study ranks them, the first one's first.
        within: Probability that the fastest of as many rounds, drawn again, is within the budget; not a number where
            there is no budget.
        ranked_by: Column of the PSNR that its study ranks.
    """

    trial: TrialRecord
    qualities: tuple[Quality, ...]
    within: float = math.nan
    ranked_by: str = "psnr_y_db"

    @cached_property
    def quality(self) -> Quality:
        """Mean scores over trainings."""
        return Quality.mean_of(self.qualities)

    @property
    def psnr_y_db(self) -> float:
        """Mean PSNR-Y in dB over photographs and trainings."""
        return self.quality.mean_psnr_y_db

    @property
    def fastest_ms(self) -> float:
        """The fastest round in milliseconds."""
        assert self.trial.latency is not None
        return self.trial.latency.fastest_ms

    @property
    def simplicity(self) -> tuple[float, float]:
        """Parameters and MACs, of which fewer are simpler; infinite where they were not counted."""
        sizes = self.trial.sizes
        return (sizes.params, sizes.macs) if sizes else (math.inf, math.inf)


@dataclass(frozen=True)
class Duel:
    """A network against another.

    Attributes:
        rival: The other network.
        difference: By how much the network is better than the rival.
    """

    rival: Contender
    difference: PairedDifference


@dataclass(frozen=True)
class Pick:
    """What to ship within a budget.

    Attributes:
        chosen: The network.
        best: The network with the best PSNR; it is the chosen one unless another ties with it.
        ties: The best against each network that ties with it.
        runners_up: The chosen one against the next best and all that tie, by falling PSNR.
        human: The chosen one against the best human design within the budget; ``None`` if there is none, or it is the
            chosen one.
    """

    chosen: Contender
    best: Contender
    ties: tuple[Duel, ...]
    runners_up: tuple[Duel, ...]
    human: Duel | None


def pick(
    board: Board,
    budget_ms: float,
    confidence: float | None,
    load: Callable[[int], tuple[TrialRecord, Sequence[Quality]]],
) -> Pick:
    """Return the network to ship among those whose fastest round is within the budget.

    Every network is compared with the one of the best PSNR only, since ties are not transitive. Among the best and its
    ties, networks whose fastest rounds are within 3 % of the least count as equally fast; of these the one with the
    fewest parameters is chosen, then with the fewest MACs, then the fastest.

    Args:
        board: The ranked trials of a study.
        budget_ms: What the fastest round must not exceed, in milliseconds.
        confidence: Least probability of being within it, if that is asked for as well.
        load: Returns the record of a trial, and the qualities of its trainings that the study ranks.

    Raises:
        InputError: If the budget is not positive, the confidence is not in 0 to 1, or no network meets the budget.
    """
    if not (budget_ms > 0 and math.isfinite(budget_ms)):
        raise InputError(f"--latency-ms must be positive, but got {budget_ms:g}.")
    if confidence is not None and not 0 < confidence <= 1:
        raise InputError(f"0 < --confidence <= 1 must hold, but got {confidence:g}.")
    ranked_by = board.study.ranked_by
    done = board.ranked
    if done.empty:
        needed = f" with its PSNR in {board.study.device.dtype}" if board.study.ranks_timed else ""
        raise InputError(
            f"study '{board.study.name}' must hold a trained network{needed}, but it holds none; run 'srnas search' to "
            "its end."
        )
    near = done[[meets(fastest_ms, budget_ms) for fastest_ms in done["latency_fastest_ms"]]]
    ranked = near.sort_values(["ranked_db", "latency_fastest_ms"], ascending=[False, True])

    def within(numbers: Iterable[int]) -> Iterator[Contender]:
        for number in numbers:
            trial, qualities = load(int(number))
            assert trial.latency is not None
            latency = trial.latency
            found = within_probability([latency.rounds_ms[i] for i in latency.kept], budget_ms)
            if confidence is None or found >= confidence:
                yield Contender(trial, tuple(qualities), found, ranked_by)

    contenders = within(ranked["trial"])
    best = next(contenders, None)
    if best is None:
        fastest = done.sort_values("latency_fastest_ms").iloc[0]
        asked = "" if confidence is None else f" with probability {confidence:g}"
        raise InputError(
            f"the fastest round of a network of study '{board.study.name}' must take at most {budget_ms:g} ms{asked}, "
            f"but none does: that of trial {fastest['trial']} takes {fastest['latency_fastest_ms']:.3g} ms, its median "
            f"{fastest['latency_median_ms']:.3g} ms; raise --latency-ms or search on."
        )
    others = _next_best(best, contenders)
    ties = [fought for fought in (duel(best, one) for one in others) if fought.difference.verdict == "tie"]
    tied = {one.trial.number: one for one in (best, *(tie.rival for tie in ties))}
    chosen = _quickest(list(tied.values()))
    rivals = [one for one in (best, *others) if one is not chosen]
    runners_up = [one for rank, one in enumerate(rivals) if rank < _RUNNERS_UP or one.trial.number in tied]
    designs = ranked[(ranked["design"] != "") & (ranked["trial"] != chosen.trial.number)]
    human = None if chosen.trial.design else next(within(designs["trial"]), None)
    return Pick(
        chosen,
        best,
        tuple(ties),
        tuple(duel(chosen, other) for other in runners_up),
        duel(chosen, human) if human else None,
    )


def _next_best(best: Contender, contenders: Iterable[Contender]) -> list[Contender]:
    """Return the runners-up, and whatever else may tie with the best.

    They are taken one by one: every record is a file of MLflow's, and few of them are looked at.
    """
    found: list[Contender] = []
    for one in contenders:
        if len(found) >= _RUNNERS_UP and best.psnr_y_db - one.psnr_y_db > TIE_DB:
            break
        found.append(one)
    return found


def _quickest(tied: Sequence[Contender]) -> Contender:
    """Return the simplest of those that are as fast as the fastest."""
    least_ms = min(one.fastest_ms for one in tied)
    return min(
        (one for one in tied if one.fastest_ms <= least_ms * (1 + _AS_FAST)),
        key=lambda one: (*one.simplicity, one.fastest_ms),
    )


def duel(one: Contender, rival: Contender) -> Duel:
    """Pair two networks by photograph."""
    return Duel(rival, paired_difference(one.quality.counted_psnr_y_db, rival.quality.counted_psnr_y_db))
