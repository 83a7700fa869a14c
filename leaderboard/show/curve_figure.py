"""The figures of how fronts grew: hypervolume over trials and minutes, or over costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srnas.leaderboard.rank.curve import CurvePoint
from srnas.leaderboard.show.axes import new_axes

_COLOURS = ("#0b5fa5", "#d1495b", "#2e8b57", "#8a5fbf", "#c98a1b", "#5f6b76")
_HYPERVOLUME = "hypervolume in dB x ln(ms)"


def write_curve(curves: Mapping[str, Sequence[CurvePoint]], path: Path) -> None:
    """Draw curves by name to ``path``: over trials, and over minutes."""
    from matplotlib.ticker import MaxNLocator

    figure, (over_trials, over_time) = new_axes(2, size=(9, 4.2))
    for index, (name, curve) in enumerate(curves.items()):
        look: dict[str, Any] = {"where": "post", "color": _COLOURS[index % len(_COLOURS)], "linewidth": 1.6}
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
    figure.legend(frameon=False, loc="outside lower center", ncols=min(4, max(1, len(curves))))
    figure.savefig(path, dpi=150)


def write_cost_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float | None]]], cost: str, path: Path
) -> None:
    """Draw curves by name to ``path``: costs, mean hypervolumes, and their standard errors as a band.

    ``cost`` names the axis of the costs.
    """
    figure, (axes,) = new_axes(size=(8, 5))
    for index, (name, (costs, means, errors)) in enumerate(curves.items()):
        colour, dash = _COLOURS[index % len(_COLOURS)], ("-", "--", ":")[index // len(_COLOURS) % 3]
        axes.plot(costs, means, color=colour, linestyle=dash, linewidth=1.6, label=name)
        low, high = ([m + sign * (e or 0.0) for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
        axes.fill_between(costs, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(cost)
    axes.set_ylabel(_HYPERVOLUME)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=150)
