"""The front as a figure for documents."""

from pathlib import Path

import pandas as pd

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.show.profile_figure import log_scale

_FRONT, _DOMINATED, _DESIGN, _BICUBIC = "#0b5fa5", "#b8c0c8", "#d1495b", "#5f6b76"
_LATENCY = "latency in ms (fastest round, log scale)"


def _groups(board: Board) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the front, the dominated trials, and the human designs among both."""
    complete = board.rows[board.rows["state"] == "complete"]
    return board.front, complete[~complete["front"]], complete[complete["design"] != ""]


def _title(board: Board) -> str:
    study = board.study
    return f"{study.name}: PSNR against latency, x{study.scale}"


def write_png(board: Board, path: Path) -> None:
    """Draw the board to ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    front, dominated, designs = _groups(board)
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    psnr, latency = "psnr_y_db", "latency_fastest_ms"
    axes.axhline(board.study.bicubic_psnr_y_db, color=_BICUBIC, linestyle="--", linewidth=1, label="bicubic")
    axes.scatter(dominated[latency], dominated[psnr], color=_DOMINATED, s=28, label="dominated", zorder=2)
    axes.step(front[latency], front[psnr], where="post", color=_FRONT, linewidth=1.2, zorder=2)
    axes.scatter(front[latency], front[psnr], color=_FRONT, s=46, label="front", zorder=3)
    axes.scatter(
        designs[latency], designs[psnr], marker="o", s=130, facecolors="none", edgecolors=_DESIGN, linewidths=1.3,
        label="human designs", zorder=4,
    )  # fmt: skip
    for _, row in designs.iterrows():
        offset, side = ((-7, 7), "right") if row["front"] else ((7, -11), "left")
        axes.annotate(
            row["design"], (row[latency], row[psnr]), xytext=offset, textcoords="offset points", fontsize=8,
            color=_DESIGN, ha=side,
        )  # fmt: skip
    axes.margins(x=0.12)
    for _, row in front[front["design"] == ""].iterrows():
        axes.annotate(
            f"#{row['trial']}", (row[latency], row[psnr]), xytext=(-6, 7), textcoords="offset points", fontsize=8,
            color=_FRONT, ha="right",
        )  # fmt: skip
    if len(front):
        log_scale(axes, "x")
    axes.tick_params(axis="x", which="both", labelsize=9, pad=5)
    axes.set_xlabel(_LATENCY)
    axes.set_ylabel(f"PSNR-Y in dB on '{board.study.validation}'")
    axes.set_title(f"{_title(board)}\n{board.study.device}", fontsize=10, loc="left")
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=150)
