"""``srnas leaderboard``: the ranked trials of a study."""

from pathlib import Path
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Workspace, print_json


def leaderboard(
    study: Annotated[str | None, typer.Option(help="Name of the study \\[default: the newest].")] = None,
    figures: Annotated[Path | None, typer.Option(help="Write the front as PNG and HTML into this folder.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Show a study's trials, the front first."""
    from rich.console import Console

    from srnas.leaderboard import board_summary, board_table
    from srnas.nas.boards import load_board, write_figures

    board = load_board(workspace, study)
    written = write_figures(board, figures) if figures else ()
    if as_json:
        print_json(board.records())
        return
    console = Console()
    console.print(board_table(board, width=console.width))
    console.print(board_summary(board))
    for path in written:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False)
