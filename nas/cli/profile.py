"""``srnas profile``: sizes and latencies of blocks and networks."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Csv,
    Dtype,
    Json,
    MaxTime,
    MemoryFormat,
    NetworkScale,
    NetworkSize,
    Runtime,
    Threads,
    Timed,
    WorkspacePath,
    output,
    parse_size,
    patient_protocol,
    print_csv,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.nas.workspace.workspace import Workspace
    from srnas.profiling import Profile, Roofline, Target
    from srnas.profiling.profiles import Subject

app = typer.Typer(help="Count and time blocks and networks.", no_args_is_help=True)

Blocks = Annotated[list[str], typer.Argument(metavar="BLOCK...", help="Names of blocks; 'srnas blocks' lists them.")]


@app.command("block")
def block(
    names: Blocks,
    channels: Annotated[int, typer.Option(help="Channels of the feature map.")] = 48,
    size: Annotated[str, typer.Option(help="Feature map, as WxH in pixels.")] = "128x128",
    target: Timed = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    max_time_s: MaxTime = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count blocks with three counters, and time them in interleaved rounds with a 95 % interval."""
    with _showing() as show:
        from srnas.profiling.targets import resolve_target

        timed = resolve_target(target, runtime, dtype, memory_format, threads)
        subjects = _block_subjects(names, [channels], parse_size(size, "--size"))
        show.run(subjects, timed, cold=True, max_time_s=max_time_s)
    show.report(_title(names, f"{channels} channels, {size}", timed), workspace, as_json, as_csv)


