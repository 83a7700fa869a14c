"""The ``srnas`` command. Heavy imports happen inside the commands."""

import inspect
import signal
from typing import Annotated

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
from srnas.nas.cli.boundary import print_logged, told_errors
from srnas.nas.stops import interrupt_once

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


# Groups of ``srnas --help``, by what a user wants to do.
_SEARCH = "Search for networks"
_CHOOSE = "Look at results and choose"
_SHIP = "Train and ship a network"
_MEASURE = "Measure sizes and latency"
_LOOK_UP = "Understand and look up"

app.command("search", rich_help_panel=_SEARCH)(search.search)
app.command("worker", rich_help_panel=_SEARCH)(worker.worker)
app.add_typer(studies.app, name="studies", rich_help_panel=_SEARCH)
app.command("replay", rich_help_panel=_SEARCH)(replay.replay)
app.add_typer(board.app, name="leaderboard", rich_help_panel=_CHOOSE)
app.command("ui", rich_help_panel=_CHOOSE)(ui.ui)
app.command("pick", rich_help_panel=_CHOOSE)(pick.pick)
app.command("train", rich_help_panel=_SHIP)(train.train)
app.command("evaluate", rich_help_panel=_SHIP)(evaluate.evaluate)
app.command("export", rich_help_panel=_SHIP)(export.export)
app.command("upscale", rich_help_panel=_SHIP)(upscale.upscale)
app.add_typer(profile.app, name="profile", rich_help_panel=_MEASURE)
profile.app.command("compare")(compare.compare)
profile.app.command("table")(table.table)
app.add_typer(target.app, name="target", rich_help_panel=_MEASURE)
app.command("retime", rich_help_panel=_MEASURE)(retime.retime)
app.command("ntire", rich_help_panel=_MEASURE)(ntire.ntire)
app.add_typer(explain.app, name="explain", rich_help_panel=_LOOK_UP)
explain.app.command("ablate")(ablate.ablate)
explain.app.command("maps")(maps.maps)
explain.app.command("frequency")(frequency.frequency)
explain.app.command("reach")(reach.reach)
explain.app.command("studies")(atlas.atlas)
app.command("blocks", rich_help_panel=_LOOK_UP)(blocks.blocks)
app.command("networks", rich_help_panel=_LOOK_UP)(networks.networks)
app.add_typer(space.app, name="space", rich_help_panel=_LOOK_UP)


def _fill_paragraphs(group: typer.Typer) -> None:
    """Join the lines of each paragraph of every help text: a terminal breaks them where it ends."""
    for command in group.registered_commands:
        text = inspect.cleandoc(command.help or (command.callback and command.callback.__doc__) or "")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _fill_paragraphs(inner.typer_instance)


_fill_paragraphs(app)


def main() -> None:
    """Run the command: exit code 2 and one message for what a user can mend, 130 when interrupted."""
    # A scheduler ends a job so, and a terminal that closes its commands. A second Ctrl-C is the user's own wish.
    interrupt_once(signal.SIGTERM, signal.SIGHUP)
    print_logged()
    with told_errors("srnas"):
        app()
