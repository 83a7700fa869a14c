"""``srnas explain studies``: the block atlas, the effect of each block at each depth over finished trials."""

from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.explain import Out
from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Row, Storage, WorkspacePath, output, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from srnas.nas.explain.effects import Atlas

_CHOICES = 12


def atlas(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="STUDY", help="Names of studies \\[default: the newest].")
    ] = None,
    depths: Annotated[int, typer.Option(min=1, max=8, help="Number of equal parts to divide the depth into.")] = 3,
    out: Out = None,
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Draw the block atlas: the effect of one more block at a depth on PSNR and latency, over the trials of studies.

    It is a hierarchical ridge regression over all judged trials, with 95 % intervals. The PSNR of trials that a rung
    stopped is predicted from that rung, with less weight the less certain the prediction is. Sentences say only what an
    interval supports. Optuna's fANOVA is printed beside it.
    """
    from rich.console import Console

    with Console(stderr=True).status("reading the studies"):
        from srnas.nas.explain.atlas_figure import draw_atlas
        from srnas.nas.explain.effects import block_atlas, sentences
        from srnas.nas.explain.importance import choice_importance
        from srnas.nas.files import check_study_name
        from srnas.nas.workspace.boards import find_study
        from srnas.nas.workspace.studies import load_trials
        from srnas.nas.workspace.workspace import Workspace

        place = Workspace(workspace)
        chosen = list(dict.fromkeys(names or [find_study(place).name]))
        found = {name: load_trials(place, name, storage) for name in chosen}
        made = block_atlas([[t.record for t in trials if t.record is not None] for trials in found.values()], depths)
        importance = {name: choice_importance(trials) for name, trials in found.items()}
        said = sentences(made)
        title = f"Block atlas of {', '.join(chosen)}: {made.complete} trained trials, {made.predicted} by their rung"
        path = (out or workspace / "explained") / f"atlas-{check_study_name('-'.join(chosen))}.png"
        draw_atlas(made, title, path)
    if as_json:
        print_json([*_rows(made), *_importance_rows(importance)])
    else:
        console = output()
        console.print(_table(made, title))
        silent = len(made.effects) - len(said)
        for sentence in said:
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        console.print(
            f"{silent} of {len(made.effects)} intervals hold 0, so they support no statement", highlight=False
        )
        console.print(importance_table(importance))
    typer.echo(f"file    {path}", err=True)


def _rows(made: "Atlas") -> list[Row]:
    return [
        {
            "block": one.cell.block,
            "role": one.cell.role,
            "depth": one.cell.depth,
            "depths": made.depths,
            "psnr_db": one.psnr_db.value,
            "psnr_low_db": one.psnr_db.low,
            "psnr_high_db": one.psnr_db.high,
            "latency_share": one.latency.value,
            "latency_low_share": one.latency.low,
            "latency_high_share": one.latency.high,
            "trials": one.trials,
        }
        for one in made.effects
    ]


def _importance_rows(importance: "Mapping[str, Mapping[str, float]]") -> list[Row]:
    return [
        {"study": name, "choice": choice, "fanova_importance": share}
        for name, shares in importance.items()
        for choice, share in shares.items()
    ]


def _table(made: "Atlas", title: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from srnas.nas.explain.effects import depth_name

    caption = (
        "One more block, all else equal, with 95 % intervals of a hierarchical ridge regression; * where the interval "
        f"of PSNR does not hold 0. It explains {made.psnr_explained:.0%} of the variance of PSNR (residuals "
        f"{made.noise_db:.3f} dB) and {made.latency_explained:.0%} of that of log latency ({made.timed} trials)."
    )
    table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left", highlight=False)
    for heading in ("block", "depth"):
        table.add_column(heading, overflow="fold")
    for heading in ("dB", "low", "high", "latency", "trials"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, one in enumerate(made.effects):
        if number and one.cell.block != made.effects[number - 1].cell.block:
            table.add_section()
        psnr = one.psnr_db
        table.add_row(
            one.cell.block,
            depth_name(one.cell.depth, made.depths),
            f"{'*' if psnr.is_sure else ''}{psnr.value:+.3f}",
            f"{psnr.low:+.3f}",
            f"{psnr.high:+.3f}",
            f"{one.latency.value:+.0%}",
            str(one.trials),
        )
    return table


def importance_table(importance: "Mapping[str, Mapping[str, float]]") -> "Table":
    """Return what fANOVA says of the choices of studies, a column for each study."""
    from rich.markup import escape
    from rich.table import Table

    choices = list(dict.fromkeys(choice for shares in importance.values() for choice in shares))
    more = len(choices) - _CHOICES
    left = f" {more} more choices are left out; --json has all." if more > 0 else ""
    table = Table(
        title="fANOVA: relative importance of each choice for PSNR", title_justify="left", caption_justify="left",
        caption="Those of a study sum to 100 %. They say how much a choice matters, not which of its values helps."
        + left, highlight=False,
    )  # fmt: skip
    table.add_column("choice", overflow="fold")
    for name in importance:
        table.add_column(escape(name), justify="right")
    for choice in choices[:_CHOICES]:
        cells = (f"{shares[choice]:.1%}" if choice in shares else "" for shares in importance.values())
        table.add_row(choice, *cells)
    return table
