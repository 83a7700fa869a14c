"""``srnas explain``: where attention helps; and what its commands share."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import Row
from srnas.nas.cli.sources import print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from srnas.nas.images.metrics import Image
    from srnas.nas.workspace.sources import Source
    from srnas.nas.workspace.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    help="Explain where the attention of a network helps, what it looks at, and how far a network sees.",
)

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NETWORK",
        help="Key of an architecture in the workspace, published network, or JSON file; or use --trial.",
    ),
]
Data = Annotated[Path, typer.Option(help="Folder of photographs, or of a folder HR with LR images beside it.")]
Images = Annotated[
    int | None, typer.Option("--images", min=1, help="Number of photographs to use, in the order of their names.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for figures \\[default: 'explained' in the workspace].")
]


def load(
    name: str | None,
    scale: int | None,
    checkpoint: Path | None,
    plain_weights: bool,
    trial: int | None,
    study: str | None,
    workspace: "Workspace",
) -> "Source":
    """Return the trained network that a user names.

    Raises:
        InputError: If it does not exist.
    """
    from srnas.nas.workspace.sources import KEY, SourceRequest, load_key, load_source
    from srnas.search_space import InputError
    from srnas.search_space.published import PUBLISHED

    if (name is None) == (trial is None):
        given = "neither" if name is None else "both"
        raise InputError(f"a network or --trial must be given, but got {given}.")
    if name is not None and name not in PUBLISHED and KEY.fullmatch(name) and checkpoint is None:
        return load_key(workspace, name)
    if name is not None and checkpoint is None:
        raise InputError(f"'{name}' must come with --checkpoint, the file of its weights, or be a key.")
    return load_source(workspace, SourceRequest(name, checkpoint, scale, trial, study, plain_weights))


def results_folder(out: Path | None, workspace: Path, source: "Source") -> Path:
    """Return the folder of the figures of a network, made before anything is computed for it.

    Raises:
        InputError: If it cannot be written.
    """
    from srnas.nas.files import check_folder

    made = source.final.record if source.final else source.judged and source.judged.trial
    weights = made.protocol if made else source.checkpoint.stem
    folder = out or workspace / "explained" / f"{source.architecture.key}-{weights}"
    check_folder(folder, ())
    return folder


def keep(
    source: "Source", workspace: "Workspace", folder: Path, name: str, rows: Sequence[Row], figures: Sequence[Path]
) -> Callable[[], None]:
    """Write rows as JSON beside their figures, and both to MLflow if a trial of the workspace trained the network.

    Returns:
        What prints where they are.
    """
    from srnas.leaderboard.store.answering import StoreLostError, answering
    from srnas.leaderboard.store.reading import EXPLAINED
    from srnas.nas.files import writing

    table = folder / f"{name}.json"
    with writing(table) as aside:
        aside.write_text(json.dumps(list(rows), indent=2, allow_nan=False), encoding="utf-8")
    files = (table, *figures)
    said = [f"file    {path}" for path in files]
    if source.judged is not None and workspace.has_store:
        trial = source.judged.trial
        try:
            with answering():
                workspace.store.add_files(source.judged.study, {trial.number: {EXPLAINED: files}}, replacing=True)
            said.append(f"MLflow  {source.judged.label}, folder '{EXPLAINED}'")
        except StoreLostError as error:
            said.append(f"MLflow does not answer ({error}); run the same command again when it does")
    return lambda: typer.echo("\n".join(said), err=True)


def lr_images(
    data: Path, scale: int, min_size: int, crop: int | None, images: int | None, said: "Console"
) -> "tuple[str, list[Image]]":
    """Return what a data set is called, and its LR images, cut if that is asked for.

    Raises:
        InputError: If it cannot be read, or the crop is too small for the network.
    """
    from srnas.nas.explain.maps import centre_crop
    from srnas.nas.images.pairs import load_pairs
    from srnas.search_space import InputError

    if crop is not None and crop < min_size:
        raise InputError(f"--crop must be at least {min_size} for this network, but got {crop}.")
    with said.status("reading photographs"):
        found = load_pairs(data, scale, min_size=min_size)
    print_notes(said, found.notes)
    cut = [pair.lr if crop is None else centre_crop(pair.lr, crop) for pair in found.pairs[:images]]
    middle = f", crops of at most {crop}x{crop} around the centre" if crop else ""
    return f"{len(cut)} LR images of '{found.name}'{middle}", cut
