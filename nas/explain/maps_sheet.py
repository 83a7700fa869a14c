"""Attention maps of a photograph as a sheet, one strip for each place, and as one HTML file with the same strips."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from srnas.leaderboard.show.axes import new_figure
from srnas.nas.explain.figures import COLOURS, plain
from srnas.nas.explain.maps import PlaceMaps, Weights
from srnas.nas.files import save_png, writing
from srnas.nas.images.metrics import Image, luma

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 100
_SIDE_IN, _TITLE_IN = 2.3, 0.55
# So much of a map is seen over the picture.
_OPAQUE = 0.72

CAPTION = (
    "One strip for each attention, from the first position on. First and last panel: root mean square over channels "
    "of the features before and after it. Between them its weights: maps over the picture (mean over channels where a "
    "map has several) with their scale, or bars where a weight belongs to a channel; m is the mean, s the standard "
    "deviation over channels and pixels."
)


def draw_strips(maps: Sequence[PlaceMaps], lr: Image) -> list[PillowImage.Image]:
    """Return one strip for each place, all of one width."""
    columns = max(len(one.weights) for one in maps) + 2
    return [_draw_strip(one, lr, columns) for one in maps]


def write_sheet(strips: Sequence[PillowImage.Image], title: str, path: Path) -> None:
    """Write the strips below each other as PNG.

    Raises:
        InputError: If it cannot be written.
    """
    head = _draw_head(title, strips[0].width)
    parts = [head, *strips]
    sheet = PillowImage.new("RGB", (strips[0].width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    save_png(sheet, path)


def write_html(strips: Sequence[PillowImage.Image], maps: Sequence[PlaceMaps], title: str, path: Path) -> None:
    """Write the strips with their numbers as one file that needs nothing else.

    Raises:
        InputError: If it cannot be written.
    """
    rows = "".join(
        f"<tr><th>{html.escape(str(one.place))}</th><td>{html.escape(name)}</td><td>{weights.mean:.4f}</td>"
        f"<td>{weights.std:.4f}</td></tr>"
        for one in maps
        for name, weights in one.weights.items()
    )
    figures = "".join(
        f'<section><h2>{html.escape(str(one.place))}</h2><img alt="Attention maps of {html.escape(str(one.place))}" '
        f'src="data:image/png;base64,{_encoded(strip)}"></section>'
        for one, strip in zip(maps, strips, strict=True)
    )
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:80rem}img{max-width:100%}"
        "td,th{padding:.1rem .8rem;text-align:right}h2{font-size:1rem}</style>"
        f"<h1>{html.escape(title)}</h1><p>{CAPTION}</p>{figures}"
        "<table><thead><tr><th>place</th><th>weights</th><th>mean</th><th>standard deviation</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></html>"
    )
    with writing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _encoded(image: PillowImage.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _draw_head(title: str, width: int) -> PillowImage.Image:
    import textwrap

    lines = textwrap.wrap(CAPTION, max(30, width // 6))
    figure = new_figure(width / _DPI, 0.45 + 0.16 * len(lines))
    figure.text(0.01, 0.97, plain(title), fontsize=11, va="top", weight="bold")
    figure.text(0.01, 0.03, "\n".join(lines), fontsize=8, va="bottom")
    return _rendered(figure)


def _draw_strip(one: PlaceMaps, lr: Image, columns: int) -> PillowImage.Image:
    figure = new_figure(_SIDE_IN * 1.25 * columns, _SIDE_IN + _TITLE_IN)
    every = figure.subplots(1, columns, squeeze=False)[0]
    _draw_map(every[0], one.before, f"{one.place}: before", None)
    for axes, (name, weights) in zip(every[1:], one.weights.items(), strict=False):
        said = f"{name}  m {weights.mean:.3f}, s {weights.std:.3f}"
        if weights.picture is None:
            _draw_channels(axes, weights, said)
        else:
            _draw_map(axes, weights.picture, said, lr)
    _draw_map(every[len(one.weights) + 1], one.after, "after", None)
    for axes in every[len(one.weights) + 2 :]:
        axes.set_visible(False)
    return _rendered(figure)


def _draw_map(axes: "Axes", values: NDArray[np.float32], said: str, lr: Image | None) -> None:
    extent = (0, values.shape[1], values.shape[0], 0)
    if lr is not None:
        axes.imshow(luma(lr), cmap="gray", extent=extent, aspect="auto")
    shown = axes.imshow(values, cmap="viridis", alpha=1.0 if lr is None else _OPAQUE, extent=extent, aspect="auto")
    # The picture's own sides, whatever grid the map has.
    height, width = (values if lr is None else lr).shape[:2]
    axes.set_box_aspect(height / width)
    bar = axes.figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(said, fontsize=8)


def _draw_channels(axes: "Axes", weights: Weights, said: str) -> None:
    axes.bar(range(len(weights.channels)), weights.channels, color=COLOURS[0])
    axes.set_title(said, fontsize=8)
    axes.set_xlabel("channel" if len(weights.channels) > 1 else "one weight for the image", fontsize=7)
    axes.set_ylim(min(0.0, float(weights.channels.min())), max(1.0, float(weights.channels.max())))
    axes.tick_params(labelsize=7)
    if len(weights.channels) == 1:
        axes.set_xticks([])
        axes.set_xlim(-2, 2)


def _rendered(figure: "object") -> PillowImage.Image:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=_DPI, format="png")  # type: ignore[attr-defined]
    return PillowImage.open(stream).convert("RGB")
