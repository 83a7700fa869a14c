"""``srnas search``: run or go on with a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Device,
    Dtype,
    Json,
    MemoryFormat,
    Runtime,
    Threads,
    Workspace,
    parse_size,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.leaderboard import Board
    from srnas.nas.launch import AlreadyComplete
    from srnas.nas.study import Outcome

_SHOWN = 5


def search(
    space: Annotated[str, typer.Option(help="A space of 'srnas space list', or the path of a TOML file.")] = "tiny",
    scale: Annotated[int, typer.Option(help="Upscaling factor: 2, 3 or 4.")] = 2,
    trials: Annotated[int, typer.Option(help="Total number of candidates of the study.")] = 24,
    study: Annotated[str | None, typer.Option(help="Name of the study \\[default: SPACE-xSCALE].")] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of training photographs \\[default: embedded].")] = None,
    val: Annotated[Path | None, typer.Option(help="Folder of held-out photographs \\[default: embedded].")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, nsga2, gp or random.")] = "tpe",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of proposals, weights and patches.")] = 0,
    device: Device = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    latency_input: Annotated[
        str | None, typer.Option(help="WxH of the low-resolution input that is timed \\[default: by space].")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Train no candidate slower than this.")] = None,
    max_params_k: Annotated[float | None, typer.Option(help="... with more thousands of parameters.")] = None,
    max_macs_g: Annotated[float | None, typer.Option(help="... with more billions of MACs.")] = None,
    patch: Annotated[int | None, typer.Option(help="Training patch in low-resolution pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Patches per training step.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Training steps per candidate.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the schedule.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Search: propose, count, time, train and rank candidates until the study holds --trials of them.

    The same command again goes on where it stopped; a larger --trials extends a finished study.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.launch import AlreadyComplete, SearchRequest, launch
        from srnas.nas.progress import SearchProgress
        from srnas.nas.settings import Budgets
        from srnas.search_space.errors import parse
    budgets: dict[str, Any] = {
        "max_latency_ms": max_latency_ms,
        "max_params_k": max_params_k,
        "max_macs_g": max_macs_g,
    }
    request = SearchRequest(
        workspace=workspace,
        space=space,
        scale=scale,
        trials=trials,
        study=study,
        train=train,
        validation=val,
        sampler=sampler,
        seed=seed,
        device=device,
        runtime=runtime,
        dtype=dtype,
        memory_format=memory_format,
        threads=threads,
        latency_input=parse_size(latency_input, "--latency-input") if latency_input else None,
        budgets=parse(Budgets, budgets, "budgets"),
        patch=patch,
        batch=batch,
        iterations=iterations,
        learning_rate=learning_rate,
    )
    try:
        with SearchProgress(said, trials) as progress:
            outcome = launch(request, progress)
    except KeyboardInterrupt:
        said.print("Interrupted. Every finished trial is kept; run the same command again to go on.")
        raise
    if as_json:
        print_json(outcome.board.records())
        return
    _report(Console(), outcome.board)
    if isinstance(outcome, AlreadyComplete):
        _offer_more(Console(), outcome)
    else:
        _say_where(Console(), outcome, workspace)


def _report(console: "Console", board: "Board") -> None:
    from srnas.leaderboard import board_summary, board_table

    console.print(board_table(board, width=console.width, limit=_SHOWN))
    console.print(board_summary(board))


def _offer_more(console: "Console", done: "AlreadyComplete") -> None:
    console.print(
        f"Study '{done.name}' is complete with {done.judged} trials; nothing was run. To extend it, run the same "
        f"command with --trials {2 * done.judged}."
    )


def _say_where(console: "Console", outcome: "Outcome", workspace: Path) -> None:
    if outcome.exhausted:
        console.print("The space holds no further architecture that the study has not judged.")
    for path in outcome.figures:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False)
    console.print(f"MLflow  {workspace / 'mlflow.db'} (browse it: srnas ui --workspace {workspace})", soft_wrap=True)
