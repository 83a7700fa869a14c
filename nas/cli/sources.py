"""Options that name a trained network, shared by the commands that use one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

NetworkName = Annotated[
    str | None, typer.Option("--network", help="Published network, or the path of an architecture as JSON.")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Weights of the network: a .safetensors file, or a file of torch.save."),
]
PlainWeights = Annotated[
    bool, typer.Option("--plain-weights", help="Use the plain weights even if the file holds a moving average.")
]
Trial = Annotated[
    int | None, typer.Option("--trial", help="Number of a trained trial, instead of a named network and --checkpoint.")
]
Study = Annotated[str | None, typer.Option("--study", help="Study of the trial \\[default: the newest].")]
Scale = Annotated[int | None, typer.Option("--scale", help="Upscaling factor of a published network: 2, 3 or 4.")]


def print_notes(said: "Console", notes: "tuple[str, ...] | list[str]") -> None:
    """Print notes, as a search does."""
    from rich.markup import escape

    for note in notes:
        said.print(escape(note), style="yellow" if note.startswith("warning") else "dim", highlight=False)
