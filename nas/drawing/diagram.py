"""A block as a drawing: the network around it, and its operators."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from srnas.nas.files import writing
from srnas.search_space import Architecture, Position
from srnas.search_space.architecture import CONV
from srnas.search_space.choice import NONE
from srnas.search_space.graph import Step

# Inches.
_ROW, _BOX_HEIGHT = 0.46, 0.3
_AROUND_WIDTH, _AROUND_AT = 2.3, 1.75
_STEPS_WIDTH, _STEPS_AT = 4.9, 6.6
_WIDTH = 9.3
_LANE = 0.13

_PLAIN, _BLOCK, _EDGE, _SKIP = "#f2f4f7", "#cfe3ff", "#475467", "#b54708"


def draw_block(name: str, architecture: Architecture, steps: Sequence[Step], path: Path) -> None:
    """Write an SVG: ``architecture`` from top to bottom with the block ``name`` marked, and the block's ``steps``.

    Raises:
        InputError: If the file cannot be written.
    """
    around = _around(architecture)
    rows = max(len(around), len(steps)) + 1
    height = (rows + 1) * _ROW
    # Texts stay texts, so that a browser can search them.
    with rc_context({"svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}):
        figure = Figure(figsize=(_WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, _WIDTH)
        axes.set_ylim(height, 0)
        axes.axis("off")
        _title(axes, _AROUND_AT, f"network {architecture}")
        _title(axes, _STEPS_AT, f"block {name}, {_size(steps[0].shape)}")
        _draw_around(axes, around, name)
        _draw_steps(axes, steps)
        with writing(path) as aside:
            # Without a date equal drawings are equal files.
            figure.savefig(aside, format="svg", metadata={"Date": None, "Title": f"srnas block {name}"})


def _title(axes: Axes, x: float, text: str) -> None:
    axes.text(x, _ROW * 0.6, text, ha="center", va="center", weight="bold", color=_EDGE, fontsize=8)


def _around(architecture: Architecture) -> list[tuple[str, str, int | None]]:
    """Return rows of the network: text, the block it is, and the row whose result is added to it."""
    rows: list[tuple[str, str, int | None]] = [("low-resolution input", "", None)]
    stem = "conv 3x3" if architecture.stem.name == CONV else str(architecture.stem)
    rows.append((f"stem: {stem}, {architecture.num_colours} to {architecture.channels}", "", None))
    for position in architecture.positions:
        rows += _position_rows(position, len(rows) - 1)
    gathered = [] if architecture.gather == NONE else [(f"gather: {architecture.gather}", "", None)]
    if not architecture.gathers_after_end:
        rows += gathered
    if architecture.end != NONE:
        rows.append((f"end: {architecture.end}", architecture.end, None))
    if architecture.long_skip:
        rows.append(("+", "", 1))
    if architecture.gathers_after_end:
        rows += gathered
    rows.append((f"tail: {architecture.tail}", architecture.tail.name, None))
    if architecture.global_skip in ("bilinear", "nearest"):
        rows.append((f"+ {architecture.global_skip} upsampled input", "", 0))
    rows.append((f"output, x{architecture.scale}", "", None))
    return rows


def _position_rows(position: Position, before: int) -> list[tuple[str, str, int | None]]:
    rows: list[tuple[str, str, int | None]] = []
    for choice in position.choices:
        role = "trunk" if choice == position.trunk else "attention"
        rows.append((f"{role}: {choice.name}", choice.name, None))
    if position.scale_start is not None:
        rows.append((f"scale per channel, from {position.scale_start:g}", "", None))
    if position.residual and not position.passes_input:
        rows.append(("+", "", before))
    return rows


def _draw_around(axes: Axes, rows: Sequence[tuple[str, str, int | None]], block: str) -> None:
    left = _AROUND_AT - _AROUND_WIDTH / 2
    for index, (text, name, _) in enumerate(rows):
        _box(axes, _AROUND_AT, index, _AROUND_WIDTH, text, _BLOCK if name == block else _PLAIN)
        if index:
            _down(axes, _AROUND_AT, index - 1, index)
    _draw_asides(axes, left, [(added, index) for index, (_, _, added) in enumerate(rows) if added is not None])


def _draw_steps(axes: Axes, steps: Sequence[Step]) -> None:
    asides = []
    for index, step in enumerate(steps):
        named = [source for source in step.inputs if not source[0].isdigit()]
        text = " ".join(part for part in (f"{step.module}:" if step.module else "", step.operator, *named) if part)
        _box(axes, _STEPS_AT, index, _STEPS_WIDTH, text, _BLOCK if not index else _PLAIN, _size(step.shape))
        for source in sorted({int(source.partition("[")[0]) for source in step.inputs if source[0].isdigit()}):
            if source == index - 1:
                _down(axes, _STEPS_AT, source, index)
            else:
                asides.append((source, index))
    _draw_asides(axes, _STEPS_AT - _STEPS_WIDTH / 2, asides)


def _draw_asides(axes: Axes, x: float, asides: Sequence[tuple[int, int]]) -> None:
    """Draw lines past the boxes whose left side is ``x``; lines from one row share a lane, others never overlap."""
    reach = {first: max(last for source, last in asides if source == first) for first, _ in asides}
    lanes: list[list[int]] = []
    # Short links first, so that they lie nearest to the boxes.
    for first in sorted(reach, key=lambda row: reach[row] - row):
        lane = next((lane for lane in lanes if all(reach[r] < first or reach[first] < r for r in lane)), None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(first)
    for first, last in asides:
        lane_number = next(number for number, lane in enumerate(lanes) if first in lane)
        _aside(axes, x, first, last, x - (lane_number + 1) * _LANE)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _middle(row: int) -> float:
    return (row + 1.5) * _ROW


def _box(axes: Axes, x: float, row: int, width: float, text: str, colour: str, note: str = "") -> None:
    corner = (x - width / 2, _middle(row) - _BOX_HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch(corner, width, _BOX_HEIGHT, boxstyle=style, facecolor=colour, edgecolor=_EDGE, lw=0.7)
    )
    if note:
        axes.text(x - width / 2 + 0.1, _middle(row), text, ha="left", va="center")
        axes.text(x + width / 2 - 0.1, _middle(row), note, ha="right", va="center", color=_EDGE, fontsize=7)
    else:
        axes.text(x, _middle(row), text, ha="center", va="center")


def _down(axes: Axes, x: float, first: int, second: int) -> None:
    ends = ((x, _middle(first) + _BOX_HEIGHT / 2), (x, _middle(second) - _BOX_HEIGHT / 2))
    axes.add_patch(
        FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=7, color=_EDGE, lw=0.8, shrinkA=0, shrinkB=0)
    )


def _aside(axes: Axes, x: float, first: int, second: int, left: float) -> None:
    """Draw a line past the boxes between two rows."""
    start, end = _middle(first), _middle(second)
    axes.plot([x, left, left], [start, start, end], color=_SKIP, lw=0.8, solid_joinstyle="round")
    ends = ((left, end), (x, end))
    axes.add_patch(
        FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=7, color=_SKIP, lw=0.8, shrinkA=0, shrinkB=0)
    )
