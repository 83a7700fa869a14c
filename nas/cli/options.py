"""Options that several commands share, and the parsing of sizes."""

import csv
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from srnas.profiling import LatencyProtocol, Target

Workspace = Annotated[
    Path, typer.Option("--workspace", envvar="SRNAS_WORKSPACE", help="Folder of studies, results and figures.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="SRNAS_STORAGE",
        help="Where the study lies: postgresql://USER@HOST/DATABASE or sqlite:///FILE \\[default: in the workspace].",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print rows as JSON: full precision, units in the key names.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda[:N].")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads.")]
Runtime = Annotated[
    str, typer.Option("--runtime", help="What executes the networks: eager, compile, cudagraph, onnxruntime, openvino.")
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or int8.")]
MemoryFormat = Annotated[str, typer.Option("--memory-format", help="nchw or channels_last.")]

NetworkScale = Annotated[int, typer.Option("--scale", help="Upscaling factor of published networks: 2, 3 or 4.")]
NetworkSize = Annotated[
    str | None,
    typer.Option("--size", help="WxH of the low-resolution input \\[default: that of a 1280x720 output]."),
]

MaxTime = Annotated[
    float, typer.Option("--max-time-s", min=0.0, help="Rounds end after so many seconds, once there are 12.")
]

DEFAULT_WORKSPACE = Path("srnas-runs")

# Twelve rounds of a network that takes minutes.
_PATIENCE_S = 3600.0


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Return height and width of ``WxH``, as sizes of pictures are written.

    Raises:
        InputError: If the text is not two positive integers.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if match is None:
        from srnas.search_space import InputError

        raise InputError(
            f"{option} must be WIDTHxHEIGHT in pixels, such as 320x180, each at most 99999, but got '{text}'."
        )
    return int(match[2]), int(match[1])


def make_target(device: str, runtime: str, dtype: str, memory_format: str, threads: int) -> "Target":
    """Return what the options of a command name.

    Raises:
        InputError: If the device or the threads do not exist, or the runtime does not exist for the rest.
    """
    from srnas.profiling import Target, resolve_device, resolve_threads
    from srnas.profiling.runtimes import find_runtime

    target = Target(resolve_device(device), runtime, dtype, memory_format, resolve_threads(threads))
    find_runtime(target)
    return target


def patient_protocol(target: "Target", max_time_s: float) -> "LatencyProtocol":
    """Return the rules for the device of a target, with so much time once there are enough rounds."""
    from srnas.profiling import default_protocol

    return replace(default_protocol(target), max_time_s=max_time_s, give_up_s=_PATIENCE_S)


def count_bar(said: "Console") -> "Progress":
    """Return a bar of things that are counted, gone when they are done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=said, transient=True)


def print_json(rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to the standard output."""
    typer.echo(json.dumps(list(rows), indent=2, allow_nan=False))


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to the standard output with a line of heads; what is no single value is written as JSON."""
    heads = dict.fromkeys(head for row in rows for head in row)
    writer = csv.DictWriter(sys.stdout, list(heads))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in row.items()})
