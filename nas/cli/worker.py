"""``srnas worker``: help with a study that ``srnas search`` has started."""

from pathlib import Path
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Storage, WorkspacePath


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
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Judge candidates of a study together with other workers, on this or another machine, until nothing is left to do.

    A worker may be stopped or killed at any moment: what it held is judged by others.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.cli.progress import SearchProgress
        from srnas.nas.run.join import join
        from srnas.nas.workspace.workspace import Workspace
    given = {"storage": storage, "train": train, "validation": val, "device": device}
    changes = {name: value for name, value in given.items() if value}
    with SearchProgress(said) as progress:
        standing = join(Workspace(workspace), study, progress, **changes)
    said.print(f"Nothing is left to do for study '{study}' ({standing.value}).", markup=False)
