"""``srnas worker``: help with a study that ``srnas search`` has started."""

from pathlib import Path
from typing import Annotated, Any

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Storage, WorkspacePath


def worker(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    storage: Storage = None,
    train: Annotated[
        Path | None,
        typer.Option(help="Folder of training photographs on this machine \\[default: that of the search]."),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(help="Folder of held-out photographs on this machine \\[default: that of the search]."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device to train on: cpu or cuda:N \\[default: that of the search].")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Help with a study, together with other workers on this or other machines, until nothing is left to do.

    A worker may be stopped or killed at any moment: the others judge what it held.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.cli.progress import SearchProgress
        from srnas.nas.run.join import join
        from srnas.nas.workspace.workspace import Workspace
    given = {"storage": storage, "train": train, "validation": val, "device": device}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value}
    with SearchProgress(said) as progress:
        standing = join(Workspace(workspace), study, progress, **changes)
    said.print(f"Nothing is left to do for study '{study}' ({standing.value}).", markup=False)
