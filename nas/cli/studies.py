"""``srnas studies``: list, remove, export and import studies."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Storage, WorkspacePath, output, print_json

app = typer.Typer(help="List, remove, export and import studies.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="Name of the study.")]


@app.callback()
def studies(
    context: typer.Context,
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """List the studies of a workspace or database: state, live workers, trials, size of the front, hypervolume."""
    if context.invoked_subcommand:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from srnas.nas.revisit.archive import list_studies
    from srnas.nas.study.storage import given_url, shown
    from srnas.nas.workspace.workspace import Workspace

    rows = list_studies(Workspace(workspace), storage)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    where = shown(given_url(storage)) if storage else f"'{workspace}'"
    table = Table(title=escape(f"Studies of {where}"), title_justify="left")
    table.add_column("study", overflow="fold")
    table.add_column("state")
    for head in ("workers", "trials", "trained", "front", "hypervolume"):
        table.add_column(head, justify="right")
    for row in rows:
        numbers = (f"{row.trials}/{row.total}", str(row.complete), str(row.front), f"{row.hypervolume:.3f}")
        table.add_row(escape(row.study), row.state, str(row.workers), *numbers)
    output().print(table if rows else f"No study in {where}; run 'srnas search'.", markup=False)
    for row in rows:
        if row.state == "held":
            held = f"study '{row.study}' is held by another program: close it, and list again."
            Console(stderr=True).print(held, markup=False)
        if row.state == "damaged":
            said = f"study '{row.study}' cannot be read: it is damaged, of another version, or was never begun; "
            Console(stderr=True).print(f"{said}'srnas studies rm {quote(row.study)}' removes it.", markup=False)


@app.command("rm")
def remove(
    name: Name,
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a study. Trained weights stay in the cache, and MLflow can restore its runs."""
    from srnas.nas.revisit.archive import remove_study
    from srnas.nas.workspace.workspace import Workspace

    if not yes:
        typer.confirm(f"Delete study '{name}' and its trials?", abort=True)
    remove_study(Workspace(workspace), name, storage)
    typer.echo(f"Study '{name}' is deleted.")


@app.command("export")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File to write.")],
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    weights: Annotated[
        bool,
        typer.Option("--weights", help="Write the weights of the front and of the human designs as well, beside FILE."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Write a study to one file: settings, trials, learning curves and latencies."""
    from srnas.nas.revisit.archive import export_study
    from srnas.nas.workspace.workspace import Workspace

    kept = export_study(Workspace(workspace), name, file, storage, weights=weights, overwrite=overwrite)
    typer.echo(f"Study '{name}' is in {file}.")
    if weights:
        typer.echo(f"Weights of {len(kept)} trials are beside it.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file that 'srnas studies export' wrote.")],
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Import an exported study, with the weights beside it, to browse, retime, evaluate, replay or continue it."""
    from rich.console import Console

    from srnas.nas.revisit.archive import import_study
    from srnas.nas.revisit.resync import write_study
    from srnas.nas.workspace.workspace import Workspace
    from srnas.search_space import InputError

    said = Console(stderr=True)
    name, taken = import_study(Workspace(workspace), file, storage)
    typer.echo(f"Study '{name}' is in the workspace" + (f", with the weights of {taken} trials." if taken else "."))
    try:
        with said.status("writing it to MLflow"):
            write_study(Workspace(workspace), name, storage)
    # The study is there: to import it again would be refused.
    except InputError as error:
        said.print(f"MLflow lacks it: {error}", style="yellow", markup=False, soft_wrap=True)
