"""``srnas pick``: the network to ship within a latency budget."""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Workspace

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.leaderboard import Board, Contender, Duel, Pick


def pick(
    latency_ms: Annotated[float, typer.Option(help="Budget: what the median latency must not exceed.")],
    confidence: Annotated[float, typer.Option(help="Least probability of meeting the budget.")] = 0.95,
    study: Annotated[str | None, typer.Option(help="Name of the study \\[default: the newest].")] = None,
    device: Annotated[
        str | None, typer.Option(help="Part of the name of a device profile; retimed studies count too.")
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Pick the network of the best PSNR that meets a latency budget.

    Latency is the median over the rounds of the measurement, and the probability of meeting the budget that of a
    bootstrap over them. PSNR is compared photograph by photograph.
    """
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("loading"):
        from srnas.nas.boards import load_pick

        board, found = load_pick(workspace, latency_ms, confidence, study, device)
    if as_json:
        plain = {
            "study": board.study.name,
            "device": str(board.study.device),
            "pick": _within(found.chosen, contender_row(found.chosen)),
            "runners_up": [_within(duel.rival, duel_row(duel)) for duel in found.runners_up],
            "human": _within(found.human.rival, duel_row(found.human)) if found.human else None,
        }
        typer.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    console = Console()
    console.print(_table(board, found, latency_ms, confidence))
    if found.human:
        rival = found.human.rival.trial
        name = f"{rival.design} (trial {rival.number}), the best human design within the budget"
        console.print(escape(f"Against {name}: {said_of(found.human)}"))
    elif found.chosen.trial.design:
        console.print(escape(f"It is a human design ({found.chosen.trial.design}): no searched network is better."))
    else:
        console.print("No human design meets the budget.")
    name, number = board.study.retimed_from or board.study.name, found.chosen.trial.number
    console.print(
        f"next    srnas train {found.chosen.trial.genotype.key} --iterations 100000 --workspace {workspace}\n"
        f"        srnas export {found.chosen.trial.genotype.key} --format onnx --workspace {workspace}\n"
        f"        srnas upscale PHOTO --trial {number} --study {name} --workspace {workspace}\n"
        f"        srnas evaluate --data FOLDER --trial {number} --study {name} --workspace {workspace}",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


def _table(board: "Board", found: "Pick", budget_ms: float, confidence: float) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    study = board.study
    table = Table(
        title=escape(
            f"Within {budget_ms:g} ms with probability {confidence:g}: study '{study.name}' on {study.device}"
        ),
        caption=(
            f"The first row is the pick. PSNR-Y in dB on '{escape(study.validation)}', mean over trainings; bicubic "
            f"{study.bicubic_psnr_y_db:.2f} dB. behind: what the pick is better by, with the standard error over "
            "photographs. ms: median latency and its 95 % interval. P: probability of meeting the budget."
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("trial", justify="right")
    table.add_column("architecture", overflow="fold", ratio=1)
    for head in ("PSNR-Y", "behind", "ms", "P"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row(*_cells(found.chosen, ""), style="bold")
    for duel in found.runners_up:
        error = "" if duel.se_db is None else f"±{duel.se_db:.2f}"
        table.add_row(*_cells(duel.rival, f"{duel.difference_db:.2f}{error}"))
    return table


def _cells(one: "Contender", behind: str) -> list[str]:
    from rich.markup import escape

    trial, latency = one.trial, one.trial.latency
    assert latency is not None
    # Lines are broken between positions.
    name = escape(str(trial.genotype).replace("|", "| ")) + (
        f"\n[dim]{escape(trial.design)}[/]" if trial.design else ""
    )
    timed = f"{latency.latency_ms:.2f}\n[dim]{latency.low_ms:.2f}-{latency.high_ms:.2f}[/]"
    return [str(trial.number), name, f"{one.psnr_y_db:.2f}", behind, timed, f"{one.within:.2f}"]


def _within(one: "Contender", row: dict[str, Any]) -> dict[str, Any]:
    return row | {"within_probability": one.within}


def said_of(duel: "Duel") -> str:
    """Return a paired difference in words."""
    images = len(duel.rival.by_image_db)
    error = "" if duel.se_db is None else f" ± {duel.se_db:.3f} (standard error over {images} photographs)"
    interval = "" if not math.isfinite(duel.low_db) else f", 95 % interval {duel.low_db:+.3f} to {duel.high_db:+.3f}"
    return f"{duel.difference_db:+.3f} dB{error}{interval}: {duel.verdict}."


def contender_row(one: "Contender") -> dict[str, Any]:
    """Return what is known of a network as plain data."""
    trial, latency, sizes, quality = one.trial, one.trial.latency, one.trial.sizes, one.trial.quality
    assert latency is not None
    assert quality is not None
    return {
        "trial": trial.number,
        "key": trial.genotype.key,
        "architecture": trial.architecture,
        "design": trial.design,
        "psnr_y_db": one.psnr_y_db,
        "ssim_y": quality.mean_ssim_y,
        "num_seeds": len(one.qualities),
        "latency_ms": latency.latency_ms,
        "latency_ms_low": latency.low_ms,
        "latency_ms_high": latency.high_ms,
        "latency_stable_ms": latency.stable_ms,
        "params_k": sizes.params / 1e3 if sizes else None,
        "macs_g": sizes.macs / 1e9 if sizes else None,
        "activations_m": sizes.activations / 1e6 if sizes else None,
        "peak_memory_mib": trial.peak_memory_mib,
    }


def duel_row(duel: "Duel") -> dict[str, Any]:
    """Return a network and what another is better by, as plain data."""
    finite = math.isfinite(duel.low_db)
    return contender_row(duel.rival) | {
        "difference_db": duel.difference_db,
        "difference_se_db": duel.se_db,
        "difference_db_low": duel.low_db if finite else None,
        "difference_db_high": duel.high_db if finite else None,
        "verdict": duel.verdict,
    }
