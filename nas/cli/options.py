"""Options that several commands share, and the parsing of sizes."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Workspace = Annotated[
    Path, typer.Option("--workspace", envvar="SRNAS_WORKSPACE", help="Folder of studies, results and figures.")
]
Json = Annotated[bool, typer.Option("--json", help="Print rows as JSON: full precision, units in the key names.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda[:N].")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads.")]

DEFAULT_WORKSPACE = Path("srnas-runs")


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Return height and width of ``HxW``.

    Raises:
        InputError: If the text is not two positive integers.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if match is None:
        from srnas.search_space import InputError

        raise InputError(
            f"{option} must be HEIGHTxWIDTH in pixels, such as 128x128, each at most 99999, but got '{text}'."
        )
    return int(match[1]), int(match[2])


def print_json(rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to the standard output."""
    typer.echo(json.dumps(list(rows), indent=2, allow_nan=False))
