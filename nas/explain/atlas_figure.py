"""The block atlas as a heat map of depth by block: one for PSNR, one for latency."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srnas.leaderboard.show.axes import new_figure
from srnas.nas.explain.effects import Atlas, Effect, Range, depth_name
from srnas.nas.explain.figures import captioned, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = (
    "Effect of one more block in a part of the depth, all else equal, above the number of trials that have it. Bold: "
    "the 95 % interval does not hold 0; dim: it does, which supports no statement. Dark is less, light is more."
)


def draw_atlas(atlas: Atlas, title: str, path: Path) -> None:
    """Draw the atlas to ``path``.

    Raises:
        InputError: If it cannot be written.
    """
    blocks = list(dict.fromkeys((one.cell.role, one.cell.block) for one in atlas.effects))
    figure = new_figure(max(7.0, 1.05 * len(blocks) + 2), 2 * (0.62 * atlas.depths + 1.3) + 0.9)
    panels = figure.subplots(2, 1)
    _draw(panels[0], atlas, blocks, lambda one: one.psnr_db, "{:+.3f}", "PSNR-Y, dB")
    _draw(panels[1], atlas, blocks, lambda one: one.latency, "{:+.0%}", "latency, share")
    captioned(figure, title, CAPTION)
    save(figure, path)


def _draw(
    axes: "Axes",
    atlas: Atlas,
    blocks: list[tuple[str, str]],
    of: Callable[[Effect], Range],
    form: str,
    title: str,
) -> None:
    values = np.full((atlas.depths, len(blocks)), np.nan)
    for one in atlas.effects:
        values[one.cell.depth, blocks.index((one.cell.role, one.cell.block))] = of(one).value
    most = float(np.nanmax(np.abs(values))) or 1.0
    shown = axes.imshow(values, cmap="cividis", vmin=-most, vmax=most, aspect="auto")
    for one in atlas.effects:
        effect = of(one)
        axes.text(
            blocks.index((one.cell.role, one.cell.block)), one.cell.depth,
            f"{form.format(effect.value)}\n{one.trials}", ha="center", va="center", fontsize=8,
            weight="bold" if effect.is_sure else "normal", color=_ink(effect, most),
        )  # fmt: skip
    axes.set_xticks(range(len(blocks)), [f"{block}\n({role})" for role, block in blocks], fontsize=8)
    axes.set_yticks(range(atlas.depths), [depth_name(depth, atlas.depths) for depth in range(atlas.depths)], fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)


def _ink(effect: Range, most: float) -> str:
    """Return a text colour that is readable on the cell's colour, and dimmer without a statement."""
    is_light = effect.value > 0.1 * most
    if effect.is_sure:
        return "black" if is_light else "white"
    return "#33342a" if is_light else "#dfe2e8"
