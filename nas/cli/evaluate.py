"""``srnas evaluate``: PSNR and SSIM of a trained network on photographs."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    takes_raw,
)
from srnas.nas.cli.sources import Checkpoint, NetworkName, PlainWeights, Scale, Study, Trial, print_notes

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.nas.images.assessment import ImageScores, OnImage
    from srnas.nas.images.pairs import PairSet
    from srnas.nas.workspace.sources import Source
    from srnas.profiling import Target
    from srnas.profiling.runtimes import Run

_SHEET = ".sheet.png"


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of photographs, or of a folder HR with LR images beside it.")],
    network: NetworkName = None,
    scale: Scale = None,
    checkpoint: Checkpoint = None,
    plain_weights: PlainWeights = False,
    trial: Trial = None,
    study: Study = None,
    hr: Annotated[Path | None, typer.Option(help="Folder of the photographs, if names in --data do not tell.")] = None,
    lr: Annotated[
        Path | None, typer.Option(help="Folder of the LR images \\[default: those beside HR, or reduced photographs].")
    ] = None,
    raw_colours: RawOfBenchmarks = None,
    save: Annotated[
        Path | None, typer.Option(help="Write outputs and comparison sheets, as PNG, to this folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    device: Device = "auto",
    runtime: Annotated[
        str,
        typer.Option(help="Runtime to run in: eager, compile, cudagraph, onnxruntime, openvino, ncnn or executorch."),
    ] = "eager",
    dtype: Annotated[str, typer.Option(help="Data type to run in: float32, bfloat16, float16 or int8.")] = "float32",
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photographs whose patches calibrate int8 \\[default: embedded].")
    ] = None,
    threads: Threads = 1,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Score a trained network on photographs, beside bicubic upscaling.

    The layouts of DIV2K and of the usual benchmark folders are known (docs/data.md). Where there are no LR images, the
    photographs are reduced with bicubic imresize.

    Gray photographs are judged as RGB and colour profiles are ignored, as publications do. For a --trial gray ones are
    judged as gray and profiles are converted, as its study does.

    With --runtime or --dtype the network runs as it is shipped; int8 is calibrated on 64 patches, as a search does.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.images.assessment import assess
        from srnas.nas.images.pairs import load_pairs
        from srnas.nas.workspace.sources import SourceRequest, load_source
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import Target, cpu_threads, resolve_device, resolve_threads
        from srnas.profiling.runtimes import check_any_size

        where, threads = resolve_device(device), resolve_threads(threads)
        target = Target(where, runtime, dtype, threads=threads)
        check_any_size(target)
        request = SourceRequest(network, checkpoint, scale, trial, study, plain_weights)
        source = load_source(Workspace(workspace), request)
        architecture = source.architecture
        least = architecture.min_size
        raw = takes_raw(raw_colours, trial)
        pairs = load_pairs(data, architecture.scale, hr=hr, lr=lr, min_size=least, raw_colours=raw)
        pairs = pairs.as_rgb() if trial is None else pairs.noting_gray()
        outputs = _outputs(save, pairs, overwrite) if save else {}
        run, how = _runner(source, target, calibration)
    print_notes(said, [*pairs.notes, *([how] if run else [])])
    with cpu_threads(threads), count_bar(said) as bar:
        task = bar.add_task("evaluating", total=len(pairs.pairs))
        on_image = _on_image(source, outputs, lambda: bar.update(task, advance=1))
        scores = assess(source.network.to(where), pairs.pairs, where, on_image, run=run)
    if as_json:
        plain = _plain(source, pairs, scores) | {"runtime": runtime, "dtype": dtype}
        typer.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    output().print(_table(source, pairs, scores, how))
    if save:
        output().print(f"sheets  {save}", soft_wrap=True, highlight=False, markup=False)


def _runner(source: "Source", target: "Target", calibration: Path | None) -> "tuple[Run | None, str]":
    """Return what runs the network on a target, and how in words; nothing of both where it is torch in float32."""
    import torch

    from srnas.nas.ship.calibration import calibrate, calibration_side, check_calibration
    from srnas.profiling.runtimes import prepare_any, runtime_version

    check_calibration(calibration, target.dtype)
    if (target.runtime, target.dtype) == ("eager", "float32"):
        return None, ""
    how = f"{target.dtype} with {runtime_version(target.runtime) or target.runtime}"
    if target.dtype == "int8":
        calibrated = calibrate(source, calibration)
        return prepare_any(source.network, calibrated.inputs, target), f"{how}, {calibrated}"
    side = calibration_side(source)
    return prepare_any(source.network, torch.zeros(1, 3, side, side), target), how


def _outputs(folder: Path, pairs: "PairSet", overwrite: bool) -> dict[str, Path]:
    """Return where the output of each photograph goes, once it is sure that it can."""
    from srnas.nas.files import check_folder, check_new, output_names

    names = output_names([pair.name for pair in pairs.pairs], (".png", _SHEET))
    outputs = {image: folder / name for image, name in names.items()}
    check_folder(folder, pairs.folders)
    if not overwrite:
        check_new([path.with_suffix(suffix) for path in outputs.values() for suffix in (".png", _SHEET)])
    return outputs


def _on_image(source: "Source", outputs: dict[str, Path], on_done: Callable[[], None]) -> "OnImage":
    from PIL import Image

    from srnas.nas.files import save_png
    from srnas.nas.images.metrics import Image as Pixels
    from srnas.nas.images.pairs import Pair
    from srnas.nas.images.sheet import draw_sheet

    def write(pair: Pair, sr: Pixels, scores: "ImageScores") -> None:
        path = outputs.get(pair.name)
        if path is not None:
            save_png(Image.fromarray(sr), path)
            sheet = draw_sheet(pair, sr, source.architecture.scale, source.label, scores)
            save_png(sheet, path.with_suffix(_SHEET))
        on_done()

    return write


def _plain(source: "Source", pairs: "PairSet", scores: "list[ImageScores]") -> Row:
    from srnas.nas.images.assessment import mean_scores

    return {
        "network": source.label,
        "architecture": source.architecture.to_dict(),
        "architecture_key": source.architecture.key,
        "checkpoint": str(source.checkpoint),
        "scale": source.architecture.scale,
        "data": pairs.name,
        "lr": pairs.lr,
        "images": [{"image": one.image, **_numbers(one)} for one in scores],
        "mean": _numbers(mean_scores(scores)),
        "left_out": [one.image for one in scores if not one.counts],
    }


def _numbers(scores: "ImageScores") -> Row:
    numbers = {
        "psnr_y_db": _finite(scores.psnr_y_db),
        "ssim_y": scores.ssim_y,
        "bicubic_psnr_y_db": _finite(scores.bicubic_psnr_y_db),
        "bicubic_ssim_y": scores.bicubic_ssim_y,
        "gain_db": _finite(scores.gain_db),
    }
    return numbers | ({"kept_fraction": scores.kept_fraction} if scores.kept_fraction else {})


def _finite(value: float) -> float | None:
    """PSNR of equal images is infinite, which JSON does not know."""
    return value if math.isfinite(value) else None


def _table(source: "Source", pairs: "PairSet", scores: "list[ImageScores]", how: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from srnas.nas.images.assessment import mean_scores

    scale, mean = source.architecture.scale, mean_scores(scores)
    reduced = "bicubic imresize" if pairs.lr == "imresize" else f"'{pairs.lr}'"
    kept = ", ".join(f"{position} {share:.3f}" for position, share in mean.kept_fraction.items())
    caption = f"PSNR in dB and SSIM of Y, {scale} pixels shaved; LR images: {reduced}; gain over bicubic upscaling." + (
        f" Hard attention keeps of the pixels: {kept}." if kept else ""
    )
    if not all(one.counts for one in scores):
        caption += " The mean leaves out flat photographs and those of an infinite PSNR."
    caption += f" The network ran in {how}." if how else ""
    table = Table(
        title=escape(f"{source.label}, x{scale}, on '{pairs.name}'"),
        caption=escape(caption),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("image", overflow="fold")
    for heading in ("PSNR-Y", "bicubic", "gain", "SSIM-Y", "of bicubic"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in scores:
        table.add_row(escape(one.image), *_cells(one))
    table.add_section()
    counting = [one for one in scores if one.counts] or scores
    table.add_row(f"mean of {len(counting)}", *_cells(mean), style="bold")
    return table


def _cells(scores: "ImageScores") -> tuple[str, ...]:
    return (
        f"{scores.psnr_y_db:.3f}",
        f"{scores.bicubic_psnr_y_db:.3f}",
        f"{scores.gain_db:+.3f}",
        f"{scores.ssim_y:.4f}",
        f"{scores.bicubic_ssim_y:.4f}",
    )
