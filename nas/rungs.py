"""Asynchronous successive halving for two objectives: at a rung a candidate is compared with its neighbours in latency.

Optuna stops trials by one objective only (its issue 3450). Here a candidate's rank at a rung is the number of those
that dominate it, among as many neighbours in latency as are asked for: faster ones that are better as well. With equal
latencies that is its rank by PSNR, and the rule is that of successive halving.

Reference: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (ASHA, algorithm 2).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from srnas.leaderboard import non_dominated


@dataclass(frozen=True)
class RungResult:
    """A candidate at a rung: its key, the PSNR that it has reached there, and its latency."""

    key: str
    psnr_db: float
    latency_ms: float

    @property
    def point(self) -> tuple[float, float]:
        """PSNR and latency."""
        return self.psnr_db, self.latency_ms

    def dominates(self, other: "RungResult") -> bool:
        """Return whether it is at least as good in both and better in one."""
        return self.psnr_db >= other.psnr_db and self.latency_ms <= other.latency_ms and self.point != other.point


@dataclass(frozen=True)
class Decision:
    """What a rung says.

    Attributes:
        survives: Whether the candidate goes on.
        spared: Whether it goes on only to measure how often stopping is wrong.
        reason: Why it is stopped, in words.
    """

    survives: bool
    spared: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Halving:
    """The rule of a rung; the defaults are those that ``benchmarks/rungs.py`` chose.

    Attributes:
        eta: One of so many goes on.
        neighbours: Candidates of the most similar latency, on a logarithmic scale, that one is compared with.
        least: With fewer results at a rung nobody is stopped.
        spared_share: Of those to be stopped, the share that goes on.
    """

    eta: float = 3.0
    neighbours: int = 8
    least: int = 4
    spared_share: float = 0.1

    def decide(self, newcomer: RungResult, others: Sequence[RungResult]) -> Decision:
        """Decide for a candidate that has just reached a rung; the order of the others does not matter.

        On the front of the rung nobody is stopped: neither its ends nor whoever dominates.
        """
        if len(others) < self.least or non_dominated([*(other.point for other in others), newcomer.point])[-1]:
            return Decision(survives=True)
        near = self._near(newcomer, others)
        above = sum(other.dominates(newcomer) for other in near)
        if above < math.ceil((len(near) + 1) / self.eta):
            return Decision(survives=True)
        if _share(newcomer.key) < self.spared_share:
            return Decision(survives=True, spared=True)
        return Decision(
            survives=False,
            reason=f"{newcomer.psnr_db:.2f} dB at the rung: {above} of {len(near)} neighbours in latency dominate it",
        )

    def _near(self, newcomer: RungResult, others: Sequence[RungResult]) -> list[RungResult]:
        """Return the nearest in latency; of those equally far, all."""
        distances = [abs(math.log(other.latency_ms / newcomer.latency_ms)) for other in others]
        limit = sorted(distances)[min(self.neighbours, len(others)) - 1]
        return [other for other, distance in zip(others, distances, strict=True) if distance <= limit * (1 + 1e-9)]


def _share(key: str) -> float:
    """Return a number in 0 to 1 that only the key decides, the same in every worker."""
    return int.from_bytes(hashlib.sha256(f"spared {key}".encode()).digest()[:4], "big") / 2**32


@dataclass(frozen=True)
class FalseStops:
    """How often stopping is wrong, as those tell that were spared.

    Attributes:
        wrong: So many of them ended on the front.
        spared: So many were spared.
    """

    wrong: int
    spared: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the rate of wrong stops."""
        if not self.spared:
            return 0.0, 1.0
        z, n, p = 1.96, self.spared, self.wrong / self.spared
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))

    def __str__(self) -> str:
        if not self.spared:
            return "none to be stopped was spared, so the false-stop rate is not known"
        low, high = self.interval
        return (
            f"of {self.spared} spared to check, {self.wrong} ended on the front: false-stop rate "
            f"{self.wrong / self.spared:.0%} (95 % interval {low:.0%} to {high:.0%})"
        )


def false_stop_rate(on_front: Sequence[bool]) -> FalseStops:
    """Return the figures for spared trials, given for each whether it ended on the front."""
    return FalseStops(sum(on_front), len(on_front))
