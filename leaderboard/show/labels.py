"""Labels of points in a figure that never overlap: each is placed where there is room, or not drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# Where a label may stand beside its point, in points of type: offsets and alignments, the usual place first.
_PLACES = (
    (-6, 7, "right", "bottom"),
    (6, -7, "left", "top"),
    (6, 7, "left", "bottom"),
    (-6, -7, "right", "top"),
    (0, 10, "center", "bottom"),
    (0, -10, "center", "top"),
    (-14, 16, "right", "bottom"),
    (14, -16, "left", "top"),
    (14, 16, "left", "bottom"),
)
# Half the side of what a point takes, and the air around a label, in points of type.
_POINT, _AIR = 4.0, 1.0


class Label(NamedTuple):
    """A label of a point.

    Attributes:
        text: What it says.
        x: Abscissa of the point, in units of the data.
        y: Ordinate of the point, in units of the data.
        colour: Colour of the text.
    """

    text: str
    x: float
    y: float
    colour: str


def place_labels(
    axes: "Axes", labels: Sequence[Label], points: Sequence[tuple[float, float]], *, size: float = 8
) -> "list[Annotation]":
    """Write labels beside their points, and return those for which there was room.

    Limits and layout of the axes must be final.

    Args:
        axes: Where the points are drawn.
        labels: The most important first: the others give way to them.
        points: All points, none of which is to be covered.
        size: Size of the type.
    """
    from matplotlib.transforms import Bbox

    scale = axes.figure.dpi / 72
    reach = _POINT * scale
    taken: list[Bbox] = []
    for x, y in axes.transData.transform(list(points)) if points else ():
        taken.append(Bbox.from_extents(x - reach, y - reach, x + reach, y + reach))
    inside, placed = axes.get_window_extent(), []
    for label in labels:
        for x, y, across, up in _PLACES:
            text = axes.annotate(
                label.text, (label.x, label.y), xytext=(x, y), textcoords="offset points", fontsize=size,
                color=label.colour, ha=across, va=up,
            )  # fmt: skip
            box = text.get_window_extent().padded(_AIR * scale)
            if _is_within(box, inside) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                placed.append(text)
                break
            text.remove()
    return placed


def _is_within(box: "Bbox", outer: "Bbox") -> bool:
    return bool(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1)
