"""``srnas profile compare``: two networks or two targets, paired."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Device,
    Dtype,
    Json,
    MemoryFormat,
    NetworkScale,
    NetworkSize,
    Runtime,
    Threads,
    Workspace,
    count_bar,
    make_target,
    parse_size,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.profiling.compare import Comparison

_SAID = {"faster": "is faster than", "slower": "is slower than", "tie": "ties with"}


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A network as in 'srnas profile network'.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another, or the same on another target: A@compile.")],
    scale: NetworkScale = 2,
    size: NetworkSize = None,
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes, which must agree.")] = 3,
    device: Device = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Say whether B is faster or slower than A: timed in the same rounds, in several fresh processes."""
    from rich.console import Console

    said = Console(stderr=True)
    with count_bar(said) as bars:
        task = bars.add_task("processes", total=processes)
        from srnas.nas.subjects import find_subject, input_shape
        from srnas.profiling.compare import Side
        from srnas.profiling.compare import compare as run

        target = make_target(device, runtime, dtype, memory_format, threads)
        subjects = [find_subject(name, scale, workspace, target) for name in (first, second)]
        shape = parse_size(size, "--size") if size else None
        sides = [Side(s.architecture, s.target, input_shape(s.architecture, shape)) for s in subjects]
        comparison = run(
            sides[0], sides[1], processes=processes, on_process=lambda number: bars.update(task, completed=number)
        )
    row = _row(comparison, first, second)
    if as_json:
        print_json([row])
    else:
        _print(Console(), row)


def _row(comparison: "Comparison", first: str, second: str) -> dict[str, Any]:
    overall = comparison.overall
    return {
        "first": first,
        "second": second,
        "verdict": overall.verdict,
        "ratio": overall.ratio,
        "ratio_low": overall.low,
        "ratio_high": overall.high,
        "processes": [
            {
                "ratio": ratio.ratio,
                "ratio_low": ratio.low,
                "ratio_high": ratio.high,
                "first_latency_ms": latencies[0].latency_ms,
                "second_latency_ms": latencies[1].latency_ms,
                "flags": sorted({*latencies[0].flags, *latencies[1].flags}),
            }
            for ratio, latencies in zip(comparison.processes, comparison.latencies, strict=True)
        ],
        "first_device": str(comparison.devices[0]),
        "second_device": str(comparison.devices[1]),
    }


def _print(console: "Console", row: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from srnas.leaderboard.profile_table import digits

    table = Table(title=escape(f"{row['second']} beside {row['first']}"), title_justify="left")
    for head in ("process", "A ms", "B ms", "B / A", "95 % interval", "flags"):
        table.add_column(head, justify="right", no_wrap=head != "flags")
    for number, found in enumerate(row["processes"], 1):
        table.add_row(
            str(number),
            digits(found["first_latency_ms"]),
            digits(found["second_latency_ms"]),
            f"{found['ratio']:.3f}",
            f"{found['ratio_low']:.3f} to {found['ratio_high']:.3f}",
            ", ".join(found["flags"]),
        )
    console.print(table)
    for side, key in (("A", "first"), ("B", "second")):
        console.print(f"{side}: {row[key]} on {row[f'{key}_device']}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{row['second']} {_SAID[row['verdict']]} {row['first']}: ratio {row['ratio']:.3f}, "
        f"{row['ratio_low']:.3f} to {row['ratio_high']:.3f} over all processes.",
        markup=False,
    )
