"""Ablations as a figure over depth: what each position's attention gains in PSNR, and what it costs in latency."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srnas.leaderboard.show.axes import new_figure, open_axes
from srnas.nas.explain.ablation import Ablation, AblationReport, Scope
from srnas.nas.explain.figures import COLOURS, HATCHES, MARKS, by_position, captioned, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IN_WORDS = {
    "identity": "identity in its place",
    "mean": "its mean response in its place",
    "branch": "attention branch off, plain branch alone",
}
# Where one change dwarfs the usual one by more than this, the scale is logarithmic beyond a tenth of a dB.
_DWARFED, _LINEAR_DB = 8.0, 0.1
_CUMULATIVE: dict[Scope, str] = {"first": "off from the first position to here", "last": "off from here to the last"}


def draw_ablation(report: AblationReport, title: str, caption: str, path: Path) -> None:
    """Draw one row for each way, and one for latency, to ``path``.

    Raises:
        InputError: If it cannot be written.
    """
    alone = [one for one in report.ablations if one.scope == "alone"]
    ways = list(dict.fromkeys(one.way for one in alone))
    labels = list(dict.fromkeys(one.label for one in alone))
    timed = [one for one in alone if one.saving is not None]
    rows = len(ways) + bool(timed)
    cumulative = any(one.scope in _CUMULATIVE for one in report.ablations)
    figure = new_figure(6.5 * (1 + cumulative), 2.6 * rows + 1.2)
    axes = figure.subplots(rows, 1 + cumulative, squeeze=False)
    for number, way in enumerate(ways):
        of_way = [one for one in report.ablations if one.way == way]
        _draw_alone(axes[number][0], of_way, labels, number)
        axes[number][0].set_title(f"one position: {_IN_WORDS[way]}", fontsize=9, loc="left")
        if cumulative:
            _draw_cumulative(axes[number][1], of_way, labels)
            axes[number][1].set_title(f"cumulative: {_IN_WORDS[way]}", fontsize=9, loc="left")
    if timed:
        _draw_savings(axes[-1][0], timed, labels)
        if cumulative:
            axes[-1][1].set_visible(False)
    captioned(figure, title, caption)
    save(figure, path)


def _draw_alone(axes: "Axes", of_way: Sequence[Ablation], labels: list[str], number: int) -> None:
    shown = [one for one in of_way if one.scope == "alone" and one.change is not None]
    places = [labels.index(one.label) for one in shown]
    changes = [one.change for one in shown if one.change is not None]
    axes.bar(places, [c.mean_db for c in changes], color=COLOURS[number], hatch=HATCHES[number], edgecolor="white")
    if all(math.isfinite(c.low_db) for c in changes):  # One image has no interval.
        reach = [c.high_db - c.mean_db for c in changes]
        axes.errorbar(places, [c.mean_db for c in changes], reach, fmt="none", ecolor="black", capsize=2, linewidth=1)
    tuned = [(place, one.tuned.mean_db) for place, one in zip(places, shown, strict=True) if one.tuned is not None]
    if tuned:
        axes.plot(*zip(*tuned, strict=True), "D", color="black", markerfacecolor="white", label="after training")
        axes.legend(frameon=False, fontsize=8)
    _finish(axes, labels)
    sizes = [abs(c.mean_db) for c in changes]
    if sizes and max(sizes) > _DWARFED * max(statistics.median(sizes), 1e-3):
        axes.set_yscale("symlog", linthresh=_LINEAR_DB)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel(f"PSNR-Y in dB, log beyond {_LINEAR_DB:g}", fontsize=9)


def _draw_cumulative(axes: "Axes", of_way: Sequence[Ablation], labels: list[str]) -> None:
    alone = {one.places[0]: one for one in of_way if one.scope == "alone"}
    for number, (scope, label) in enumerate(_CUMULATIVE.items()):
        many = [one for one in of_way if one.scope == scope]
        # One position alone is where either row begins, all of them where both end.
        ends = [one for one in of_way if one.scope == "first" and len(one.places) == len(alone)]
        begin = list(alone.values())[0 if scope == "first" else -1]
        shown = [begin, *many, *(ends if scope == "last" else [])]
        edge = -1 if scope == "first" else 0
        points = [(labels.index(str(one.places[edge])), one.change.mean_db) for one in shown if one.change is not None]
        axes.plot(*zip(*sorted(points), strict=True), marker=MARKS[number], color=COLOURS[number], label=label, ms=4)
    axes.legend(frameon=False, fontsize=8)
    _finish(axes, labels)


def _draw_savings(axes: "Axes", timed: Sequence[Ablation], labels: list[str]) -> None:
    ways = [way for way in ("identity", "branch") if any(one.way == way for one in timed)]
    ways = ways or ["mean"]
    for number, way in enumerate(ways):
        found = [one for one in timed if one.way == way]
        shift = 0.15 * (number - (len(ways) - 1) / 2)
        savings = [one.saving for one in found if one.saving is not None]
        errors = [[s.ms - s.low_ms for s in savings], [s.high_ms - s.ms for s in savings]]
        axes.errorbar(
            [labels.index(one.label) + shift for one in found], [s.ms for s in savings], yerr=errors, capsize=2,
            fmt=MARKS[number], color=COLOURS[number], ms=4, label=_IN_WORDS[way],
        )  # fmt: skip
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("latency saved", fontsize=9, loc="left")
    _finish(axes, labels)
    axes.set_ylabel("ms", fontsize=9)


def _finish(axes: "Axes", labels: list[str]) -> None:
    axes.axhline(0, color="black", linewidth=0.8)
    by_position(axes, labels, fontsize=8)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel("change of PSNR-Y in dB", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    open_axes(axes)
