"""``srnas replay``: search strategies compared on what a study recorded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Row, Storage, WorkspacePath, count_bar, output, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.nas.revisit.recording import Recording
    from srnas.nas.revisit.replay import Replayed

_SHOWN = (0.1, 0.25, 0.5, 1.0)


def replay(
    study: Annotated[str | None, typer.Argument(help="Name of the study.", show_default=False)] = None,
    table: Annotated[
        Path | None, typer.Option(help="Table of trained networks (.jsonl.xz) to use instead of a study.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="Runtime whose latencies are taken from the table.")] = "eager",
    sampler: Annotated[str, typer.Option(help="Samplers to compare, separated by commas.")] = "front,tpe,nsga2,random",
    rungs: Annotated[
        str, typer.Option(help="Rules of early stopping to compare, separated by commas.")
    ] = "halving,none",
    seeds: Annotated[int, typer.Option(help="Number of searches with each strategy.")] = 20,
    trials: Annotated[
        int | None, typer.Option(help="Number of trials in each search.", show_default="all that are recorded")
    ] = None,
    cost: Annotated[str, typer.Option(help="Unit of cost: iterations or seconds of training.")] = "iterations",
    space: Annotated[Path | None, typer.Option(help="TOML file of the space, if it is not a shipped one.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Write a figure to this folder.")] = None,
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Compare search strategies on the results of a study or a table. Nothing is trained or timed."""
    from rich.console import Console

    from srnas.search_space import InputError

    if (study is None) == (table is None):
        raise InputError("either a STUDY or a --table must be given, but got " + ("both." if study else "neither."))

    with count_bar(Console(stderr=True)) as bars:
        task = bars.add_task("loading", total=None)
        from srnas.nas.files import check_folder
        from srnas.nas.revisit.replay import replay as run

        if figures:
            check_folder(figures, ())

        recording = _load(study, table, runtime, str(space) if space else None, storage, workspace)
        samplers, rules = _names("--sampler", sampler), _names("--rungs", rungs)
        bars.reset(task, description="searching", total=len(samplers) * len(rules) * seeds)
        replays = run(
            recording, samplers, rules, seeds=seeds, unit=cost, trials=trials, on_run=lambda: bars.advance(task)
        )
    name = study or str(table and table.name.partition(".")[0])
    written = _write(replays, figures / f"{name}-replay.png") if figures else None
    if as_json:
        print_json([row for one in replays for row in _rows(one)])
        return
    console = output()
    console.print(_table(recording, replays, seeds))
    if written:
        console.print(f"figure  {written}", soft_wrap=True, highlight=False, markup=False)


def _load(
    study: str | None, table: Path | None, runtime: str, space: str | None, storage: str | None, workspace: Path
) -> "Recording":
    if table:
        from srnas.nas.revisit.tabular import TabularBenchmark

        return TabularBenchmark.load(table).recording(runtime, space)
    from srnas.nas.revisit.recording import load_recording
    from srnas.nas.workspace.workspace import Workspace

    return load_recording(Workspace(workspace), str(study), space, storage)


def _names(option: str, text: str) -> list[str]:
    names = list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    if not names:
        from srnas.search_space import InputError

        raise InputError(f"{option} must be names with commas between them, but got '{text}'.")
    return names


def _at(one: "Replayed", share: float) -> tuple[float, float | None]:
    from srnas.nas.revisit.replay import SHARES

    index = SHARES.index(share)
    return one.mean[index], one.error[index]


def _rows(one: "Replayed") -> list[Row]:
    return [
        {
            "sampler": one.sampler,
            "rungs": one.rungs,
            "cost_share": share,
            f"cost_{one.unit}": share * one.total_cost,
            "hypervolume": _at(one, share)[0],
            "hypervolume_se": _at(one, share)[1],
            "num_trials": one.num_trials,
            "num_stopped": one.num_stopped,
        }
        for share in _SHOWN
    ]


def _table(recording: "Recording", replays: "list[Replayed]", seeds: int) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    whole = len(recording.trials)
    table = Table(
        title=escape(f"Strategies on the recording of {recording.name}"),
        caption=(
            f"Hypervolume in dB x ln(ms), mean and standard error over {seeds} seeds, at shares of the cost of "
            f"training {replays[0].num_trials:.0f} networks to the end ({replays[0].total_cost:,.0f} "
            f"{replays[0].unit}). {whole} of "
            f"{recording.num_records} trials have a whole curve and are replayed. A proposal that was not recorded "
            "stands for the nearest one; front makes none such. stops: trials that the rungs stopped, on average."
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("strategy", no_wrap=True)
    for share in _SHOWN:
        table.add_column(f"{share:.0%}", justify="right", no_wrap=True)
    table.add_column("stops", justify="right", no_wrap=True)
    for one in replays:
        cells = (_cell(*_at(one, share)) for share in _SHOWN)
        table.add_row(one.name, *cells, f"{one.num_stopped:.1f}")
    return table


def _cell(mean: float, error: float | None) -> str:
    return f"{mean:.3f}" + ("" if error is None else f"±{error:.3f}".replace("±0.", "±."))


def _write(replays: "list[Replayed]", path: Path) -> Path:
    from srnas.leaderboard.show.curve_figure import write_cost_curves
    from srnas.nas.files import writing
    from srnas.nas.revisit.replay import SHARES

    curves = {one.name: ([share * one.total_cost for share in SHARES], one.mean, one.error) for one in replays}
    with writing(path) as aside:
        write_cost_curves(curves, f"{replays[0].unit} of training", aside)
    return path
