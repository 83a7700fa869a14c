"""The model card of an exported network, in Markdown, with the fields that model hubs read at its top."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from srnas.nas.ship.calibration import Calibration
from srnas.nas.ship.export import Check
from srnas.nas.workspace.sources import Source


def model_card(
    source: Source,
    form: str,
    dtype: str,
    checks: Sequence[Check],
    licence: str,
    timed: Sequence[Mapping[str, Any]] = (),
    calibration: Calibration | None = None,
    size: tuple[int, int] | None = None,
) -> str:
    """Return the card of an exported network.

    Args:
        source: The network.
        form: Format of the file.
        dtype: Data type of weights and computation.
        checks: Comparisons of the file with eager float32.
        licence: Licence of the weights, as their author says; nothing is assumed.
        timed: Rows of :meth:`Store.trained`: its latency by device profile and input.
        calibration: What calibrated int8.
        size: Height and width of the input, where the file takes no other.
    """
    architecture, scale = source.architecture, source.architecture.scale
    head = {"library_name": "srnas", "tags": ["super-resolution", f"x{scale}"], "license": licence or "unknown"}
    lines = [
        "---",
        *(f"{name}: {json.dumps(value)}" for name, value in head.items()),
        "---",
        "",
        f"# {architecture.key}: super-resolution x{scale}",
        "",
        f"`{architecture}`",
        "",
        f"Format {form}, {dtype}{f', {calibration}' if calibration else ''}. Input: RGB in 0 to 1, 1 x 3 x H x W, "
        f"{f'H = {size[0]} and W = {size[1]}' if size else f'H and W at least {architecture.min_size}'}; "
        f"output: 1 x 3 x {scale}H x {scale}W, to be clamped to 0 to 1.",
        "",
        "## Training",
        "",
        _training(source),
        "",
        "## Quality",
        "",
        *_quality(source, dtype),
        "",
        "Against eager float32 on crops of photographs, values 0 to 1:",
        "",
        "| input | largest difference |",
        "| --- | ---: |",
        *(f"| {check.size[1]}x{check.size[0]} | {check.max_abs_difference:.2g} |" for check in checks),
        "",
        "## Latency",
        "",
        *_latency(timed),
        "",
        "## Licence",
        "",
        licence or "Not stated by whoever exported this file.",
        "",
    ]
    return "\n".join(lines)


def _training(source: Source) -> str:
    if source.final is not None:
        config = source.final.record.config
        weights = config.get("checkpoint")
        started = f" It started from weights whose SHA-256 begins with `{weights}`." if weights else ""
        return (
            f"{config['training.iterations']:,} iterations on `{config['data']}` in batches of "
            f"{config['training.batch']} patches of {config['training.patch']} LR pixels, {config['precision']}, seed "
            f"{config['training.seed']}; "
            f"the weights are the moving average after the last.{started}"
        )
    if source.judged is None:
        return f"Weights: `{source.checkpoint.name}`. Its training is not known here."
    study, trial = source.judged
    iterations, photographs = (study.config.get(name, "?") for name in ("training.iterations", "train"))
    return (
        f"Trial {trial.number} of study `{study.name}`: {iterations} iterations on `{photographs}` (a search's "
        "short schedule)."
    )


def _quality(source: Source, dtype: str) -> list[str]:
    rows = []
    if source.final is not None:
        for name, scores in source.final.quality.items():
            bicubic = source.final.record.bicubic[name]
            rows += [
                _row(
                    f"{name}, {len(scores.images) - len(scores.left_out)} photographs",
                    scores.mean_psnr_y_db,
                    scores.mean_ssim_y,
                ),
                _row("bicubic on the same", bicubic.mean_psnr_y_db, bicubic.mean_ssim_y),
            ]
    elif source.judged is not None and source.judged.trial.quality is not None:
        study, scores = source.judged.study, source.judged.trial.quality
        rows += [
            _row(
                f"{study.validation}, {len(scores.images) - len(scores.left_out)} photographs",
                scores.mean_psnr_y_db,
                scores.mean_ssim_y,
            ),
            _row("bicubic on the same", study.bicubic_psnr_y_db, study.bicubic_ssim_y),
        ]
    if not rows:
        return ["Not measured here: `srnas evaluate` does."]
    head = ["Of the trained network in float32:", "", "| | PSNR-Y dB | SSIM-Y |", "| --- | ---: | ---: |"]
    if dtype == "float32":
        return [*head, *rows]
    timed = _timed_psnr_y_db(source, dtype)
    if timed is not None:
        own, *beside = rows
        return [*head, own, f"| the same in {dtype}, as its study timed it | {timed:.3f} | |", *beside]
    unknown = f"In {dtype} it was not measured: `srnas evaluate --runtime RUNTIME --dtype {dtype}` does."
    return [*head, *rows, "", unknown]


def _timed_psnr_y_db(source: Source, dtype: str) -> float | None:
    """Return the PSNR-Y of a trial's network as its study timed it, if that was in this data type."""
    if source.final is not None or source.judged is None or source.judged.study.device.dtype != dtype:
        return None
    scores = source.judged.trial.timed_quality
    return scores.mean_psnr_y_db if scores else None


def _row(what: str, psnr_y_db: float, ssim_y: float) -> str:
    return f"| {what} | {psnr_y_db:.3f} | {ssim_y:.4f} |"


def _latency(timed: Sequence[Mapping[str, Any]]) -> list[str]:
    if not timed:
        return ["Not measured here: `srnas profile network` does."]
    return [
        "Batch 1, in milliseconds: fastest round, and median with its 95 % interval.",
        "",
        "| device profile | fastest | median | interval |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {row['profile']}, trial {row['trial']} of {row['study']} | {row['latency_fastest_ms']:.3f} | "
            f"{row['latency_median_ms']:.3f} | "
            f"{row['latency_median_low_ms']:.3f} to {row['latency_median_high_ms']:.3f} |"
            for row in timed
        ),
    ]
