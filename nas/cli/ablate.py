"""``srnas explain ablate``: what the attention of each position gains in PSNR and costs in latency."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.explain import Data, Images, Name, Out, keep, load, results_folder
from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Device,
    Json,
    RawOfBenchmarks,
    Row,
    Threads,
    WorkspacePath,
    count_bar,
    output,
    parse_size,
    patient_protocol,
    print_json,
    takes_raw,
)
from srnas.nas.cli.sources import Checkpoint, PlainWeights, Scale, Study, Trial, print_notes

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from srnas.nas.explain.ablation import Ablation, AblationReport, Finetuning
    from srnas.nas.explain.ways import Way
    from srnas.search_space import Architecture

_BATCH, _PATCH, _RATE = 8, 24, 2e-4


def ablate(
    data: Data,
    name: Name = None,
    scale: Scale = None,
    checkpoint: Checkpoint = None,
    plain_weights: PlainWeights = False,
    trial: Trial = None,
    study: Study = None,
    images: Images = None,
    ways: Annotated[
        str,
        typer.Option(
            help="What replaces the attention, separated by commas: identity, mean, branch \\[default: all].",
            show_default=False,
        ),
    ] = "identity,mean,branch",
    cumulative: Annotated[
        bool,
        typer.Option("--cumulative/--no-cumulative", help="Also switch positions off cumulatively, from either end."),
    ] = True,
    pairs: Annotated[bool, typer.Option("--pairs", help="Also switch off every pair of positions.")] = False,
    finetune: Annotated[
        int | None, typer.Option(min=1, help="Also train each network with one position off, for this many steps.")
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Folder of photographs for --finetune \\[default: embedded].")
    ] = None,
    latency: Annotated[bool, typer.Option("--latency/--no-latency", help="Measure the latency that is saved.")] = True,
    size: Annotated[str, typer.Option(help="Low-resolution input to time, as WxH in pixels.")] = "96x96",
    max_time_s: Annotated[
        float, typer.Option("--max-time-s", min=0.0, help="Stop after this many seconds, once there are 12 rounds.")
    ] = 60.0,
    raw_colours: RawOfBenchmarks = None,
    device: Device = "auto",
    threads: Threads = 1,
    out: Out = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Switch off the attention of each position and score what is left: where does attention help?

    There are three ways. 'identity' passes the block's input on. 'mean' puts the mean response over the photographs in
    its place, a constant for each channel. 'branch' keeps the plain branch of a block that has one beside its attention
    (aab). PSNR is compared image by image, with 95 % intervals. The latency saved is measured against the whole network
    in the same rounds.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.explain.ablation import Scopes, Timing
        from srnas.nas.explain.ablation import ablate as run
        from srnas.nas.explain.ablation_figure import draw_ablation
        from srnas.nas.images.pairs import load_pairs
        from srnas.nas.workspace.named import input_shape
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import Target, cpu_threads, resolve_device, resolve_threads

        where, threads, place = resolve_device(device), resolve_threads(threads), Workspace(workspace)
        source = load(name, scale, checkpoint, plain_weights, trial, study, place)
        architecture = source.architecture
        raw = takes_raw(raw_colours, trial)
        found = load_pairs(data, architecture.scale, min_size=architecture.min_size, raw_colours=raw)
        given = (found.as_rgb() if trial is None else found).pairs[:images]
        target = Target(where, threads=threads)
        shape = input_shape(architecture, parse_size(size, "--size"))
        timing = Timing(shape, target, patient_protocol(target, max_time_s)) if latency else None
        scopes = Scopes(_ways(ways), cumulative, pairs)
        tuning = _finetuning(finetune, train, architecture, where) if finetune else None
        folder = results_folder(out, workspace, source)
    print_notes(said, found.notes)
    with cpu_threads(threads), count_bar(said) as bar:
        task = bar.add_task("ablating", total=None)
        report = run(
            source.network.to(where), given, where, scopes=scopes, timing=timing, finetuning=tuning,
            on_progress=lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total),
        )  # fmt: skip
    flags = list(report.latency.flags) if report.latency else []
    rows = [ablation_row(one) | {"timing_flags": flags} for one in report.ablations]
    caption = _caption(report, size, finetune)
    title = f"{source.label}, x{architecture.scale}: attention off, on {len(given)} images of '{found.name}'"
    draw_ablation(report, title, caption, folder / "ablation.png")
    print_places = keep(source, place, folder, "ablation", rows, [folder / "ablation.png"])
    if as_json:
        print_json(rows)
    else:
        output().print(_table(report, title, caption))
    print_places()


def _ways(text: str) -> "tuple[Way, ...]":
    from srnas.nas.explain.ways import WAYS
    from srnas.search_space import unknown_name

    named = [way.strip() for way in text.split(",")]
    for way in named:
        if way not in WAYS:
            raise unknown_name("way", way, WAYS)
    return tuple(way for way in WAYS if way in named)


def _finetuning(
    iterations: int, folder: Path | None, architecture: "Architecture", device: "torch.device"
) -> "Finetuning":
    from srnas.nas.explain.ablation import Finetuning
    from srnas.nas.images.pairs import make_pairs
    from srnas.nas.images.patches import PatchSampler
    from srnas.nas.images.photos import embedded_photos, load_set
    from srnas.nas.training.schedule import TrainingConfig

    scale, patch = architecture.scale, max(_PATCH, architecture.min_size)
    photos = load_set(folder, scale, "train") if folder else embedded_photos("train")
    photos = photos.at_least(patch * scale, f"a patch of {patch} at scale {scale}")
    config = TrainingConfig(iterations=iterations, patch=patch, batch=_BATCH, learning_rate=_RATE)
    return Finetuning(PatchSampler(make_pairs(photos, scale), scale, patch, device), config)


def ablation_row(one: "Ablation") -> Row:
    """Return an ablation as plain data."""
    change, saving, tuned = one.change, one.saving, one.tuned
    row: Row = {
        "places": [str(place) for place in one.places],
        "positions": [place.position for place in one.places],
        "scope": one.scope,
        "way": one.way,
        "psnr_y_db": one.psnr_y_db,
        "change_db": change and change.mean_db,
        "change_se_db": change and change.se_db,
        "change_low_db": change and change.low_db,
        "change_high_db": change and change.high_db,
        "saved_ms": saving and saving.ms,
        "saved_low_ms": saving and saving.low_ms,
        "saved_high_ms": saving and saving.high_ms,
        "db_per_ms": one.db_per_ms,
        "tuned_change_db": tuned and tuned.mean_db,
        "tuned_change_se_db": tuned and tuned.se_db,
    }
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _caption(report: "AblationReport", size: str, finetune: int | None) -> str:
    timed = report.latency
    whole = f"The whole network: {report.psnr_y_db:.3f} dB"
    whole += f", {timed.median_ms:.2f} ms at {size} (median)." if timed else "."
    text = f"{whole} Change of PSNR-Y, mean over images with s.e. (bars: 95 % interval); below 0 the attention helps."
    if timed:
        text += (
            " Saved: median over rounds of the whole's latency less this one's; dB/ms where its interval is above 0."
        )
        text += f" Timing was {', '.join(timed.flags)}." if timed.flags else ""
    if finetune:
        tuned = report.tuned_psnr_y_db
        said = f"{tuned:.3f} dB" if tuned is not None and math.isfinite(tuned) else "diverges"
        text += f" Tuned: the same after {finetune} steps, of the whole network too ({said})."
    return text


def _table(report: "AblationReport", title: str, caption: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left", highlight=False
    )
    tuned = report.tuned_psnr_y_db is not None
    for heading in ("off", "way"):
        table.add_column(heading, overflow="fold")
    columns = ["dB", "s.e.", *(["saved ms", "dB/ms"] if report.latency else []), *(["tuned dB"] if tuned else [])]
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for number, one in enumerate(report.ablations):
        if number and one.scope != report.ablations[number - 1].scope:
            table.add_section()
        table.add_row(one.label, one.way, *_cells(one, report.latency is not None, tuned))
    return table


def _cells(one: "Ablation", timed: bool, tuned: bool) -> list[str]:
    change, saving, rate = one.change, one.saving, one.db_per_ms
    cells = [f"{change.mean_db:+.3f}" if change else "diverges"]
    cells.append(f"{change.se_db:.3f}" if change and change.se_db is not None else "")
    if timed:
        cells += [f"{saving.ms:.2f}" if saving else "", f"{rate:+.3f}" if rate is not None else ""]
    if tuned:
        cells.append(f"{one.tuned.mean_db:+.3f}" if one.tuned else "")
    return cells
