"""The front as a figure for documents."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.show.axes import log_scale, new_axes
from srnas.leaderboard.show.labels import Label, place_labels

_FRONT, _DOMINATED, _DESIGN, _BICUBIC = "#0b5fa5", "#b8c0c8", "#d1495b", "#5f6b76"
_LATENCY = "latency in ms (fastest round, log scale)"
# Points by which labels keep clear of each step of the front.
_SAMPLES = 40


def _groups(board: Board) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the front, the dominated trials, and the human designs among both."""
    ranked = board.ranked
    return board.front, ranked[~ranked["front"]], ranked[ranked["design"] != ""]


def _title(board: Board) -> str:
    study = board.study
    return f"{study.name}: PSNR against latency, x{study.scale}"


def write_png(board: Board, path: Path) -> None:
    """Draw the board to ``path``."""
    front, dominated, designs = _groups(board)
    figure, (axes,) = new_axes()
    psnr, latency = "ranked_db", "latency_fastest_ms"
    every = pd.concat([front, dominated])
    axes.axhline(board.study.bicubic_psnr_y_db, color=_BICUBIC, linestyle="--", linewidth=1, label="bicubic")
    axes.scatter(dominated[latency], dominated[psnr], color=_DOMINATED, s=28, label="dominated", zorder=2)
    axes.step(front[latency], front[psnr], where="post", color=_FRONT, linewidth=1.2, zorder=2)
    axes.scatter(front[latency], front[psnr], color=_FRONT, s=46, label="front", zorder=3)
    axes.scatter(
        designs[latency], designs[psnr], marker="o", s=130, facecolors="none", edgecolors=_DESIGN, linewidths=1.3,
        label="human designs", zorder=4,
    )  # fmt: skip
    axes.margins(x=0.12, y=0.1)
    if len(front):
        log_scale(axes, "x")
    axes.tick_params(axis="x", which="both", labelsize=9, pad=5)
    axes.set_xlabel(_LATENCY)
    axes.set_ylabel(f"{board.psnr_said} in dB on '{board.study.validation}'")
    axes.set_title(f"{_title(board)}\n{board.study.profile_said}", fontsize=10, loc="left")
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    # Laid out once: where labels stand depends on it.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    taken = [*zip(every[latency], every[psnr], strict=True), *_along(front, psnr)]
    place_labels(axes, _labels(front, designs, psnr), taken)
    figure.savefig(path, dpi=150)


def _along(front: pd.DataFrame, psnr: str) -> Iterator[tuple[float, float]]:
    """Yield points along the line of the front."""
    members = zip(front["latency_fastest_ms"], front[psnr], strict=True)
    for (x, y), (next_x, next_y) in pairwise(members):
        for step in range(_SAMPLES):
            share = step / _SAMPLES
            yield x * (next_x / x) ** share, y
            yield next_x, y + (next_y - y) * share


def _labels(front: pd.DataFrame, designs: pd.DataFrame, psnr: str) -> list[Label]:
    """Return the labels by importance: designs on the front, its other members, the other designs."""
    on_front = designs[designs["front"]]
    others = front[front["design"] == ""]
    return [
        *(_label(row, row["design"], psnr, _DESIGN) for _, row in on_front.iterrows()),
        *(_label(row, f"#{row['trial']}", psnr, _FRONT) for _, row in others.iterrows()),
        *(_label(row, row["design"], psnr, _DESIGN) for _, row in designs[~designs["front"]].iterrows()),
    ]


def _label(row: "pd.Series[Any]", text: str, psnr: str, colour: str) -> Label:
    return Label(text, float(row["latency_fastest_ms"]), float(row[psnr]), colour)
