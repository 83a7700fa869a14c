"""``srnas profile compare``: two networks or two targets, paired."""

from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Dtype,
    Json,
    MaxTime,
    MemoryFormat,
    NetworkScale,
    NetworkSize,
    Row,
    Runtime,
    Threads,
    Timed,
    WorkspacePath,
    count_bar,
    output,
    parse_size,
    patient_protocol,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.profiling import Latency
    from srnas.profiling.compare import Comparison

_SAID = {"faster": "is faster than", "slower": "is slower than", "tie": "ties with"}


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A network, named as for 'srnas profile network'.")],
    second: Annotated[
        str, typer.Argument(metavar="B", help="Another network, or the same one on another target: A@compile.")
    ],
    scale: NetworkScale = 2,
    size: NetworkSize = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of fresh processes, which must agree.")] = 3,
    max_time_s: MaxTime = None,
    target: Timed = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Say whether B is faster than A. Both are timed in the same rounds, in several fresh processes."""
    from rich.console import Console

    said = Console(stderr=True)
    with count_bar(said) as bars:
        task = bars.add_task("processes", total=processes)
        from srnas.nas.workspace.named import find_named, input_shape
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling.compare import Side
        from srnas.profiling.compare import compare as run
        from srnas.profiling.targets import resolve_target

        timed = resolve_target(target, runtime, dtype, memory_format, threads)
        place = Workspace(workspace)
        subjects = [find_named(name, scale, place, timed) for name in (first, second)]
        shape = parse_size(size, "--size") if size else None
        sides = [Side(s.architecture, s.target, input_shape(s.architecture, shape)) for s in subjects]
        comparison = run(
            *sides,
            processes=processes,
            protocol=patient_protocol(sides[0].target, max_time_s),
            on_process=lambda number: bars.update(task, completed=number),
        )
    if as_json:
        print_json([_row(comparison, first, second)])
    else:
        _print(output(), comparison, (first, second))


def _row(comparison: "Comparison", first: str, second: str) -> Row:
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
                "first_median_ms": latencies[0].median_ms,
                "second_median_ms": latencies[1].median_ms,
                "flags": _flags(latencies),
            }
            for ratio, latencies in zip(comparison.processes, comparison.latencies, strict=True)
        ],
        "first_device": str(comparison.devices[0]),
        "second_device": str(comparison.devices[1]),
    }


def _print(console: "Console", comparison: "Comparison", names: tuple[str, str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from srnas.leaderboard.show.profile_table import digits

    first, second = names
    table = Table(title=escape(f"{second} beside {first}"), title_justify="left")
    for head in ("process", "A median ms", "B median ms", "B / A", "95 % interval", "flags"):
        table.add_column(head, justify="right", no_wrap=head != "flags")
    for number, (ratio, latencies) in enumerate(zip(comparison.processes, comparison.latencies, strict=True), 1):
        table.add_row(
            str(number),
            *(digits(latency.median_ms) for latency in latencies),
            f"{ratio.ratio:.3f}",
            f"{ratio.low:.3f} to {ratio.high:.3f}",
            ", ".join(_flags(latencies)),
        )
    console.print(table)
    for side, name, device in zip("AB", names, comparison.devices, strict=True):
        console.print(f"{side}: {name} on {device}", highlight=False, markup=False, soft_wrap=True)
    overall = comparison.overall
    console.print(
        f"{second} {_SAID[overall.verdict]} {first}: ratio {overall.ratio:.3f}, "
        f"{overall.low:.3f} to {overall.high:.3f} over all processes.",
        markup=False,
    )


def _flags(latencies: "tuple[Latency, Latency]") -> list[str]:
    return sorted({*latencies[0].flags, *latencies[1].flags})
