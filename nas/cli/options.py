"""Options that several commands share; those of a search are made from their single definition."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.models import OptionInfo

from srnas.nas.run.request import DEFAULT_WORKSPACE, SearchOption, parse_size, search_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from srnas.profiling import LatencyProtocol, Target

__all__ = ["DEFAULT_WORKSPACE", "parse_size"]

# What a command prints of one thing: plain data by key, with units in the keys.
Row = dict[str, Any]


def option_of(option: SearchOption, panel: str | None = None) -> OptionInfo:
    """Return an option of a search as one of a command."""
    flag = f"--{option.name.replace('_', '-')}"
    help_ = (option.field.description or "").replace("[", r"\[")
    made: OptionInfo = typer.Option(flag, envvar=option.variable, help=help_, rich_help_panel=panel)
    return made


_SEARCH = {option.name: option_of(option) for option in search_options()}

WorkspacePath = Annotated[Path, _SEARCH["workspace"]]
Storage = Annotated[str | None, _SEARCH["storage"]]
Device = Annotated[str, typer.Option("--device", help="Device to use: auto, cpu or cuda[:N].")]
Timed = Annotated[
    str,
    typer.Option(
        "--target", "--device", help="Device to time on: auto, cpu, cuda[:N], or a name from 'srnas target list'."
    ),
]
Threads = Annotated[int, typer.Option("--threads", help="Number of CPU threads to use.")]
Runtime = Annotated[str, _SEARCH["runtime"]]
Dtype = Annotated[str, _SEARCH["dtype"]]
MemoryFormat = Annotated[str, _SEARCH["memory_format"]]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, in full precision and with units in the key names.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]

NetworkScale = Annotated[int, typer.Option("--scale", help="Upscaling factor of published networks: 2, 3 or 4.")]
NetworkSize = Annotated[
    str | None,
    typer.Option("--size", help="Low-resolution input, as WxH in pixels \\[default: that of a 1280x720 output]."),
]

RawColours = Annotated[
    bool,
    typer.Option(
        "--raw-colours/--no-raw-colours",
        help="Use pixel values as they are and ignore colour profiles.",
    ),
]

RawOfBenchmarks = Annotated[
    bool | None,
    typer.Option(
        "--raw-colours/--no-raw-colours",
        help="Use pixel values as they are and ignore colour profiles \\[default: as benchmarks do; not for a --trial, "
        "since a search converts].",
        show_default=False,
    ),
]

MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time-s",
        min=0.0,
        help="Stop after this many seconds, once there are 12 rounds \\[default: 10, or 60 on a GPU].",
        show_default=False,
    ),
]

_PIPE_WIDTH = 100
# Who asks for one measurement has more time than a search.
_TIME_S = 10.0
# Twelve rounds of a network that takes minutes.
_PATIENCE_S = 3600.0


def takes_raw(raw_colours: bool | None, trial: int | None) -> bool:
    """Return whether colour profiles are ignored: as was said, else as benchmarks do, and not as a trial's search."""
    return trial is None if raw_colours is None else raw_colours


def patient_protocol(target: "Target", max_time_s: float | None) -> "LatencyProtocol":
    """Return the rules for the device of a target, with so much time once there are enough rounds."""
    from srnas.profiling import default_protocol

    usual = default_protocol(target)
    if max_time_s is None:
        max_time_s = max(_TIME_S, usual.max_time_s)
    return replace(usual, max_time_s=max_time_s, give_up_s=_PATIENCE_S)


def output() -> "Console":
    """Return what prints to the standard output; what is no terminal gets what one of 100 columns gets."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


def count_bar(said: "Console") -> "Progress":
    """Return a bar of things that are counted, gone when they are done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=said, transient=True)


def print_json(rows: Sequence[Row]) -> None:
    """Write rows to the standard output."""
    typer.echo(json.dumps(list(rows), indent=2, allow_nan=False))


def print_csv(rows: Sequence[Row], heads: Iterable[str] = ()) -> None:
    """Write rows to the standard output with a line of heads; what is no single value is written as JSON.

    Args:
        rows: The rows.
        heads: Those of the first columns, also where no row is left.
    """
    heads = dict.fromkeys((*heads, *(head for row in rows for head in row)))
    writer = csv.DictWriter(sys.stdout, list(heads))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in row.items()})
