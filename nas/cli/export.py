"""``srnas export``: a trained network as a file to ship."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, WorkspacePath, parse_size
from srnas.nas.cli.sources import Checkpoint, NetworkName, PlainWeights, Scale, Study, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from srnas.nas.ship.calibration import Calibration
    from srnas.nas.ship.export import Check
    from srnas.nas.workspace.sources import Source
    from srnas.nas.workspace.workspace import Workspace


def export(
    key: Annotated[
        str | None, typer.Argument(help="Key of a trained architecture \\[default: the network that the options name].")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="Format: onnx, torchscript, pt2, safetensors, ncnn or executorch.")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="File to write \\[default: KEY with the suffix of the format].")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Data type: float32, float16, or with onnx and executorch int8.")
    ] = "float32",
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photographs whose patches calibrate int8 \\[default: embedded].")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Fix the size of the input, as WxH in pixels \\[default: any size].")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, to write into the model card.")] = "",
    register: Annotated[
        str | None, typer.Option(help="Also add a version of this name to MLflow's model registry (onnx, any size).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    network: NetworkName = None,
    scale: Scale = None,
    checkpoint: Checkpoint = None,
    plain_weights: PlainWeights = False,
    trial: Trial = None,
    study: Study = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Write a trained network as a file, with a model card beside it.

    The weights of a KEY are those of the last 'srnas train', unless a trial of the search scored better on the same
    photographs. Without such a training they are those of its newest trial. The file is run on three inputs and
    compared with eager; a file that differs by more than 1e-3 in float32 is not kept.
    """
    from rich.console import Console

    with Console(stderr=True).status("exporting"):
        from srnas.nas.files import check_new, writing
        from srnas.nas.ship.calibration import calibrate, check_calibration
        from srnas.nas.ship.export import export as run
        from srnas.nas.ship.export import files_of, suffix_of
        from srnas.nas.workspace.sources import SourceRequest, load_key, load_source
        from srnas.nas.workspace.workspace import Workspace
        from srnas.search_space import InputError

        place = Workspace(workspace)
        check_calibration(calibration, dtype)
        if key is not None:
            if {network, scale, checkpoint, trial, study} != {None} or plain_weights:
                raise InputError(
                    f"a KEY already names a network and its weights, but got '{key}' and options that name them; give "
                    "only one of them."
                )
            source = load_key(place, key)
        else:
            request = SourceRequest(network, checkpoint, scale, trial, study, plain_weights)
            source = load_source(place, request)
        if register is not None and (form, dtype, size) != ("onnx", "float32", None):
            raise InputError(
                f"--register needs --format onnx, float32 and any size, but got {form}, {dtype} and "
                f"{size or 'any size'}; export those without it."
            )
        path = out or Path(f"{source.architecture.key}{suffix_of(form)}")
        card = path.with_name(f"{path.name}.md")
        if not overwrite:
            check_new([*files_of(path, form), card])
        only = parse_size(size, "--size") if size else None
        calibrated = calibrate(source, calibration, only) if dtype == "int8" else None
        checks = run(source, path, form, dtype, only, calibrated)
        with writing(card) as aside:
            aside.write_text(_card(source, form, dtype, checks, licence, place, calibrated, only), encoding="utf-8")
        version = _register(source, register, path, card, place) if register is not None else None
    for check in checks:
        shown = f"{check.size[1]}x{check.size[0]}"
        typer.echo(f"input {shown:>9}  largest difference to eager float32 {check.max_abs_difference:.2g}")
    if calibrated is not None:
        typer.echo(f"int8    {calibrated}")
    typer.echo(f"weights {source.checkpoint}\nfile    {', '.join(map(str, files_of(path, form)))}\ncard    {card}")
    if version is not None:
        typer.echo(f"model   models:/{register}/{version}")


def _register(source: "Source", name: str, path: Path, card: Path, workspace: "Workspace") -> int:
    from srnas.leaderboard.store.answering import StoreLostError, answering
    from srnas.leaderboard.store.registry import register, training_run
    from srnas.profiling.runtimes.files import read_model
    from srnas.search_space import InputError

    try:
        with answering():
            store, text = workspace.store, card.read_text(encoding="utf-8")
            trial = source.judged.trial if source.judged else None
            run_id = training_run(store, source.final.record if source.final else None, trial)
            return register(store, name, read_model(path), source.architecture, text, run_id)
    except StoreLostError as error:
        raise InputError(f"MLflow must take model '{name}', but {error}; the file '{path}' is kept.") from None


def _card(
    source: "Source",
    form: str,
    dtype: str,
    checks: "Sequence[Check]",
    licence: str,
    workspace: "Workspace",
    calibration: "Calibration | None",
    size: tuple[int, int] | None,
) -> str:
    from srnas.nas.ship.card import model_card

    timed = workspace.store.trained(source.architecture.key) if source.judged else ()
    return model_card(source, form, dtype, checks, licence, timed, calibration, size)
