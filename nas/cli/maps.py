"""``srnas explain maps``: by what the attention of each position weighs a photograph, or a data set."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.explain import Images, Name, Out, keep, load, lr_images, results_folder
from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Device,
    Json,
    Row,
    Threads,
    WorkspacePath,
    count_bar,
    output,
    print_json,
)
from srnas.nas.cli.sources import Checkpoint, PlainWeights, Scale, Study, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from rich.table import Table

    from srnas.nas.explain.maps import MeanWeight
    from srnas.search_space import Network


def maps(
    name: Name = None,
    photo: Annotated[Path | None, typer.Option(help="Low-resolution photograph to draw maps of.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of photographs to average over, instead of --photo.")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=1, help="Crop LR images to this many pixels around their centre.")
    ] = None,
    pixel: Annotated[
        str | None, typer.Option(help="Pixel X,Y to draw the weights of a non-local block for \\[default: the middle].")
    ] = None,
    scale: Scale = None,
    checkpoint: Checkpoint = None,
    plain_weights: PlainWeights = False,
    trial: Trial = None,
    study: Study = None,
    images: Images = None,
    device: Device = "auto",
    threads: Threads = 1,
    out: Out = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Show what the attention of each position weighs by, as maps of a photograph or as means over a data set.

    For a photograph, a sheet (PNG) and one HTML file are drawn. For a data set, there is one row per position and kind
    of weights, such as A2N's weight of the attention branch and its gate, or LIA's gate and importance.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.explain.maps import mean_weights, weight_row
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import cpu_threads, resolve_device, resolve_threads
        from srnas.search_space import InputError

        if (photo is None) == (data is None):
            given = "neither" if photo is None else "both"
            raise InputError(f"one of --photo and --data must be given, but got {given}.")
        beside = ("--photo", "--images", images) if photo else ("--data", "--pixel", pixel)
        if beside[2] is not None:
            raise InputError(f"{beside[0]} takes no {beside[1]}, but got {beside[1]} {beside[2]}; leave it out.")
        where, threads, place = resolve_device(device), resolve_threads(threads), Workspace(workspace)
        source = load(name, scale, checkpoint, plain_weights, trial, study, place)
    network, folder = source.network.to(where), results_folder(out, workspace, source)
    if data is not None:
        title, found = lr_images(data, source.architecture.scale, source.architecture.min_size, crop, images, said)
        with cpu_threads(threads), count_bar(said) as bar:
            task = bar.add_task("reading attention", total=len(found))
            means = mean_weights(network, found, where, lambda: bar.update(task, advance=1))
        rows = [weight_row(one) for one in means]
        print_places = keep(source, place, folder, "weights", rows, [])
    else:
        assert photo is not None
        with cpu_threads(threads), said.status("drawing"):
            title = f"{source.label}, x{source.architecture.scale}: attention on '{photo.name}'"
            rows, figures = _draw(network, photo, crop, pixel, where, folder, title)
        print_places = keep(source, place, folder, "maps", rows, figures)
    if as_json:
        print_json(rows)
    elif data is not None:
        output().print(_table(means, f"{source.label}, x{source.architecture.scale}: weights of attention on {title}"))
    print_places()


def _draw(
    network: "Network",
    photo: Path,
    crop: int | None,
    pixel: str | None,
    device: "torch.device",
    folder: Path,
    title: str,
) -> tuple[list[Row], list[Path]]:
    from srnas.nas.explain.maps import attention_maps, centre_crop
    from srnas.nas.explain.maps_sheet import draw_strips, write_html, write_sheet
    from srnas.nas.images.photos import load_photo

    lr = load_photo(photo, photo.parent).pixels
    lr = lr if crop is None else centre_crop(lr, crop)
    found = attention_maps(network, lr, device, _pixel(pixel))
    strips = draw_strips(found, lr)
    figures = [folder / "maps.png", folder / "maps.html"]
    write_sheet(strips, title, figures[0])
    write_html(strips, found, title, figures[1])
    rows = [
        {"position": one.place.position, "block": one.place.block, "weights": name, "mean": w.mean, "std": w.std}
        for one in found
        for name, w in one.weights.items()
    ]
    return rows, figures


def _pixel(text: str | None) -> tuple[int, int] | None:
    """Return row and column of ``X,Y``."""
    from srnas.search_space import InputError

    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"--pixel must be X,Y in pixels of the LR image, but got '{text}'; give 40,30, for example.")
    x, y = map(int, parts)
    return y, x


def _table(means: "Sequence[MeanWeight]", title: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    caption = (
        "Mean over images of the mean over channels and pixels, with its 95 % interval over images; least and greatest "
        "image; sd: over channels and pixels."
    )
    table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left", highlight=False)
    for heading in ("attention", "weights"):
        table.add_column(heading, overflow="fold")
    for heading in ("mean", "low", "high", "least", "greatest", "sd"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in means:
        numbers = (one.mean, one.low, one.high, one.least, one.greatest, one.spread)
        table.add_row(str(one.place), one.name, *(f"{v:.3f}" if math.isfinite(v) else "" for v in numbers))
    return table
