"""The board as a rich table."""

import math

import pandas as pd
from rich.markup import escape
from rich.table import Table

from srnas.leaderboard.rank.board import SORTS, Board
from srnas.leaderboard.rank.paired import TIE_DB
from srnas.leaderboard.record.columns import SHOWN, Column
from srnas.leaderboard.record.studies import StudyRecord
from srnas.search_space import PUBLISHED

_STATES = {"complete": "", "over_budget": "over budget", "out_of_memory": "out of memory"}


WIDE = 130
# Characters of a line that the architecture gets at least, so that it takes few lines: in a terminal of 80 columns or
# more, and in a narrower one.
_LEAST, _LEAST_NARROW, _USUAL = 36, 22, 80
# What stands in every row: the star, the number, the borders.
_FIXED = 16
_ALWAYS = ("psnr_y_db", "timed_psnr_y_db", "psnr_mean_db", "latency_fastest_ms")
# The others by importance: what comes last is left out first.
_ORDER = ("gain_db", "front_probability", "psnr_se_db", "params_k")


def board_markdown(board: Board, *, limit: int | None = None) -> str:
    """Return the ranked trials as a table in Markdown.

    Args:
        board: What is shown.
        limit: Keeps only the front and that many of the best others.
    """
    columns = _columns(board)
    shown = board.rows if limit is None else board.best(limit).rows
    lines = [["", "trial", "architecture", *(_heading(board, column) for column in columns)]]
    lines.append(["---", "---:", "---", *("---:" for _ in columns)])
    for _, row in shown.iterrows():
        name = f"`{row['architecture']}`".replace("|", r"\|")
        numbers = (column.shown(row[column.key]) for column in columns)
        lines.append(["\\*" if row["front"] else "", str(row["trial"]), name, *numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def board_table(board: Board, *, width: int, limit: int | None = None, sort: str = "front") -> Table:
    """Return the ranked trials.

    Args:
        board: What is shown.
        width: Characters in a line of the terminal; below ``WIDE`` some columns are left out, and more where the
            architecture would be broken into many lines.
        limit: Keeps only the front and that many of the best others.
        sort: The order of the rows, whose column is never left out.
    """
    study = board.study
    shown = board.rows if limit is None else board.best(limit).rows
    columns, left = _fitting(board, shown, width, SORTS[sort][0])
    more = f" Left out at {width} columns: {', '.join(left)}; --csv and --json have all." if left else ""
    table = Table(
        title=escape(f"Study '{study.name}': x{study.scale} on {study.profile_said}"),
        caption=(
            f"* front. PSNR-Y in dB on '{escape(study.validation)}' after {study.iterations:,} steps, and its gain "
            f"over bicubic ({study.bicubic_psnr_y_db:.2f} dB, SSIM-Y {study.bicubic_ssim_y:.4f})."
            f"{said_of_dtype(study)}{_said_of_unranked(study)} ms: latency, fastest round; median, low, high: its "
            f"median over rounds with the 95 % interval.{_said_of_confidence(board)}{more}"
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    table.add_column("trial", justify="right")
    table.add_column("architecture", overflow="fold", ratio=1, min_width=len("architecture"))
    for column in columns:
        table.add_column(_heading(board, column), justify="right", no_wrap=True)
    for _, row in shown.iterrows():
        numbers = (column.shown(row[column.key]) for column in columns)
        style = "bold" if row["front"] else ""
        table.add_row("*" if row["front"] else "", str(row["trial"]), _name(row), *numbers, style=style)
    return table


def _columns(board: Board) -> list[Column]:
    """Return what is shown of a board: PSNR as ranked and columns of doubt only where something is known of them."""
    return [
        column for column in SHOWN if board.tells(column.key) or not (column.doubt or column.key == "timed_psnr_y_db")
    ]


def _heading(board: Board, column: Column) -> str:
    return column.heading.format(dtype=board.study.device.dtype)


def _fitting(board: Board, rows: pd.DataFrame, width: int, sorted_by: str) -> tuple[list[Column], list[str]]:
    """Return the columns for which there is room, and the headings of those that are left out for want of it."""
    always = (*_ALWAYS, sorted_by)
    candidates = [column for column in _columns(board) if width >= WIDE or not column.wide or column.key in always]
    rank = {key: place for place, key in enumerate(dict.fromkeys((*always, *_ORDER)))}
    room = width - _FIXED - (_LEAST if width >= _USUAL else _LEAST_NARROW)
    kept: set[str] = set()
    for column in sorted(candidates, key=lambda column: rank.get(column.key, len(rank))):
        cells = (column.shown(value) for value in rows[column.key]) if column.key in rows else ()
        room -= 3 + max(map(len, (_heading(board, column), *cells)))
        if room < 0 and column.key not in always:
            break
        kept.add(column.key)
    left = [_heading(board, column) for column in candidates if column.key not in kept]
    return [column for column in candidates if column.key in kept], left


def said_of_dtype(study: StudyRecord) -> str:
    """Return what the PSNR in the data type that is timed is, where a study ranks by it."""
    return f" PSNR {study.device.dtype}: of the network as it is timed, which ranks it." if study.ranks_timed else ""


def _said_of_unranked(study: StudyRecord) -> str:
    if not study.ranks_timed:
        return ""
    return " A trial without it does not rank: its PSNR in float32 is not near the front, or its row says why."


def _said_of_confidence(board: Board) -> str:
    if not board.tells("front_probability"):
        return ""
    seeds = " mean: PSNR-Y over seeds, which ranks; s.e.: standard error of it;" if board.tells("psnr_mean_db") else ""
    return (
        f"{seeds} P(front): how often the trial is on the front of other seeds, photographs and rounds; step: PSNR-Y "
        "over the next faster member, paired by photograph."
    )


def board_summary(board: Board) -> str:
    """Return the front in a sentence, or why there is none."""
    front, states = board.front, board.rows["state"]
    if not front.empty:
        return (
            f"Front of {len(front)}, best {front['gain_db'].max():+.2f} dB over bicubic, hypervolume "
            f"{board.hypervolume:.3f} dB x ln(ms) against ({board.study.reference_psnr_y_db:.2f} dB, "
            f"{board.study.reference_fastest_ms:.1f} ms).{_said_of_ties(front)}"
        )
    if board.study.ranks_timed and (states == "complete").any():
        return (
            f"No trial has its PSNR in {board.study.device.dtype}, without which none ranks: the end of 'srnas search' "
            "gives it to what is near the front."
        )
    if (states == "over_budget").any():
        near = board.rows["latency_fastest_ms"].min()
        fastest = f"; the fastest takes {near:.2f} ms" if math.isfinite(near) else ""
        return f"No candidate was finished within the budgets{fastest}."
    return "No candidate was finished; the table says why."


def timing_summary(board: Board) -> str:
    """Return in a sentence whether the latencies of the front come from one run; nothing where there is no front."""
    if board.front.empty:
        return ""
    timed, every = board.front["timed_together_ms"], board.rows["timed_together_ms"]
    together = int((timed == timed.max()).sum())
    if together == len(timed):
        beside = int((every == timed.max()).sum()) - together
        others = "1 other network was" if beside == 1 else f"{beside} other networks were"
        return f"The latencies of the front come from one run, in which {others} timed too."
    return (
        f"The latencies of the front do not come from one run: {len(timed) - together} of {len(timed)} networks were "
        "timed at another moment."
    )


def _said_of_ties(front: pd.DataFrame) -> str:
    ties = front[front["step_is_tie"] == 1] if "step_is_tie" in front else front.head(0)
    if ties.empty:
        return ""
    numbers = ", ".join(str(number) for number in ties["trial"])
    return (
        f" Ties in PSNR with the next faster member (the difference may be 0 and is at most {TIE_DB:g} dB): "
        f"{len(ties)}, trials {numbers}."
    )


def _name(row: "pd.Series[object]") -> str:
    """Return the architecture, or the name of the published network that it is, and what there is to say."""
    design = str(row["design"])
    name, design = (design, "published") if design in PUBLISHED else (str(row["architecture"]), design)
    notes = (design, _STATES.get(str(row["state"]), str(row["state"])), row["reason"], row["latency_flags"])
    said = ", ".join(str(note) for note in notes if note)
    # Lines are broken between positions.
    return escape(name.replace("|", "| ")) + (f"\n[dim]{escape(said)}[/]" if said else "")
