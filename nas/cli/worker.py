"""``srnas worker``: help with a study that ``srnas search`` has started."""

from pathlib import Path
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Storage, Workspace


def worker(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    storage: Storage = None,
    train: Annotated[
        Path | None, typer.Option(help="Folder of training photographs here \\[default: as in the search].")
    ] = None,
    val: Annotated[
        Path | None, typer.Option(help="Folder of held-out photographs here \\[default: as in the search].")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda:N \\[default: as in the search].")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Judge candidates of a study together with other workers, on this or another machine, until nothing is left to do.

    A worker may be stopped or killed at any moment: what it held is judged by others.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.launch import join
        from srnas.nas.progress import SearchProgress
    changes = {"storage": storage, "train": train, "validation": val, "device": device}
    with SearchProgress(said, None) as progress:
        standing = join(workspace, study, progress, **{name: value for name, value in changes.items() if value})
    said.print(f"Nothing is left to do for study '{study}' ({standing.value}).", markup=False)
