"""The front in (PSNR up, latency down): non-domination and the exact hypervolume.

A point is ``(psnr_db, latency_ms)``. A point with a NaN is on no front and dominates nothing.

Reference: Zitzler and Thiele, "Multiobjective Optimization Using Evolutionary Algorithms", PPSN V 1998.
"""

import math
from collections.abc import Sequence

Point = tuple[float, float]


def non_dominated(points: Sequence[Point]) -> list[bool]:
    """Return which points no other point dominates; equal points do not dominate each other.

    A point dominates another if it is at least as good in both and better in one.
    """
    order = sorted(
        (i for i, point in enumerate(points) if not any(map(math.isnan, point))),
        key=lambda i: (points[i][1], -points[i][0]),
    )
    kept = [False] * len(points)
    best = -math.inf
    last: Point | None = None
    for i in order:
        if points[i][0] > best or points[i] == last:
            kept[i] = True
            best, last = points[i][0], points[i]
    return kept


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the area in (dB, natural log of ms) that ``points`` dominate and that dominates ``reference``.

    Logarithmic latency makes the value independent of the unit of time. A point that does not dominate the reference
    point adds nothing; latencies are positive.
    """
    worst_psnr, worst_latency = reference
    useful = [p for p in points if p[0] > worst_psnr and 0 < p[1] < worst_latency]
    area, floor = 0.0, worst_psnr
    for psnr, latency in sorted(useful, key=lambda p: (p[1], -p[0])):
        if psnr > floor:
            area += (psnr - floor) * math.log(worst_latency / latency)
            floor = psnr
    return area
