"""The ``srnas`` command. Heavy imports happen inside the commands."""

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from srnas.nas.cli import (
    ablate,
    atlas,
    blocks,
    board,
    compare,
    evaluate,
    explain,
    export,
    frequency,
    maps,
    networks,
    ntire,
    pick,
    profile,
    reach,
    replay,
    retime,
    search,
    space,
    studies,
    table,
    target,
    train,
    ui,
    upscale,
    worker,
)
from srnas.nas.cli.boundary import message_of, print_notes

app = typer.Typer(
    name="srnas",
    help="Find the super-resolution network with the best PSNR within a latency budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"srnas {version('srnas')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the super-resolution network with the best PSNR within a latency budget."""


app.command("search")(search.search)
app.command("worker")(worker.worker)
app.add_typer(studies.app, name="studies")
app.add_typer(board.app, name="leaderboard")
app.command("pick")(pick.pick)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("upscale")(upscale.upscale)
app.add_typer(profile.app, name="profile")
profile.app.command("compare")(compare.compare)
profile.app.command("table")(table.table)
app.add_typer(explain.app, name="explain")
explain.app.command("ablate")(ablate.ablate)
explain.app.command("maps")(maps.maps)
explain.app.command("frequency")(frequency.frequency)
explain.app.command("reach")(reach.reach)
explain.app.command("studies")(atlas.atlas)
app.command("ntire")(ntire.ntire)
app.command("replay")(replay.replay)
app.command("retime")(retime.retime)
app.add_typer(target.app, name="target")
app.command("blocks")(blocks.blocks)
app.command("networks")(networks.networks)
app.add_typer(space.app, name="space")
app.command("ui")(ui.ui)


def main() -> None:
    """Run the command: exit code 2 and one message for what a user can mend, 130 when interrupted."""
    # A scheduler ends a job so; as an interrupt it unwinds, and what is at hand is given back.
    signal.signal(signal.SIGTERM, _interrupt)
    print_notes()
    try:
        app()
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print(f"srnas: error: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
