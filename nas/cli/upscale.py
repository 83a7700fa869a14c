"""``srnas upscale``: larger photographs from a trained network."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Device, RawColours, Threads, WorkspacePath, count_bar, output
from srnas.nas.cli.sources import Checkpoint, NetworkName, PlainWeights, Scale, Study, Trial, print_notes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from srnas.nas.images.upscaling import Upscaler


def upscale(
    given: Annotated[Path, typer.Argument(metavar="IN", help="A photograph, or a folder of photographs.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="PNG file or folder to write \\[default: IN_x4.png or IN_x4].")
    ] = None,
    network: NetworkName = None,
    scale: Scale = None,
    checkpoint: Checkpoint = None,
    plain_weights: PlainWeights = False,
    trial: Trial = None,
    study: Study = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the tiles in low-resolution pixels \\[default: tiles only where they are exact]."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    raw_colours: RawColours = False,
    device: Device = "auto",
    threads: Threads = 1,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Upscale a photograph, or every photograph of a folder, to 8-bit RGB PNG.

    Large images are cut into overlapping tiles where that does not change the result. Colours are converted to sRGB,
    and the written files are marked as sRGB.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.files import check_folder
        from srnas.nas.images.upscaling import Upscaler
        from srnas.nas.workspace.sources import SourceRequest, load_source
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import cpu_threads, resolve_device, resolve_threads

        where, threads = resolve_device(device), resolve_threads(threads)
        request = SourceRequest(network, checkpoint, scale, trial, study, plain_weights)
        source = load_source(Workspace(workspace), request)
        upscaler = Upscaler(source.network.to(where), where, tile)
        folder = given if given.is_dir() else given.parent
        outputs, found = _outputs(given, out, source.architecture.scale)
        notes = [*found, *_leave_existing(outputs, overwrite), *_survey(outputs, folder, upscaler, raw_colours)]
        for parent in {output.parent for output in outputs.values()}:
            check_folder(parent, [given] if given.is_dir() else [])
    print_notes(said, notes)
    with cpu_threads(threads):
        _run(outputs, folder, upscaler, raw_colours, said)


def _outputs(given: Path, out: Path | None, scale: int) -> tuple[dict[Path, Path], tuple[str, ...]]:
    """Return where the output of each photograph goes, and what is left out of a folder."""
    from srnas.nas.files import output_names
    from srnas.nas.images.listing import list_images
    from srnas.search_space import InputError

    if given.is_dir():
        found = list_images(given)
        out = out or given.absolute().with_name(f"{given.absolute().name}_x{scale}")
        names = output_names(found.names())
        return {p: out / names[name] for p, name in zip(found.paths, found.names(), strict=True)}, found.notes
    if not given.is_file():
        raise InputError(f"a photograph or a folder of photographs must exist, but got '{given}'.")
    name = f"{given.stem}_x{scale}.png"
    out = given.with_name(name) if out is None else out / name if out.is_dir() else out
    if out.suffix.lower() != ".png":
        raise InputError(f"OUT must end in .png, since PNG is what is written, but got '{out}'.")
    if out.resolve() == given.resolve():
        raise InputError(f"OUT must be another file than IN, but both are '{given}'.")
    return {given: out}, ()


def _leave_existing(outputs: dict[Path, Path], overwrite: bool) -> list[str]:
    """Take what exists out of ``outputs``, and return what there is to say about it."""
    from srnas.nas.errors import listed
    from srnas.nas.files import check_new

    existing = {path: output for path, output in outputs.items() if not overwrite and output.exists()}
    # Nothing would be left to do, which is an error rather than a note.
    if len(existing) == len(outputs):
        check_new(list(existing.values()))
    names = listed([str(output) for output in existing.values()])
    for path in existing:
        del outputs[path]
    return [f"skipped, since they exist: {names}; --overwrite replaces files"] if existing else []


def _survey(outputs: dict[Path, Path], folder: Path, upscaler: "Upscaler", raw_colours: bool) -> list[str]:
    """Decode every photograph once before any is upscaled, and return what there is to say."""
    from srnas.nas.errors import listed
    from srnas.nas.images.photos import survey
    from srnas.search_space import InputError

    sizes, notes = survey(list(outputs), folder, raw_colours=raw_colours)
    least = upscaler.min_size
    small = [f"'{p.name}' is {w}x{h}" for p, (h, w) in zip(outputs, sizes, strict=True) if min(h, w) < least]
    if small:
        raise InputError(
            f"photographs must be at least {least}x{least} pixels for this network's blocks, but {listed(small)}; "
            "remove them or use another network."
        )
    return [*notes, *upscaler.notes(sizes)]


def _run(outputs: dict[Path, Path], folder: Path, upscaler: "Upscaler", raw_colours: bool, said: "Console") -> None:
    from PIL import Image

    from srnas.nas.files import save_png
    from srnas.nas.images.colour import profile_of, srgb_profile
    from srnas.nas.images.photos import load_photo
    from srnas.nas.images.upscaling import inference_errors

    with count_bar(said) as bar:
        task = bar.add_task("upscaling", total=len(outputs))
        for done, (path, target) in enumerate(outputs.items()):
            lr = load_photo(path, folder, raw_colours=raw_colours).pixels
            with inference_errors(path.name, "give --tile 256, or a smaller one"):
                sr = upscaler.upscale(lr, partial(_show, bar, task, done))
            save_png(Image.fromarray(sr), target, profile_of(path) if raw_colours else srgb_profile())
            sizes = " -> ".join("x".join(map(str, image.shape[1::-1])) for image in (lr, sr))
            output().print(f"{target}  {sizes}", soft_wrap=True, highlight=False, markup=False)


def _show(bar: "Progress", task: "TaskID", done: int, share: float) -> None:
    bar.update(task, completed=done + share)
