"""``srnas explain frequency``: whether the attention of each position follows fine detail or flat parts."""

from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.explain import Data, Images, Name, Out, keep, load, lr_images, results_folder
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

    from rich.table import Table

    from srnas.nas.explain.frequency import Response

_CAPTION = (
    "Correlation over pixels between a map of attention (mean over channels) and the strength of the high-pass "
    "filtered luma of the LR image: mean over images with its 95 % interval. Above 0 the attention follows fine "
    "detail, below 0 flat parts."
)


def frequency(
    data: Data,
    name: Name = None,
    crop: Annotated[
        int | None, typer.Option(min=16, help="Crop LR images to this many pixels around their centre.")
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
    """Correlate the attention of each position with high frequencies: which depth attends to fine detail?

    The high-pass filters are |Y - G*Y| with a Gaussian of 1.5 pixels, and a Laplacian of 3x3. Weights without pixels,
    such as those of channels, have no response.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.explain.frequency import frequency_response
        from srnas.nas.explain.frequency_figure import draw_response
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import cpu_threads, resolve_device, resolve_threads
        from srnas.search_space import InputError

        where, threads, place = resolve_device(device), resolve_threads(threads), Workspace(workspace)
        source = load(name, scale, checkpoint, plain_weights, trial, study, place)
        folder = results_folder(out, workspace, source)
    architecture = source.architecture
    what, given = lr_images(data, architecture.scale, max(16, architecture.min_size), crop, images, said)
    with cpu_threads(threads), count_bar(said) as bar:
        task = bar.add_task("reading attention", total=len(given))
        found = frequency_response(source.network.to(where), given, where, lambda: bar.update(task, advance=1))
    if not found:
        raise InputError(f"some attention must have a map of pixels, but none of {architecture} has one that varies.")
    title = f"{source.label}, x{architecture.scale}: attention and high frequencies, {what}"
    draw_response(found, title, _CAPTION, folder / "frequency.png")
    rows = [response_row(one) for one in found]
    print_places = keep(source, place, folder, "frequency", rows, [folder / "frequency.png"])
    if as_json:
        print_json(rows)
    else:
        output().print(_table(found, title))
    print_places()


def response_row(one: "Response") -> Row:
    """Return a response as plain data; one image has no interval."""
    bounds = (one.low, one.high) if one.images > 1 else (None, None)
    return {
        "position": one.place.position,
        "block": one.place.block,
        "weights": one.name,
        "filter": one.filter,
        "correlation": one.correlation,
        "low": bounds[0],
        "high": bounds[1],
        "images": one.images,
    }


def _table(found: "Sequence[Response]", title: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), caption=_CAPTION, title_justify="left", caption_justify="left", highlight=False)
    for heading in ("attention", "weights", "filter"):
        table.add_column(heading, overflow="fold")
    for heading in ("correlation", "low", "high"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        bounds = (f"{one.low:+.3f}", f"{one.high:+.3f}") if one.images > 1 else ("", "")
        table.add_row(str(one.place), one.name, one.filter, f"{one.correlation:+.3f}", *bounds)
    return table
