"""``srnas leaderboard``: the ranked trials of a study, a comparison of two, and the repair of MLflow."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Csv,
    Json,
    Storage,
    WorkspacePath,
    count_bar,
    output,
    print_csv,
    print_json,
)

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.leaderboard.rank.picking import Contender
    from srnas.nas.revisit.resync import Resynced

app = typer.Typer(
    help="Show and compare the ranked trials of a study, or restore what MLflow lost.",
    invoke_without_command=True,
)

Study = Annotated[str | None, typer.Option(help="Name of the study \\[default: the newest].")]
Device = Annotated[
    str | None,
    typer.Option(help="Use the study of this device profile, retimed ones included; a part of its name is enough."),
]

_MOST = 20


@app.callback()
def leaderboard(
    context: typer.Context,
    study: Study = None,
    device: Device = None,
    task: Annotated[
        str | None, typer.Option(help="Upscaling task: x2, x3 or x4 \\[default: that of the newest study].")
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Sort by: front (the front first), psnr, latency, macs, params or probability.")
    ] = "front",
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Hide trials whose fastest round takes more milliseconds than this.")
    ] = None,
    min_psnr: Annotated[float | None, typer.Option(help="Hide trials with less PSNR-Y than this, in dB.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show all trials, not only the front and the best 20 others.")
    ] = False,
    figures: Annotated[
        Path | None, typer.Option(help="Write figures of the front, as PNG and HTML, to this folder.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page with this study to one file.")] = None,
    chart: Annotated[
        bool | None, typer.Option(help="Draw the front as a chart \\[default: only in a terminal].")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    as_csv: Csv = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Show a study's trials: the front, then the twenty best of the others (all with --all, --json or --csv)."""
    if context.invoked_subcommand:
        return

    from srnas.leaderboard.show.table import board_markdown, board_summary, board_table
    from srnas.leaderboard.show.terminal import front_chart
    from srnas.nas.workspace.boards import load_board, write_figures, write_leaderboard
    from srnas.nas.workspace.workspace import Workspace

    place = Workspace(workspace)
    whole = load_board(place, study, device, task)
    written = list(write_figures(whole, figures)) if figures else []
    if html:
        write_leaderboard(place, [whole], html)
        written.append(html)
    board = whole.selected(sort=sort, max_latency_ms=max_latency_ms, min_psnr_y_db=min_psnr)
    if as_json:
        print_json(board.records())
        return
    if as_csv:
        print_csv(board.records(), map(str, board.rows.columns))
        return
    limit = None if every else _MOST
    if as_markdown:
        typer.echo(board_markdown(board, limit=limit))
        return
    console = output()
    if chart or (chart is None and console.is_terminal):
        console.print(front_chart(board, width=console.width), markup=False, highlight=False)
    console.print(board_table(board, width=console.width, limit=limit, sort=sort))
    if limit and (left := len(board.rows) - len(board.front) - limit) > 0:
        console.print(f"{left} more trials with --all.")
    console.print(board_summary(whole))
    for path in written:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False, markup=False)


