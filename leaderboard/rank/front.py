"""The front in (PSNR up, latency down): domination, the points that nothing dominates, and the exact hypervolume.

A point is ``(psnr_db, fastest_ms)``. It dominates another if it is at least as good in both and better in one; equal
points do not dominate each other. A point with a NaN is on no front and dominates nothing.

Reference: Zitzler and Thiele, "Multiobjective Optimization Using Evolutionary Algorithms", PPSN V 1998.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srnas.leaderboard.record.trials import TrialRecord

Point = tuple[float, float]
Floats = NDArray[np.float64]


def dominates(first: Point, second: Point, margin_db: float = 0.0) -> bool:
    """Return whether a point dominates another, with a PSNR that is greater by ``margin_db`` at least."""
    as_good = first[1] <= second[1] and first[0] >= second[0] + margin_db
    return as_good and first != second


def staircase(points: Sequence[Point]) -> list[int]:
    """Return the places of the points that no other dominates, by rising latency; of equal points the first."""
    # At equal latency the better point comes first, so that the others do not rise above it.
    order = sorted(
        (i for i, point in enumerate(points) if not any(map(math.isnan, point))),
        key=lambda i: (points[i][1], -points[i][0]),
    )
    found, best = [], -math.inf
    for i in order:
        if points[i][0] > best:
            found.append(i)
            best = points[i][0]
    return found


def non_dominated(points: Sequence[Point]) -> list[bool]:
    """Return which points no other point dominates."""
    # By value: equal points do not dominate each other, and all of them are on the front.
    front = {points[i] for i in staircase(points)}
    return [point in front for point in points]


def are_near(points: Sequence[Point], margin_db: float, margin_share: float = 0.0) -> list[bool]:
    """Return for each point whether it is on the front, or would be with more PSNR and less latency.

    Args:
        points: ``(PSNR in dB, latency in ms)``.
        margin_db: So much more PSNR.
        margin_share: Less latency by this share of it.
    """

    def best_before(latency: float) -> float:
        return max((psnr for psnr, other in points if other <= latency * (1 - margin_share)), default=-math.inf)

    return [
        on_front or psnr >= best_before(latency) - margin_db
        for (psnr, latency), on_front in zip(points, non_dominated(points), strict=True)
    ]


def non_dominated_of_rows(psnr_db: Floats, fastest_ms: Floats) -> NDArray[np.bool_]:
    """Return which points of each row no other point of the same row dominates.

    Args:
        psnr_db: ``(R, N)``, none of them NaN.
        fastest_ms: ``(R, N)``, none of them NaN.

    Returns:
        ``(R, N)``.
    """
    dominated = np.zeros(psnr_db.shape, dtype=bool)
    for rival in range(psnr_db.shape[1]):
        gain, time = psnr_db[:, rival, None] - psnr_db, fastest_ms[:, rival, None] - fastest_ms
        dominated |= (gain >= 0) & (time <= 0) & ((gain > 0) | (time < 0))
    return ~dominated


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the area in (dB, natural log of ms) that ``points`` dominate and that dominates ``reference``.

    Logarithmic latency makes the value independent of the unit of time. A point that does not dominate the reference
    point adds nothing; latencies are positive.
    """
    worst_psnr, worst_latency = reference
    useful = [p for p in points if p[0] > worst_psnr and 0 < p[1] < worst_latency]
    area, floor = 0.0, worst_psnr
    for psnr, latency in (useful[i] for i in staircase(useful)):
        area += (psnr - floor) * math.log(worst_latency / latency)
        floor = psnr
    return area


def front_numbers(records: Sequence[TrialRecord]) -> set[int]:
    """Return the numbers of the trials on the front."""
    ranked = [(record.number, record.point) for record in records if record.point]
    front = non_dominated([point for _, point in ranked])
    return {number for (number, _), kept in zip(ranked, front, strict=True) if kept}


def is_on_front(record: TrialRecord, records: Sequence[TrialRecord]) -> bool:
    """Return whether a record is on the front of all."""
    return record.number in front_numbers(records)