@app.command("sweep")
def sweep(
    names: Blocks,
    channels: Annotated[str, typer.Option(help="Channels, separated by commas.")] = "48",
    sizes: Annotated[
        str, typer.Option(help="Feature maps, as WxH in pixels, separated by commas.")
    ] = "32x32,64x64,128x128,256x256",
    target: Timed = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    max_time_s: MaxTime = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Profile blocks over channels and sizes, and draw latency against size."""
    with _showing() as show:
        from srnas.profiling.targets import resolve_target

        timed = resolve_target(target, runtime, dtype, memory_format, threads)
        widths = [_whole(text, "--channels") for text in channels.split(",")]
        shapes = [parse_size(text, "--sizes") for text in sizes.split(",")]
        for subjects in [_block_subjects(names, widths, shape) for shape in shapes]:
            show.run(subjects, timed, cold=True, max_time_s=max_time_s)
    show.report(_title(names, "sweep", timed), workspace, as_json, as_csv)


@app.command("network")
def network(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Published networks ('srnas networks'), keys of architectures in the workspace, or JSON "
            "files. After '@', what differs from the options: a2n@channels_last,2threads.",
        ),
    ],
    scale: NetworkScale = 2,
    size: NetworkSize = None,
    target: Timed = "auto",
    runtime: Runtime = "eager",
    dtype: Dtype = "float32",
    memory_format: MemoryFormat = "nchw",
    threads: Threads = 1,
    max_time_s: MaxTime = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count whole networks, time them in interleaved rounds, and split their latency by position."""
    with _showing() as show:
        from srnas.nas.workspace.named import by_target, find_named
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling.targets import resolve_target

        timed = resolve_target(target, runtime, dtype, memory_format, threads)
        shape = parse_size(size, "--size") if size else None
        place = Workspace(workspace)
        named = [find_named(name, scale, place, timed) for name in dict.fromkeys(names)]
        for of_one, together in by_target(named, shape):
            show.run(together, of_one, cold=False, max_time_s=max_time_s)
    show.report(_title(names, f"x{scale}, {size or 'output 1280x720'}", timed), workspace, as_json, as_csv)


def _title(names: list[str], what: str, target: "Target") -> str:
    """Return what a profile is called: the names, and what differs from the usual target."""
    from srnas.profiling import Target

    usual, place = Target(), target.board.name if target.board else str(target.device)
    words = [
        (place, str(usual.device)),
        (target.runtime, usual.runtime),
        (target.dtype, usual.dtype),
        (target.memory_format, usual.memory_format),
        (f"{target.threads} threads", f"{usual.threads} threads"),
    ]
    shown = [Path(name).name for name in dict.fromkeys(names)]
    return ", ".join([*shown, what, *(word for word, expected in words if word != expected)])


def _whole(text: str, option: str) -> int:
    from srnas.search_space import InputError

    if not text.strip().isdigit() or int(text) < 1:
        raise InputError(f"{option} must be positive integers, comma-separated, such as 24,48, but got '{text}'.")
    return int(text)


def _block_subjects(names: list[str], channels: list[int], size: tuple[int, int]) -> "dict[str, Subject]":
    from srnas.profiling.profiles import Subject
    from srnas.search_space import REGISTRY, build_block
    from srnas.search_space.registry import fold_all

    subjects = {}
    for name in dict.fromkeys(names):
        for width in channels:
            module = fold_all(build_block(name, width).eval())
            REGISTRY.block(name).info.constraint.check_size(name, *size)
            subjects[f"{name} {width}"] = Subject("block", name, module, (1, width, *size))
    return subjects


class _Show:
    """Runs profiles with a bar of their rounds, and reports them all.

    Args:
        said: Where the bar is drawn.
    """

    def __init__(self, said: "Console") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
        )
        self.bars = Progress(*columns, console=said, transient=True)
        self._task = self.bars.add_task("loading", total=None, done="")
        self._profiles: list[Profile] = []
        self._rooflines: dict[Target, Roofline | None] = {}

    def run(self, subjects: "dict[str, Subject]", target: "Target", *, cold: bool, max_time_s: float | None) -> None:
        """Profile subjects side by side."""
        from rich.markup import escape

        from srnas.profiling import measure_roofline, profile

        if target not in self._rooflines:
            # What arithmetic and memory of another machine allow is not measured.
            self._rooflines[target] = None if target.board else measure_roofline(target)
        self.bars.update(self._task, total=None, done="")
        profiles = profile(
            subjects,
            target,
            protocol=patient_protocol(target, max_time_s),
            cold=cold,
            roofline=self._rooflines[target],
            on_stage=lambda text: self.bars.update(self._task, description=escape(text)),
            on_round=lambda number: self.bars.update(self._task, description="timing", done=f"round {number}"),
        )
        self._profiles += profiles.values()

    def report(self, title: str, workspace: Path, as_json: bool, as_csv: bool) -> None:
        """Print, draw and log: what cannot be written loses nothing that was measured."""
        from srnas.leaderboard.show.profile_figure import profile_figures
        from srnas.nas.workspace.profiles import log_profiles
        from srnas.nas.workspace.workspace import Workspace

        rows = [one.to_row() for one in self._profiles]
        roofline = next(iter(self._rooflines.values())) if len(self._rooflines) == 1 else None
        if as_json:
            print_json(rows)
        elif as_csv:
            print_csv(rows)
        else:
            _print(self._profiles)
        place = Workspace(workspace)
        paths = log_profiles(title, self._profiles, profile_figures(self._profiles, roofline), place)
        if not (as_json or as_csv):
            _print_places(paths, place)


@contextmanager
def _showing() -> Iterator[_Show]:
    from rich.console import Console

    show = _Show(Console(stderr=True))
    with show.bars:
        yield show


def _print(profiles: "list[Profile]") -> None:
    from itertools import groupby

    from srnas.leaderboard.show.profile_table import latency_table, places_table, reconciliations, sizes_table

    console = output()
    console.print(sizes_table(profiles))
    for text in reconciliations(profiles):
        console.print(text, style="dim", highlight=False, markup=False)
    for _, same in groupby(profiles, key=lambda profile: profile.device.key):
        console.print(latency_table(list(same)))
    for profile in profiles:
        if profile.places:
            console.print(places_table(profile))
        if profile.max_abs_difference != 0:
            console.print(_difference(profile), markup=False)


def _print_places(figures: list[Path], workspace: "Workspace") -> None:
    console = output()
    for path in figures:
        console.print(f"figure  {path}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"MLflow  experiment sr/blocks in {workspace.shown_store}", soft_wrap=True, highlight=False, markup=False
    )


def _difference(profile: "Profile") -> str:
    if not math.isfinite(profile.max_abs_difference):
        return f"{profile.name}: its output is not finite on random images"
    return f"{profile.name}: largest difference to eager float32 {profile.max_abs_difference:.2g}"
