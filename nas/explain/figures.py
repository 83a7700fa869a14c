"""What the figures of this room share: colours that differ in gray too, a title and a caption."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnas.nas.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From dark to light, so that a copy in gray tells them apart; marks and hatches do too.
COLOURS = ("#173f5f", "#d1495b", "#3caea3", "#e9b44c", "#8d6a9f")
MARKS = "osD^v"
HATCHES = ("", "//", "..", "xx", "\\\\")
_INK = "#1c2430"
_LETTERS_PER_INCH = 15


def captioned(figure: "Figure", title: str, caption: str) -> None:
    """Put a title above, and below in a few lines what is seen."""
    width = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    figure.suptitle(plain(title), fontsize=11, x=0.01, ha="left", color=_INK)
    figure.supxlabel("\n".join(textwrap.wrap(plain(caption), width)), fontsize=8, x=0.01, ha="left", color=_INK)


def plain(text: str) -> str:
    """Return text that is no formula."""
    return text.replace("$", r"\$")


def by_position(axes: "Axes", labels: list[str], **style: Any) -> None:
    """Name the positions along the horizontal axis."""
    long = len(labels) > 8 or max(map(len, labels)) > 12
    axes.set_xticks(range(len(labels)), labels, rotation=60 if long else 0, ha="right" if long else "center", **style)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        InputError: If it cannot be written.
    """
    with writing(path) as aside:
        figure.savefig(aside, dpi=120, format="png")
