"""The response of attention to high frequencies as a figure over depth."""

from collections.abc import Sequence
from pathlib import Path

from srnas.leaderboard.show.axes import new_figure, open_axes
from srnas.nas.explain.figures import COLOURS, MARKS, by_position, captioned, save
from srnas.nas.explain.frequency import FILTERS, SIGMA, Response

_TITLES = {
    "gaussian": f"Gaussian high-pass, |Y - G*Y|, sigma {SIGMA:g} pixels",
    "laplacian": "Laplacian, |L*Y|, 3x3",
}


def draw_response(found: Sequence[Response], title: str, caption: str, path: Path) -> None:
    """Draw one panel for each filter, and in it one line for each kind of weights, to ``path``.

    Raises:
        InputError: If it cannot be written.
    """
    labels = [str(place) for place in dict.fromkeys(one.place for one in found)]
    names = list(dict.fromkeys(one.name for one in found))
    figure = new_figure(max(9.0, 0.6 * len(labels) + 3), 4.6)
    panels = figure.subplots(1, len(FILTERS), sharey=True)
    for axes, kind in zip(panels, FILTERS, strict=True):
        for number, name in enumerate(names):
            shown = [one for one in found if (one.name, one.filter) == (name, kind)]
            # Beside each other, so that their intervals are told apart.
            shift = 0.12 * (number - (len(names) - 1) / 2)
            places = [labels.index(str(one.place)) + shift for one in shown]
            errors = [[one.correlation - one.low for one in shown], [one.high - one.correlation for one in shown]]
            axes.errorbar(
                places, [one.correlation for one in shown], yerr=errors if shown[0].images > 1 else None, label=name,
                color=COLOURS[number % len(COLOURS)], marker=MARKS[number % len(MARKS)], capsize=2, linewidth=1, ms=5,
            )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(_TITLES[kind], fontsize=9, loc="left")
        by_position(axes, labels, fontsize=8)
        axes.legend(frameon=False, fontsize=8)
        open_axes(axes)
    panels[0].set_ylabel("correlation over pixels", fontsize=9)
    captioned(figure, title, caption)
    save(figure, path)
