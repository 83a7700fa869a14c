"""``srnas retime``: the front of a study on another device profile."""

from shlex import quote
from typing import Annotated

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Dtype,
    Json,
    MemoryFormat,
    Runtime,
    Storage,
    Threads,
    Timed,
    WorkspacePath,
    count_bar,
    output,
    print_json,
)


def retime(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    target: Timed = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    limit: Annotated[int | None, typer.Option(help="Time at most this many networks, the front first.")] = None,
    storage: Storage = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Time the trained networks of a study on another device profile, for a front there without any training."""
    from rich.console import Console
    from rich.markup import escape

    said = Console(stderr=True)
    with count_bar(said) as bars:
        task = bars.add_task("loading", total=None)
        from srnas.leaderboard.show.table import board_summary, board_table
        from srnas.nas.revisit.retime import retime as run
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling.targets import resolve_target

        retimed = run(
            Workspace(workspace),
            study,
            resolve_target(target, runtime, dtype, memory_format, threads),
            storage=storage,
            limit=limit,
            on_start=lambda total: bars.reset(task, description="timing networks", total=total),
            on_network=lambda name: bars.update(task, description=f"preparing trial {escape(name)}"),
            on_timed=lambda number: bars.update(task, description="timing networks", completed=number),
            on_note=lambda text: said.print(text, markup=False),
        )
    if as_json:
        print_json(retimed.board.records())
        return
    console = output()
    console.print(board_table(retimed.board, width=console.width))
    console.print(board_summary(retimed.board))
    for number, reason in retimed.failed.items():
        console.print(f"trial {number} skipped: {reason}", markup=False, soft_wrap=True)
    before, after = retimed.front_before, frozenset(map(int, retimed.board.front["trial"]))
    console.print(_moved("on the front here, not in the study", after - before), highlight=False)
    console.print(_moved("on the study's front, not here", before - after), highlight=False)
    for path in retimed.figures:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False, markup=False)
    name = retimed.board.study.name
    console.print(f"MLflow  study '{name}' (srnas leaderboard --study {quote(name)})", soft_wrap=True, markup=False)


def _moved(text: str, trials: frozenset[int]) -> str:
    return f"{text}: {', '.join(f'#{number}' for number in sorted(trials)) or 'none'}"
