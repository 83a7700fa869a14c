"""``srnas profile table``: the block table of a space."""

from typing import Annotated

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Dtype,
    Json,
    MemoryFormat,
    Runtime,
    Threads,
    Timed,
    WorkspacePath,
    count_bar,
    output,
    parse_size,
    print_json,
)


def table(
    space: Annotated[
        str, typer.Option(help="Search space: a name from 'srnas space list', or the path of a TOML file.")
    ] = "tiny",
    scale: Annotated[int, typer.Option(help="Upscaling factor: 2, 3 or 4.")] = 2,
    size: Annotated[
        str | None,
        typer.Option(help="Low-resolution input, as WxH in pixels \\[default: that of studies of the space]."),
    ] = None,
    calibrate: Annotated[int, typer.Option(min=2, help="Number of random networks to calibrate the sum on.")] = 16,
    validate: Annotated[
        int, typer.Option(min=2, help="Number of other random networks whose errors are reported.")
    ] = 40,
    target: Timed = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Time every part of a space, so that a search can screen candidates by the sum of their parts.

    A search with --max-latency-ms on the same device profile and input uses the table by itself.
    """
    from rich.console import Console
    from rich.markup import escape

    said = Console(stderr=True)
    with count_bar(said) as bars:
        task = bars.add_task("loading", total=None)
        from srnas.nas.run.plan import latency_input
        from srnas.nas.workspace.tables import save_table, table_path
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import build_table
        from srnas.profiling.targets import resolve_target
        from srnas.search_space import SearchSpace

        timed = resolve_target(target, runtime, dtype, memory_format, threads)
        loaded = SearchSpace.load(space, scale)
        shape = latency_input(loaded, parse_size(size, "--size") if size else None)
        path = table_path(Workspace(workspace), loaded, timed, shape)
        built = build_table(
            loaded,
            shape,
            timed,
            num_calibration=calibrate,
            num_validation=validate,
            on_stage=lambda text, rounds: bars.reset(task, description=escape(text), total=rounds),
            on_round=lambda number: bars.update(task, completed=number),
        )
        save_table(built, path)
    if as_json:
        print_json([{**built.model_dump(mode="json"), "space": loaded.name, "file": str(path)}])
        return
    console = output()
    height, width = shape
    console.print(
        f"Block table of space '{loaded.name}', x{scale}, input {width}x{height}, on {built.device}", markup=False
    )
    console.print(
        f"{len(built.entries_ms)} parts; latency = {built.overhead_ms:.3g} ms + {built.factor:.3f} x their sum, fitted "
        f"on {calibrate} networks."
    )
    console.print(f"On others, end to end: {built.validation}.")
    console.print(f"table   {path}", soft_wrap=True, highlight=False, markup=False)