@app.command("export")
def export(
    html: Annotated[Path, typer.Option(help="HTML file to write; it needs neither server nor network.")],
    study: Annotated[
        list[str] | None, typer.Option(help="Name of a study; repeat it for several \\[default: all].")
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Write the leaderboard page as one file, for mail or a report."""
    from srnas.nas.workspace.boards import load_boards, write_leaderboard
    from srnas.nas.workspace.workspace import Workspace

    place = Workspace(workspace)
    write_leaderboard(place, load_boards(place, study), html)
    typer.echo(f"page    {html}")


@app.command("compare")
def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A trained trial: its number, or the key of its architecture.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The trial to compare it with.")],
    study: Study = None,
    device: Device = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Compare two trained trials: PSNR photograph by photograph, latency and sizes.

    A is better or worse if the 95 % interval of the difference in PSNR does not hold 0. Otherwise the two tie if the
    mean difference is at most 0.05 dB, and are undecided if it is larger.
    """
    from rich.markup import escape

    from srnas.nas.cli.pick import contender_row, duel_row, said_of
    from srnas.nas.workspace.boards import load_duel
    from srnas.nas.workspace.workspace import Workspace

    one, duel = load_duel(Workspace(workspace), first, second, study, device)
    if as_json:
        typer.echo(json.dumps({"a": contender_row(one), "b": duel_row(duel)}, indent=2, allow_nan=False))
        return
    console = output()
    console.print(_beside(one, duel.rival))
    console.print(escape(f"A against B: {said_of(duel)}"))


@app.command("resync")
def resync(
    study: Annotated[str | None, typer.Option(help="Name of the study \\[default: all studies].")] = None,
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Restore in MLflow what it lacks of the studies. A lost or damaged mlflow.db is rebuilt from their files."""
    from rich.console import Console
    from rich.markup import escape

    said = Console(stderr=True)
    with count_bar(said) as bars:
        task = bars.add_task("loading", total=None)
        from srnas.nas.revisit.resync import resync as run
        from srnas.nas.workspace.workspace import Workspace

        done = run(
            Workspace(workspace),
            study,
            storage,
            on_note=lambda text: said.print(escape(text), style="dim", highlight=False),
            on_study=lambda name, trials: bars.reset(task, description=escape(name), total=trials),
            on_trial=lambda: bars.advance(task),
        )
    if as_json:
        print_json([asdict(one) for one in done])
        return
    console = output()
    console.print(_resynced(done))
    for one in done:
        if one.skipped:
            console.print(escape(f"'{one.study}' is skipped: {one.skipped}"))
        if one.strays:
            numbers = ", ".join(f"#{number}" for number in one.strays)
            console.print(escape(f"'{one.study}': runs of trials that are not in the study are kept: {numbers}"))


def _resynced(done: "list[Resynced]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title="MLflow beside the studies",
        caption=(
            "there: trials whose run was there, whole. Written just now: trials, latencies of a front that was timed "
            "together, replicates with other seeds, trials' columns of doubt, files of members of the front, figures "
            "and reports."
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("study", overflow="fold")
    heads = ("trials", "there", "written", "timed", "seeds", "doubt", "members", "files")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for one in done:
        counts = (one.present, one.written, one.timings, one.replicates, one.confidence, one.members, one.files)
        table.add_row(escape(one.study), str(one.trials), *(() if one.skipped else map(str, counts)))
    return table


def _beside(one: "Contender", other: "Contender") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from srnas.leaderboard.record.columns import COMPARED
    from srnas.nas.cli.pick import contender_row

    table = Table(title=f"Trials {one.trial.number} (A) and {other.trial.number} (B)", title_justify="left")
    table.add_column("")
    for name in ("A", "B"):
        table.add_column(name, justify="right", overflow="fold", ratio=1)
    table.add_column("B / A", justify="right")
    # Lines are broken between positions.
    table.add_row("architecture", *(escape(str(c.trial.architecture).replace("|", "| ")) for c in (one, other)), "")
    left, right = contender_row(one), contender_row(other)
    for column in COMPARED:
        a, b = left.get(column.key), right.get(column.key)
        if a is not None or b is not None:
            # Decibels and SSIM have no zero that a ratio could refer to.
            ratio = f"{b / a:.2f}" if a and b and not column.key.endswith(("_db", "ssim_y")) else ""
            table.add_row(column.label, column.shown(a), column.shown(b), ratio)
    scored = "PSNR-Y" if one.ranked_by == "psnr_y_db" else "PSNR-Y as timed"
    for image, a, b in zip(one.qualities[0].images, one.quality.psnr_y_db, other.quality.psnr_y_db, strict=True):
        table.add_row(f"{scored} of {escape(image)}", f"{a:.2f}", f"{b:.2f}", "")
    return table
