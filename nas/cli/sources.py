"""Options that name a trained network, shared by the commands that use one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

NetworkName = Annotated[
    str | None, typer.Option("--network", help="A published network, or the path of an architecture as JSON.")
]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="Its weights: .safetensors, or a file of torch.save.")
]
PlainWeights = Annotated[
    bool, typer.Option("--plain-weights", help="Take the plain weights where a moving average stands beside them.")
]
Trial = Annotated[int | None, typer.Option("--trial", help="Instead of both: a trained trial of a study.")]
Study = Annotated[str | None, typer.Option("--study", help="The trial's study \\[default: the newest].")]
Scale = Annotated[int | None, typer.Option("--scale", help="Upscaling factor of a published network: 2, 3 or 4.")]


def print_notes(said: "Console", notes: "tuple[str, ...] | list[str]") -> None:
    """Print what was said on the way, as a search does."""
    from rich.markup import escape

    for note in notes:
        said.print(escape(note), style="yellow" if note.startswith("warning") else "dim", highlight=False)
