"""The ``srnas`` command. Heavy imports happen inside the commands."""

import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from srnas.nas.cli import blocks, board, profile, search, ui

app = typer.Typer(
    name="srnas",
    help="Find the super-resolution network with the best PSNR within a latency budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("search")(search.search)
app.command("leaderboard")(board.leaderboard)
app.add_typer(profile.app, name="profile")
app.command("blocks")(blocks.blocks)
app.command("ui")(ui.ui)


def main() -> None:
    """Run the command: exit code 2 and one message for what a user can mend, 130 when interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except (ValueError, RuntimeError) as error:
        from srnas.profiling import DeviceBusyError
        from srnas.search_space import InputError

        if not isinstance(error, (InputError, DeviceBusyError)):
            raise
        print(f"srnas: error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
