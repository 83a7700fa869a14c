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
    Storage,
    Threads,
    Workspace,
    parse_size,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.nas.outcome import Outcome

_SHOWN = 5


def search(
    space: Annotated[str, typer.Option(help="A space of 'srnas space list', or the path of a TOML file.")] = "tiny",
    scale: Annotated[int, typer.Option(help="Upscaling factor: 2, 3 or 4.")] = 2,
    trials: Annotated[int, typer.Option(help="Total number of candidates of the study.")] = 24,
    study: Annotated[str | None, typer.Option(help="Name of the study \\[default: SPACE-xSCALE].")] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of training photographs \\[default: embedded].")] = None,
    val: Annotated[Path | None, typer.Option(help="Folder of held-out photographs \\[default: embedded].")] = None,
    sampler: Annotated[str, typer.Option(help="front, tpe, nsga2, gp or random.")] = "front",
    rungs: Annotated[str, typer.Option(help="halving stops weak candidates early, none trains all to the end.")] = (
        "halving"
    ),
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
    max_train_s: Annotated[
        float | None, typer.Option(help="End a candidate that needs more seconds of training steps.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="End when the hypervolume has not risen for so many candidates.")
    ] = None,
    replicates: Annotated[int, typer.Option(help="Train what is near the front again with so many other seeds.")] = 0,
    proxies: Annotated[
        bool, typer.Option("--proxies", help="Compute zero-cost proxies beside, as a diagnostic.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes: one for each GPU or share of the cores.")] = 1,
    engine: Annotated[str, typer.Option(help="Where workers run: local, or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster \\[default: start one here].")] = None,
    storage: Storage = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Search: propose, count, time, train and rank candidates until the study holds --trials of them.

    The same command again goes on where it stopped; a larger --trials extends a finished study.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.launch import launch
        from srnas.nas.preparation import SearchRequest
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
        rungs=rungs,
        max_train_s=max_train_s,
        patience=patience,
        replicates=replicates,
        proxies=proxies,
        workers=workers,
        engine=engine,
        address=address,
        storage=storage,
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
    console = Console()
    _report(console, outcome)
    if outcome.anew:
        _say_where(console, outcome, workspace)
    else:
        _offer_more(console, outcome)


def _report(console: "Console", outcome: "Outcome") -> None:
    from srnas.leaderboard import board_summary, board_table

    console.print(board_table(outcome.board, width=console.width, limit=_SHOWN))
    console.print(board_summary(outcome.board))
    stopped = sum(record.state == "stopped" for record in outcome.records)
    if stopped or outcome.false_stops.spared:
        stops = f"Rungs stopped {stopped} of {len(outcome.records)} candidates; false stops: {outcome.false_stops}."
        console.print(stops, soft_wrap=True)
    for account in outcome.accounts:
        console.print(str(account), markup=False, highlight=False, soft_wrap=True)


def _offer_more(console: "Console", done: "Outcome") -> None:
    judged = len(done.records)
    console.print(
        f"Study '{done.name}' is complete with {judged} trials; nothing was run. To extend it, run the same "
        f"command with --trials {2 * judged}."
    )


def _say_where(console: "Console", outcome: "Outcome", workspace: Path) -> None:
    if outcome.exhausted:
        console.print("The space holds no further architecture that the study has not judged.")
    for path in outcome.figures:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False)
    console.print(f"MLflow  {workspace / 'mlflow.db'} (browse it: srnas ui --workspace {workspace})", soft_wrap=True)
    if outcome.unwritten:
        console.print(
            f"MLflow did not answer ({outcome.unwritten}): run the same command again when it does, and what it lacks "
            "is written.",
            style="yellow",
            markup=False,
        )
