"""``srnas pick``: the network to ship within a latency budget."""

import json
import math
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Json, Row, WorkspacePath, output

if TYPE_CHECKING:
    from rich.table import Table

    from srnas.leaderboard.rank.board import Board
    from srnas.leaderboard.rank.picking import Contender, Duel, Pick


def pick(
    latency_ms: Annotated[float, typer.Option(help="Latency budget in milliseconds, for the fastest round.")],
    confidence: Annotated[
        float | None, typer.Option(help="Minimum probability of meeting the budget, P in the table \\[default: none].")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study \\[default: the newest].")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Use the study of this device profile, retimed ones included; a part of its name is enough."),
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Pick the network with the best PSNR that meets a latency budget, or a faster one that ties with it.

    The fastest round of the measurement decides whether a network meets the budget, here as in 'srnas search' and
    'srnas leaderboard'. P is the probability that the fastest of as many rounds, drawn again with replacement, meets
    it.

    PSNR is compared photograph by photograph. A network ties with the best one if the 95 % interval of their difference
    holds 0 and the mean is at most 0.05 dB. A larger difference whose interval holds 0 is undecided, and the better
    mean goes first. The fastest of the best and its ties is picked; among those within 3 % of its latency, the one with
    the fewest parameters, then with the fewest MACs.
    """
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("loading"):
        from srnas.nas.workspace.boards import load_pick
        from srnas.nas.workspace.workspace import Workspace

        board, picked = load_pick(Workspace(workspace), latency_ms, confidence, study, device)
    if as_json:
        plain = {
            "study": board.study.name,
            "device": str(board.study.device),
            "pick": _within(picked.chosen, contender_row(picked.chosen)),
            "best_trial": picked.best.trial.number,
            "ties": [tie.rival.trial.number for tie in picked.ties],
            "runners_up": [_within(duel.rival, duel_row(duel)) for duel in picked.runners_up],
            "human": _within(picked.human.rival, duel_row(picked.human)) if picked.human else None,
        }
        typer.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    console = output()
    console.print(_table(board, picked, latency_ms, confidence))
    if picked.ties:
        console.print(_said_of_ties(picked))
    if picked.human:
        rival = picked.human.rival.trial
        name = f"{rival.design} (trial {rival.number}), the best human design within the budget"
        console.print(escape(f"Against {name}: {said_of(picked.human)}"))
    elif picked.chosen.trial.design:
        beside = "is better" if picked.best.trial.design else "does more than tie with it"
        console.print(escape(f"It is a human design ({picked.chosen.trial.design}): no searched network {beside}."))
    else:
        console.print("No human design meets the budget.")
    name, number = quote(board.study.retimed_from or board.study.name), picked.chosen.trial.number
    place, key = f"--workspace {quote(str(workspace))}", picked.chosen.trial.architecture.key
    console.print(
        f"next    srnas train {key} --iterations 300000 --data TRAIN --val VAL {place}\n"
        f"        srnas export {key} --format onnx {place}\n"
        f"        srnas upscale PHOTO --trial {number} --study {name} {place}\n"
        f"        srnas evaluate --data VAL --trial {number} --study {name} {place}",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


def _table(board: "Board", picked: "Pick", budget_ms: float, confidence: float | None) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from srnas.leaderboard.rank.paired import TIE_DB
    from srnas.leaderboard.show.table import said_of_dtype

    study = board.study
    asked = "" if confidence is None else f" with probability {confidence:g}"
    table = Table(
        title=escape(f"Within {budget_ms:g} ms{asked}: study '{study.name}' on {study.profile_said}"),
        caption=(
            f"The first row is the pick. PSNR-Y in dB on '{escape(study.validation)}' after {study.iterations:,} "
            f"steps, mean over trainings; bicubic {study.bicubic_psnr_y_db:.2f} dB. behind: the gain of the pick "
            "over the network, with its standard error over photographs. tie: the difference from the best PSNR may be "
            f"0 and is at most {TIE_DB:g} dB.{said_of_dtype(study)} ms: the fastest round, which decides; median: over "
            "rounds, with its 95 % interval. P: how likely the fastest of as many rounds is within the budget."
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("trial", justify="right")
    table.add_column("architecture", overflow="fold", ratio=1)
    psnr = f"PSNR {study.device.dtype}\n[dim]PSNR-Y[/]" if study.ranks_timed else "PSNR-Y"
    for head in (psnr, "behind", "ms", "median", "P"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row(*_cells(picked.chosen, ""), style="bold")
    tied = {picked.best.trial.number, *(tie.rival.trial.number for tie in picked.ties)}
    for duel in picked.runners_up:
        error = "" if duel.difference.se_db is None else f"±{duel.difference.se_db:.2f}"
        tie = "\n[dim]tie[/]" if picked.ties and duel.rival.trial.number in tied else ""
        table.add_row(*_cells(duel.rival, f"{duel.difference.mean_db:.2f}{error}{tie}"))
    return table


def _said_of_ties(picked: "Pick") -> str:
    numbers = ", ".join(str(tie.rival.trial.number) for tie in picked.ties)
    return (
        f"Trial {picked.best.trial.number} has the best PSNR and ties with: {numbers}. The fastest of them is picked, "
        "or the simplest of those as fast within 3 %."
    )


def _cells(one: "Contender", behind: str) -> list[str]:
    from rich.markup import escape

    trial, latency = one.trial, one.trial.latency
    assert latency is not None
    # Lines are broken between positions.
    name = escape(str(trial.architecture).replace("|", "| ")) + (
        f"\n[dim]{escape(trial.design)}[/]" if trial.design else ""
    )
    median = f"{latency.median_ms:.2f}\n[dim]{latency.low_ms:.2f}-{latency.high_ms:.2f}[/]"
    assert trial.quality is not None
    trained = "" if one.ranked_by == "psnr_y_db" else f"\n[dim]{trial.quality.mean_psnr_y_db:.2f}[/]"
    figures = (f"{one.psnr_y_db:.2f}{trained}", behind, f"{latency.fastest_ms:.2f}", median, f"{one.within:.2f}")
    return [str(trial.number), name, *figures]


def _within(one: "Contender", row: Row) -> Row:
    return row | {"within_probability": one.within}


def said_of(duel: "Duel") -> str:
    """Return a paired difference in words."""
    images = sum(map(math.isfinite, duel.rival.quality.counted_psnr_y_db))
    found = duel.difference
    error = "" if found.se_db is None else f" ± {found.se_db:.3f} (standard error over {images} photographs)"
    interval = "" if not math.isfinite(found.low_db) else f", 95 % interval {found.low_db:+.3f} to {found.high_db:+.3f}"
    return f"{found.mean_db:+.3f} dB{error}{interval}: {found.verdict}."


def contender_row(one: "Contender") -> Row:
    """Return what is known of a network as plain data: a row of the leaderboard, with the whole architecture."""
    from srnas.leaderboard.record.columns import DOUBT
    from srnas.leaderboard.record.row import TrialRow

    row = vars(TrialRow.of(one.trial))
    left = (*DOUBT, "run_id", *(() if row["timed_psnr_y_db"] else ("timed_psnr_y_db",)))
    kept = {key: value for key, value in row.items() if key not in left}
    several = {"psnr_mean_db": one.psnr_y_db} if len(one.qualities) > 1 else {}
    return {
        **kept,
        **several,
        "architecture": one.trial.architecture.to_dict(),
        "ranked_db": one.psnr_y_db,
        "num_seeds": len(one.qualities),
    }


def duel_row(duel: "Duel") -> Row:
    """Return a network and what another is better by, as plain data."""
    found = duel.difference
    finite = math.isfinite(found.low_db)
    return contender_row(duel.rival) | {
        "difference_db": found.mean_db,
        "difference_se_db": found.se_db,
        "difference_db_low": found.low_db if finite else None,
        "difference_db_high": found.high_db if finite else None,
        "verdict": found.verdict,
    }
