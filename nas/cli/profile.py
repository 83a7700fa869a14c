"""``srnas profile``: sizes and latencies of single blocks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Device, Json, Threads, Workspace, parse_size, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.profiling import DeviceProfile, Latency, Reconciliation

app = typer.Typer(help="Count and time single blocks.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Count and time single blocks."""


@app.command("block")
def block(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Blocks; 'srnas blocks' lists them.")],
    channels: Annotated[int, typer.Option(help="Channels of the feature map.")] = 48,
    size: Annotated[str, typer.Option(help="HxW of the feature map in pixels.")] = "128x128",
    device: Device = "auto",
    threads: Threads = 1,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Count blocks with three counters and time them, interleaved, with a 95 % interval."""
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("counting and timing"):
        from srnas.profiling import measure_latency, reconcile, resolve_device, resolve_threads
        from srnas.search_space import build_block
        from srnas.search_space.registry import fold_all

        shape = (1, channels, *parse_size(size, "--size"))
        where = resolve_device(device)
        built = {name: fold_all(build_block(name, channels).eval()).to(where) for name in dict.fromkeys(names)}
        counted = {name: reconcile(module, shape) for name, module in built.items()}
        timed, profile = measure_latency(built, shape, where, threads=resolve_threads(threads))
    rows = [_row(name, counted[name], timed[name], profile) for name in built]
    _log(rows, workspace)
    if as_json:
        print_json(rows)
    else:
        _print(rows, profile, shape)


def _row(name: str, counted: "Reconciliation", latency: "Latency", profile: "DeviceProfile") -> dict[str, Any]:
    record = counted.record
    return {
        "block": name,
        "input_shape": list(record.input_shape),
        "params": record.params,
        "macs": record.macs,
        "fvcore_macs": counted.fvcore_macs,
        "fvcore_extras": dict(counted.fvcore_extras),
        "ptflops_macs": counted.ptflops_macs,
        "ptflops_bias_adds": counted.ptflops_extras,
        "counters_agree": counted.agrees,
        "unknown_operators": dict(record.unknown),
        "other_ops": record.other_ops,
        "activations": record.activations,
        "latency_stable_ms": latency.stable_ms,
        "latency_ms": latency.latency_ms,
        "latency_ms_low": latency.low_ms,
        "latency_ms_high": latency.high_ms,
        "latency_reference_ratio": latency.reference_ratio,
        "first_call_ms": latency.first_call_ms,
        "latency_flags": list(latency.flags),
        "device": str(profile),
        "device_key": profile.key,
    }


def _log(rows: list[dict[str, Any]], workspace: Any) -> None:
    from srnas.leaderboard import Store

    Store(workspace).write_block_profiles(rows)


def _print(rows: list[dict[str, Any]], profile: "DeviceProfile", shape: tuple[int, int, int, int]) -> None:
    from rich.console import Console
    from rich.table import Table

    from srnas.profiling import MACS_DEFINITION

    console = Console()
    counts = Table(
        title=f"Counts of the deploy form at {shape[1]} channels, {shape[2]}x{shape[3]}",
        caption=f"{MACS_DEFINITION}. fvcore adds normalisation and interpolation, ptflops adds biases; 'agree': the "
        "three match to the unit with that.",
    )
    for head in ("params", "MACs M", "fvcore M", "ptflops M", "agree", "acts M"):
        _add_column(counts, head)
    latencies = Table(
        title=f"Latency on {profile}",
        caption="ms: fastest round; median with its 95 % interval; x ref: times the reference 3x3 convolution.",
    )
    for head in ("ms", "median", "95 % interval", "x ref", "flags"):
        _add_column(latencies, head)
    for row in rows:
        macs = (f"{row[key] / 1e6:,.3f}" for key in ("macs", "fvcore_macs", "ptflops_macs"))
        agree = "yes" if row["counters_agree"] else "NO"
        counts.add_row(row["block"], f"{row['params']:,}", *macs, agree, f"{row['activations'] / 1e6:.3f}")
        latencies.add_row(
            row["block"],
            *(f"{row[key]:.2f}" for key in ("latency_stable_ms", "latency_ms")),
            f"{row['latency_ms_low']:.2f} to {row['latency_ms_high']:.2f}",
            f"{row['latency_reference_ratio']:.2f}",
            ", ".join(row["latency_flags"]),
        )
    for table in (counts, latencies):
        table.title_justify = table.caption_justify = "left"
        console.print(table)


def _add_column(table: "Table", head: str) -> None:
    if not table.columns:
        table.add_column("block", no_wrap=True)
    table.add_column(head, justify="right", no_wrap=True)
