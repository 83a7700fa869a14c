"""``srnas explain reach``: on which pixels the output in a region depends, for several networks on one sheet."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.explain import Out, keep, load, results_folder
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
from srnas.nas.cli.sources import PlainWeights, Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID
    from rich.table import Table

    from srnas.nas.explain.reach import Attribution, Region
    from srnas.nas.workspace.sources import Source
    from srnas.nas.workspace.workspace import Workspace

_SIDE = 16


def reach(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NETWORK...", help="Keys of architectures, published networks, or JSON files."),
    ],
    photo: Annotated[Path, typer.Option(help="Low-resolution photograph.")],
    region: Annotated[
        str | None, typer.Option(help="Region X,Y,SIDE in pixels \\[default: the 16x16 with most contrast].")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=16, help="Crop the photograph to this many pixels around its centre.")
    ] = None,
    scale: Scale = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="Weights of each network that is not a key, in their order; repeat it."),
    ] = None,
    plain_weights: PlainWeights = False,
    device: Device = "auto",
    threads: Threads = 1,
    out: Out = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Draw local attribution maps (Gu and Dong, CVPR 2021): which pixels does the output in a region depend on?

    The gradients of a gradient detector are integrated along a path of decreasing blur, until their sum is within 1 %
    of its difference. DI is the diffusion index. The area is the smallest number of pixels that hold 95 % of the
    attribution. The field is the radius that holds 95 % of the gradient of the region's central output pixel.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.explain.maps import centre_crop
        from srnas.nas.explain.reach import attribute, most_detailed
        from srnas.nas.explain.reach_sheet import draw_reach
        from srnas.nas.images.photos import load_photo
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import cpu_threads, resolve_device, resolve_threads

        where, threads, place = resolve_device(device), resolve_threads(threads), Workspace(workspace)
        sources = _load(names, checkpoints or [], scale, plain_weights, place)
        folder = results_folder(out, workspace, sources[0])
        lr = load_photo(photo, photo.parent).pixels
        lr = lr if crop is None else centre_crop(lr, crop)
        square = most_detailed(lr, min(_SIDE, *lr.shape[:2])) if region is None else _region(region)
    found = []
    with cpu_threads(threads), count_bar(said) as bar:
        for source in sources:
            task = bar.add_task(source.label, total=None)
            network = source.network.to(where)
            advance = partial(_advance, bar, task)
            one = attribute(network, lr, square, source.architecture.scale, where, advance)
            found.append((source, one))
    title = f"Local attribution of {square.side}x{square.side} pixels at {square.left},{square.top} of '{photo.name}'"
    named = [(f"{source.label} x{source.architecture.scale}", one) for source, one in found]
    draw_reach(named, lr, title, folder / "reach.png")
    rows = [_row(source, one) for source, one in found]
    print_places = keep(sources[0], place, folder, "reach", rows, [folder / "reach.png"])
    if as_json:
        print_json(rows)
    else:
        output().print(_table(found, title))
    print_places()


def _advance(bar: "Progress", task: "TaskID", done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _load(
    names: list[str], checkpoints: list[Path], scale: int | None, plain_weights: bool, workspace: "Workspace"
) -> "list[Source]":
    from srnas.nas.workspace.sources import KEY
    from srnas.search_space import InputError

    given = [name for name in names if not KEY.fullmatch(name)]
    if len(given) != len(checkpoints):
        raise InputError(
            f"every network that is no key must have its --checkpoint, but {len(given)} networks got "
            f"{len(checkpoints)}; give them in the order of the networks."
        )
    files = iter(checkpoints)
    return [
        load(name, scale, None if KEY.fullmatch(name) else next(files), plain_weights, None, None, workspace)
        for name in names
    ]


def _region(text: str) -> "Region":
    from srnas.nas.explain.reach import Region
    from srnas.search_space import InputError

    try:
        left, top, side = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--region must be X,Y,SIDE in pixels of the LR image, but got '{text}'.") from None
    return Region(left, top, side)


def _row(source: "Source", one: "Attribution") -> Row:
    return {
        "network": source.label,
        "scale": source.architecture.scale,
        "region": list(one.region),
        "diffusion_index": one.diffusion_index,
        "area_pixels": one.area,
        "pixels": int(one.map.size),
        "field_radius_pixels": one.field_radius,
        "incompleteness": one.incompleteness,
        "steps": one.steps,
    }


def _table(found: "Sequence[tuple[Source, Attribution]]", title: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    caption = (
        "DI: diffusion index, 100 where all pixels contribute equally. Area: fewest pixels that hold 95 % of the "
        "attribution. Field: radius in LR pixels that holds 95 % of the gradient of the region's central output pixel. "
        "Missed: share of the detector's difference that the attributions do not sum to."
    )
    table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left", highlight=False)
    table.add_column("network", overflow="fold")
    for heading in ("DI", "area px", "of all", "field px", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for source, one in found:
        table.add_row(
            f"{escape(source.label)} x{source.architecture.scale}",
            f"{one.diffusion_index:.2f}",
            str(one.area),
            f"{one.area / one.map.size:.1%}",
            f"{one.field_radius:.1f}",
            f"{one.incompleteness:.2%}",
        )
    return table
