"""Stops a trial at a rung if its neighbours in latency do better: asynchronous successive halving, two objectives.

A trial is compared with the trials that reached the same rung before it, and of these with its neighbours in
latency: what is good for a fast network is poor for a slow one. Some of those to be stopped go on nevertheless, so
that a study measures how often the rule is wrong.

Reference: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
(https://arxiv.org/abs/1810.05934). That paper has one objective; here a rank is the number of neighbours that dominate.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import binomtest

from srnas.leaderboard.rank.front import Point, dominates, non_dominated
from srnas.search_space import InputError

# Distances in log latency that differ by less are equal: a unit of time must not decide.
_SAME_DISTANCE = 1e-9


@dataclass(frozen=True)
class RungResult:
    """A trial at a rung.

    Attributes:
        key: Key of the trial's architecture.
        psnr_db: Held-out PSNR at the rung in dB.
        fastest_ms: Fastest round of the network in milliseconds.
    """

    key: str
    psnr_db: float
    fastest_ms: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.psnr_db) and 0 < self.fastest_ms < math.inf):
            raise InputError(
                f"psnr_db must be finite and fastest_ms positive at a rung, but got psnr_db={self.psnr_db} and "
                f"fastest_ms={self.fastest_ms}; a trial that diverged reaches no rung."
            )

    @property
    def point(self) -> Point:
        """``(PSNR in dB, fastest round in ms)``, as the front ranks it."""
        return self.psnr_db, self.fastest_ms


@dataclass(frozen=True)
class Decision:
    """What happens to a trial at a rung.

    Attributes:
        survives: Whether it goes on.
        reason: Why, in words.
        spared: Whether the rule stops it, and it goes on all the same to measure how often the rule is wrong.
    """

    survives: bool
    reason: str
    spared: bool = False


class Halving(BaseModel):
    """The rule that stops trials.

    The defaults are those of ``benchmarks/rungs.py``: of 16 neighbours none may dominate by more than 0.05 dB, which
    loses 0.1 % of the hypervolume; where the slope of a curve counts, 1 % is lost.

    Attributes:
        eta: One trial of ``eta`` neighbours survives; the rank of a trial is the number of neighbours that dominate it.
        neighbours: Trials next in log latency that a trial is compared with; equally distant ones are all taken.
        least: Number of other trials at a rung below which no trial is stopped.
        margin_db: Least difference of PSNR in dB by which a neighbour dominates.
        spared_share: Share of the trials to be stopped that go on.
        salt: Text that changes which trials are spared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eta: float = Field(default=17.0, ge=1)
    neighbours: int = Field(default=16, ge=1)
    least: int = Field(default=5, ge=1)
    margin_db: float = Field(default=0.05, ge=0)
    spared_share: float = Field(default=0.1, ge=0, le=1)
    salt: str = ""

    def decide(
        self,
        newcomer: RungResult,
        others: Sequence[RungResult],
        iteration: int | None = None,
        *,
        is_yardstick: bool = False,
    ) -> Decision:
        """Return whether ``newcomer`` continues; neither the order of ``others`` nor the unit of latency matters.

        Args:
            newcomer: The trial that reached the rung.
            others: Those that reached it before, stopped ones included.
            iteration: Iteration of the rung, which the reason names.
            is_yardstick: Whether it is a human design. These run to their end, whatever the rule says: what is reported
                is how far the others are from them.
        """
        # A trial that was given back may have left its result, which would compare a network with itself.
        others = [other for other in others if other.key != newcomer.key]
        at = "" if iteration is None else f" at {iteration} iterations"
        if len(others) < self.least:
            return Decision(True, f"compared with none: {len(others)} results{at}, {self.least} are needed")
        near = self._nearest(newcomer, others)
        better = [other for other in near if dominates(other.point, newcomer.point, self.margin_db)]
        said = f"dominated by {len(better)} of {len(near)} neighbours in latency{at}"
        if len(better) < math.ceil((len(near) + 1) / self.eta):
            return Decision(True, said)
        best = max(other.psnr_db for other in better)
        said += f": {newcomer.psnr_db:.2f} dB, the best of them {best:.2f} dB and no slower"
        if is_yardstick:
            return Decision(True, said)
        spared = self._spares(newcomer.key)
        return Decision(spared, said, spared)

    def _nearest(self, newcomer: RungResult, others: Sequence[RungResult]) -> list[RungResult]:
        distances = [abs(math.log(other.fastest_ms / newcomer.fastest_ms)) for other in others]
        farthest = sorted(distances)[: self.neighbours][-1] + _SAME_DISTANCE
        return [other for other, distance in zip(others, distances, strict=True) if distance <= farthest]

    def _spares(self, key: str) -> bool:
        # By the key rather than by chance: a study that is resumed, on any worker, spares the same networks.
        drawn = hashlib.sha256(f"{self.salt}:{key}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") < self.spared_share * 2**64


@dataclass(frozen=True)
class FalseStopRate:
    """How many spared trials the rule would have stopped wrongly; spared trials are those that went on nevertheless.

    Attributes:
        on_front: Number of spared trials on the final front.
        spared: Number of spared trials.
        low: Lower end of the 95 % interval of the share.
        high: Upper end of it.
    """

    on_front: int
    spared: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.on_front} of {self.spared} spared trials on the front ({self.low:.0%} to {self.high:.0%})"


def false_stop_rate(points: Sequence[tuple[float, float]], spared: Sequence[bool]) -> FalseStopRate:
    """Return how often stopping was wrong, with Wilson's interval.

    Args:
        points: ``(PSNR, latency)`` of the complete trials.
        spared: Whether each of them was spared.

    Reference: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    on_front = sum(front and kept for front, kept in zip(non_dominated(points), spared, strict=True))
    low, high = wilson_interval(on_front, sum(spared))
    return FalseStopRate(on_front, sum(spared), low, high)


def wilson_interval(count: int, number: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which ``count`` of ``number`` were seen; 0 to 1 of none."""
    if number == 0:
        return 0.0, 1.0
    interval = binomtest(count, number).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
