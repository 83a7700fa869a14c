"""How a front grew: the hypervolume over trials and over time, and its figure."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srnas.leaderboard.rank.front import Point, hypervolume, non_dominated
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord

_COLOURS = ("#0b5fa5", "#d1495b", "#2e8b57", "#8a5fbf", "#c98a1b", "#5f6b76")
_HYPERVOLUME = "hypervolume in dB x ln(ms)"


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


def write_curve(curves: Mapping[str, Sequence[CurvePoint]], path: Path) -> None:
    """Draw curves by name to ``path``: over trials, and over minutes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    over_trials, over_time = figure.subplots(1, 2, sharey=True)
    for index, (name, curve) in enumerate(curves.items()):
        look = {"where": "post", "color": _COLOURS[index % len(_COLOURS)], "linewidth": 1.6}
        # Nothing is known before the first trial has ended.
        values = [0.0, *(point.hypervolume for point in curve)]
        over_trials.step([0, *(point.trials for point in curve)], values, label=name, **look)
        over_time.step([0, *(point.seconds / 60 for point in curve)], values, **look)
    over_trials.xaxis.set_major_locator(MaxNLocator(integer=True))
    over_trials.set_xlabel("trials that have ended")
    over_trials.set_ylabel(_HYPERVOLUME)
    over_time.set_xlabel("minutes since the first trial started")
    for axes in (over_trials, over_time):
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=min(4, max(1, len(curves))))
    figure.savefig(path, dpi=150)


def write_cost_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float | None]]], cost: str, path: Path
) -> None:
    """Draw curves by name to ``path``: costs, mean hypervolumes, and their standard errors as a band.

    ``cost`` names the axis of the costs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, (costs, means, errors)) in enumerate(curves.items()):
        colour, dash = _COLOURS[index % len(_COLOURS)], ("-", "--", ":")[index // len(_COLOURS) % 3]
        axes.plot(costs, means, color=colour, linestyle=dash, linewidth=1.6, label=name)
        low, high = ([m + sign * (e or 0.0) for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
        axes.fill_between(costs, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(cost)
    axes.set_ylabel(_HYPERVOLUME)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=150)
