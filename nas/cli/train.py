"""``srnas train``: a chosen architecture on the long schedule, to ship it."""

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Device, Json, RawColours, Row, Threads, WorkspacePath, output
from srnas.nas.cli.sources import Scale

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from srnas.nas.ship.final import Final
    from srnas.nas.ship.plan import FinalRequest
    from srnas.nas.training.team import Team
    from srnas.nas.workspace.workspace import Workspace


def train(
    network: Annotated[
        str,
        typer.Argument(
            metavar="KEY|NAME|FILE", help="Key of an architecture in the workspace, published network, or JSON file."
        ),
    ],
    iterations: Annotated[int, typer.Option(help="Number of training steps.")],
    data: Annotated[Path | None, typer.Option(help="Folder of training photographs \\[default: embedded].")] = None,
    every_image: Annotated[
        bool,
        typer.Option("--every-image", help="Use every image in --data as a photograph, whatever its folder is called."),
    ] = False,
    raw_colours: RawColours = False,
    val: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FOLDER",
            help="Photographs to validate on; repeat it for several sets \\[default: embedded].",
        ),
    ] = None,
    scale: Scale = None,
    batch: Annotated[int, typer.Option(help="Patches per training step, in all processes together.")] = 32,
    patch: Annotated[int, typer.Option(help="Training patch in low-resolution pixels.")] = 48,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak learning rate of AdamW; that of Muon follows from it \\[default: by --iterations]."),
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(help="Iterations between validations \\[default: a twentieth of --iterations].")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights to start from: a .safetensors file, or a file of torch.save.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of weights and patches.")] = 0,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision of training: float32, bfloat16, or auto (bfloat16 on CUDA).")
    ] = "auto",
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="Also write the architecture and weights to this folder.")] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Train a chosen architecture on the long schedule, to ship it.

    If it is stopped or killed, the same command continues. For several GPUs, run torchrun --nproc-per-node N
    --no-python srnas train KEY with the same options.
    """
    from rich.console import Console

    said = Console(stderr=True)
    with said.status("loading"):
        from srnas.nas.cli.progress import FinalProgress
        from srnas.nas.files import check_folder
        from srnas.nas.ship.final import train_final
        from srnas.nas.ship.plan import FinalRequest
        from srnas.nas.training.team import Team
        from srnas.nas.workspace.workspace import Workspace
    place = Workspace(workspace)
    request = FinalRequest(
        network=network,
        iterations=iterations,
        workspace=place,
        scale=scale,
        data=data,
        every_image=every_image,
        raw_colours=raw_colours,
        validation=tuple(val or ()),
        batch=batch,
        patch=patch,
        learning_rate=learning_rate,
        validate_every=validate_every,
        checkpoint=checkpoint,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
    )
    team = Team.of_environment()
    if out is not None:
        check_folder(out, [data] if data else [])
    try:
        if team.leads:
            with FinalProgress(said) as progress:
                final = train_final(request, progress, team)
        else:
            _follow(request, team)
            return
    except KeyboardInterrupt:
        _say_interrupted(said, team)
        raise
    assert final is not None
    if out is not None:
        final.folder.copy_to(out)
    if as_json:
        typer.echo(json.dumps(_plain(final), indent=2, allow_nan=False))
        return
    _report(output(), final, place)


def _follow(request: "FinalRequest", team: "Team") -> None:
    """Train in a process that does not lead; only the first one prints."""
    from srnas.nas.errors import LeaderFailedError
    from srnas.nas.judging.observer import Observer
    from srnas.nas.ship.final import train_final

    try:
        train_final(request, Observer(), team)
    except LeaderFailedError:
        raise typer.Exit(2) from None


def _say_interrupted(said: "Console", team: "Team") -> None:
    if team.leads:
        said.print("Interrupted. Run the same command again to continue from where the training was saved.")


def _plain(final: "Final") -> Row:
    record = final.result.record
    return {
        "architecture_key": record.architecture.key,
        "architecture": record.architecture.to_dict(),
        "protocol": record.protocol,
        **record.config,
        "sets": {
            name: {
                "images": len(scores.images),
                "psnr_y_db": scores.mean_psnr_y_db,
                "ssim_y": scores.mean_ssim_y,
                "bicubic_psnr_y_db": record.bicubic[name].mean_psnr_y_db,
                "bicubic_ssim_y": record.bicubic[name].mean_ssim_y,
            }
            for name, scores in final.result.quality.items()
        },
        "train_s": final.result.train_s,
        "trained_anew": final.anew,
        "architecture_file": str(final.folder.architecture),
        "weights_file": str(final.folder.weights),
    }


def _report(console: "Console", final: "Final", workspace: "Workspace") -> None:
    from srnas.nas.workspace.sources import find_search

    folder = final.folder
    console.print(_table(final))
    if not final.anew:
        console.print("It was trained before; nothing was run.")
    search = find_search(workspace, final.result.record)
    if search is not None and final.result.outdone_by(*search):
        console.print(
            f"Trial {search[1].number} of '{search[0].name}' scored better on the same photographs: "
            "'srnas export' takes its weights. Train longer.",
            style="yellow",
            markup=False,
        )
    files = f"--network {quote(str(folder.architecture))} --checkpoint {quote(str(folder.weights))}"
    place = f"--workspace {quote(str(workspace))}"
    for line in (
        f"weights  {folder.weights}",
        f"export   srnas export {final.result.record.architecture.key} {place}",
        f"judge    srnas evaluate {files} --data FOLDER",
        f"use      srnas upscale PHOTO {files}",
        f"MLflow   {workspace.shown_store}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if final.unwritten:
        console.print(
            f"MLflow did not answer ({final.unwritten}). Run the same command again when it does; that writes the "
            "outcome.",
            style="yellow",
            markup=False,
        )


def _table(final: "Final") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    record = final.result.record
    table = Table(
        title=(
            f"{record.architecture.key}, x{record.architecture.scale}, "
            f"{record.config['training.iterations']:,} iterations"
        ),
        caption="PSNR in dB and SSIM of Y of the moving average after the last iteration.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("set", overflow="fold")
    for heading in ("images", "PSNR-Y", "bicubic", "gain", "SSIM-Y", "of bicubic"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, scores in final.result.quality.items():
        bicubic = record.bicubic[name]
        table.add_row(
            escape(name),
            str(len(scores.images)),
            f"{scores.mean_psnr_y_db:.3f}",
            f"{bicubic.mean_psnr_y_db:.3f}",
            f"{scores.mean_psnr_y_db - bicubic.mean_psnr_y_db:+.3f}",
            f"{scores.mean_ssim_y:.4f}",
            f"{bicubic.mean_ssim_y:.4f}",
        )
    return table
