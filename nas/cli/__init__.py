"""The ``srnas`` command. Heavy imports happen inside the commands."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from srnas.nas.cli import blocks, board, evaluate, networks, profile, search, space, ui, upscale

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
app.command("evaluate")(evaluate.evaluate)
app.command("upscale")(upscale.upscale)
app.add_typer(profile.app, name="profile")
app.command("blocks")(blocks.blocks)
app.command("networks")(networks.networks)
app.add_typer(space.app, name="space")
app.command("ui")(ui.ui)


def main() -> None:
    """Run the command: exit code 2 and one message for what a user can mend, 130 when interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    for folder in filter(None, os.environ.get("SRNAS_BLOCKS", "").split(os.pathsep)):
        if not os.path.isdir(folder):
            _fail(f"SRNAS_BLOCKS must name folders of block files, but got '{folder}', which is none.")
    try:
        app()
    except (ValueError, RuntimeError) as error:
        from srnas.profiling import DeviceBusyError
        from srnas.search_space import InputError

        if not isinstance(error, (InputError, DeviceBusyError)):
            raise
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    print(f"srnas: error: {text}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
