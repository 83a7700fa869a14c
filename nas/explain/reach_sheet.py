"""Local attribution maps of several networks on one sheet: a row for each, the region framed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srnas.leaderboard.show.axes import new_figure
from srnas.nas.explain.figures import captioned, plain, save
from srnas.nas.explain.reach import AREA_SHARE, COMPLETE, Attribution
from srnas.nas.images.metrics import Image, luma

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = (
    "Left: the LR image, the region framed. Middle: attribution of each LR pixel to the region's gradients, of its "
    "largest, root scale. Right: area of contribution, the fewest pixels that hold "
    f"{AREA_SHARE:.0%} of the attribution (light). DI: diffusion index, 100 (1 - Gini). Field: radius that holds "
    f"{AREA_SHARE:.0%} of the gradient of the region's central output pixel."
)
_FRAME = "#d1495b"


def draw_reach(found: Sequence[tuple[str, Attribution]], lr: Image, title: str, path: Path) -> None:
    """Draw the attributions of networks, by name, to ``path``.

    Raises:
        InputError: If it cannot be written.
    """
    height, width = lr.shape[:2]
    side = 2.9
    figure = new_figure(3 * side * max(1.0, min(1.6, width / height)), side * len(found) + 1.3)
    for row, (name, one) in zip(figure.subplots(len(found), 3, squeeze=False), found, strict=True):
        row[0].imshow(lr)
        row[0].set_ylabel(plain(name), fontsize=9)
        row[0].set_title("LR image", fontsize=8)
        row[1].imshow(luma(lr), cmap="gray", alpha=0.35)
        row[1].imshow(np.sqrt(one.map / (one.map.max() or 1)), cmap="inferno", vmin=0, vmax=1, alpha=0.85)
        incomplete = "" if one.incompleteness <= COMPLETE else f", sums miss by {one.incompleteness:.1%}"
        row[1].set_title(f"DI {one.diffusion_index:.1f}, field {one.field_radius:.1f} px{incomplete}", fontsize=8)
        row[2].imshow(_held(one), cmap="gray", vmin=0, vmax=1)
        row[2].set_title(f"area {one.area} px of {height * width} ({one.area / (height * width):.0%})", fontsize=8)
        for axes in row:
            _frame(axes, one)
    captioned(figure, title, CAPTION)
    save(figure, path)


def _held(one: Attribution) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Return 1 where a pixel belongs to the area of contribution."""
    order = np.argsort(one.map, axis=None)[::-1]
    held = np.zeros(one.map.size)
    held[order[: one.area]] = 1.0
    return held.reshape(one.map.shape)


def _frame(axes: "Axes", one: Attribution) -> None:
    from matplotlib.patches import Rectangle

    left, top, side = one.region
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=_FRAME, linewidth=1.6))
    axes.set_xticks([])
    axes.set_yticks([])
