"""How a front grew: the hypervolume over trials and over time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from srnas.leaderboard.rank.front import Point, hypervolume, non_dominated
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord


class CurvePoint(NamedTuple):
    """The hypervolume after a number of trials, and of seconds since the first one started."""

    trials: int
    seconds: float
    hypervolume: float


def hypervolume_curve(study: StudyRecord, records: Sequence[TrialRecord]) -> list[CurvePoint]:
    """Return the hypervolume after each trial, in the order in which they ended; every state counts as a trial."""
    ended = sorted((record.ended_ms, record.number, record.point) for record in records)
    started_ms = min((record.started_ms for record in records), default=0)
    return growth(study, started_ms, [(ended_ms, point) for ended_ms, _, point in ended])


def growth(study: StudyRecord, started_ms: float, ended: Iterable[tuple[float, Point | None]]) -> list[CurvePoint]:
    """Return the hypervolume after each trial.

    Args:
        study: Whose reference point counts.
        started_ms: Unix time in milliseconds at which the first trial started.
        ended: When each trial ended, in that order, and its point if it is complete.
    """
    reference = (study.reference_psnr_y_db, study.reference_fastest_ms)
    curve: list[CurvePoint] = []
    front: list[Point] = []
    volume = 0.0
    for count, (ended_ms, point) in enumerate(ended, start=1):
        if point is not None:
            points = [*front, point]
            front = [kept for kept, on_front in zip(points, non_dominated(points), strict=True) if on_front]
            volume = hypervolume(front, reference)
        curve.append(CurvePoint(count, (ended_ms - started_ms) / 1e3, volume))
    return curve
