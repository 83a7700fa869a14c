"""The front as a chart of characters."""

import re

import plotext

from srnas.leaderboard.rank.board import Board

_HEIGHT = 18
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TICKS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]


def front_chart(board: Board, *, width: int) -> str:
    """Return a chart of PSNR against latency of a width in characters; empty where no trial is ranked."""
    done = board.ranked
    if done.empty:
        return ""
    designs = done["design"] != ""
    marks = (
        ("·", "dominated", done[~done["front"] & ~designs]),
        ("o", "dominated human design", done[~done["front"] & designs]),
        ("●", "front", done[done["front"] & ~designs]),
        ("◉", "human design on the front", done[done["front"] & designs]),
    )
    latencies = done["latency_fastest_ms"]
    ticks = [tick for tick in _TICKS if latencies.min() <= tick <= latencies.max()]
    # plotext draws into one figure of the process, which may hold an earlier chart.
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, _HEIGHT)
    for marker, name, rows in marks:
        if len(rows):
            plotext.scatter(rows["latency_fastest_ms"].tolist(), rows["ranked_db"].tolist(), marker=marker, label=name)
    plotext.xscale("log")
    if ticks:
        plotext.xticks(ticks, [f"{tick:g}" for tick in ticks])
    plotext.hline(board.study.bicubic_psnr_y_db)
    plotext.xlabel("latency in ms, fastest round")
    # Beside a long name of the other axis plotext leaves this one's out.
    return f"{board.psnr_said} in dB; line: bicubic\n{_COLOURS.sub('', plotext.build()).rstrip()}"
