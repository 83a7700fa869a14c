"""``srnas ntire``: networks as the NTIRE challenge on efficient super-resolution would rank them."""

from typing import TYPE_CHECKING, Annotated

import typer

from srnas.nas.cli.options import (
    DEFAULT_WORKSPACE,
    Csv,
    Device,
    Json,
    MaxTime,
    Threads,
    WorkspacePath,
    count_bar,
    output,
    parse_size,
    patient_protocol,
    print_csv,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from srnas.nas.ntire.referee import Ranking, Scored


def ntire(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NETWORK...", help="Networks, named as for 'srnas profile network'.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Also rank the front of this study.")] = None,
    year: Annotated[int, typer.Option(help="Year of the challenge whose rule applies: 2024, 2025 or 2026.")] = 2026,
    baseline: Annotated[
        str | None,
        typer.Option(help="Network to divide by, or a year from 2022 to 2026 for its baseline \\[default: --year]."),
    ] = None,
    baseline_runtime_ms: Annotated[
        float | None,
        typer.Option(help="Runtime of the challenge's own baseline on this device, instead of timing one."),
    ] = None,
    baseline_gflops: Annotated[
        float | None, typer.Option(help="FLOPs of that baseline \\[default: as published].")
    ] = None,
    baseline_params_m: Annotated[
        float | None, typer.Option(help="Parameters of that baseline \\[default: as published].")
    ] = None,
    min_psnr: Annotated[
        float | None, typer.Option(help="Do not rank networks with less PSNR-Y than this in dB, or with none known.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Number of images to time in the way of the challenge.")] = 10,
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor of published networks \\[default: that of the study, else 4].")
    ] = None,
    size: Annotated[str, typer.Option(help="Low-resolution input, as WxH in pixels.")] = "256x256",
    device: Device = "auto",
    threads: Threads = 1,
    max_time_s: MaxTime = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Score and rank networks by the rule of the NTIRE efficient super-resolution challenge.

    Runtime is measured twice: in interleaved rounds after a warm-up, as everywhere in srnas, and in the way of the
    challenge, without warm-up and with the first image in the mean. Both scores and ranks are printed.
    """
    from rich.console import Console

    with count_bar(Console(stderr=True)) as bars:
        task = bars.add_task("loading", total=None)
        from srnas.nas.ntire.entries import Given, RefereeRequest
        from srnas.nas.ntire.referee import referee, to_row
        from srnas.nas.workspace.workspace import Workspace
        from srnas.profiling import Target, resolve_device, resolve_threads

        target = Target(resolve_device(device), threads=resolve_threads(threads))
        request = RefereeRequest(
            names=names or (),
            study=study,
            workspace=Workspace(workspace),
            scale=scale,
            size=parse_size(size, "--size"),
            year=year,
            baseline=baseline,
            given=Given(baseline_runtime_ms, baseline_gflops, baseline_params_m),
            min_psnr_y_db=min_psnr,
            images=images,
            target=target,
            protocol=patient_protocol(target, max_time_s),
        )
        ranking = referee(
            request,
            on_stage=lambda text, total: bars.reset(task, description=text, total=total),
            on_done=lambda number: bars.update(task, completed=number),
        )
    rows = [to_row(one, ranking) for one in ranking.scored]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows)
    else:
        _print(output(), ranking)


def _print(console: "Console", ranking: "Ranking") -> None:
    console.print(_table(ranking))
    for text in _notes(ranking):
        console.print(text, highlight=False, markup=False)


def _table(ranking: "Ranking") -> "Table":
    from rich.table import Table

    rule, (height, width) = ranking.rule, ranking.size
    table = Table(
        title=f"NTIRE {rule.year} efficient super-resolution, x{ranking.scale}, input {width}x{height}",
        caption=(
            f"score = {rule.runtime:g} exp(2 ms / ms of the baseline) + {rule.flops:g} of FLOPs + {rule.params:g} of "
            "parameters likewise; lower is better. ms: the fastest of interleaved rounds, which is scored; below, the "
            "median and its 95 % interval. official: no warm-up, mean over the images with the first in it; below, the "
            "first."
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("network", overflow="fold", min_width=12)
    for head in ("size", "ms", "score\nand rank", "official\nms", "official\nscore\nand rank"):
        table.add_column(head, justify="right", overflow="fold")
    for one in ranking.scored:
        table.add_row(*_cells(one, ranking), style="bold" if one in ranking.moved else "")
    return table


def _cells(one: "Scored", ranking: "Ranking") -> list[str]:
    from rich.markup import escape

    from srnas.leaderboard.show.profile_table import digits

    entry, measured, latency = one.entry, one.measured, one.measured.latency
    psnr = [] if entry.psnr_y_db is None else [f"{entry.psnr_y_db:.2f} dB"]
    gate = {"below": ["PSNR below"], "unknown": ["PSNR unknown"]}.get(one.admission, [])
    about = [*psnr, *gate, *(["baseline"] if entry.label == ranking.baseline else [])]
    return [
        escape(entry.label) + "".join(f"\n[dim]{text}[/]" for text in about),
        f"{digits(measured.flops_g)} G\n{measured.params_m:.3f} M",
        f"{digits(latency.fastest_ms)}\n[dim]{digits(latency.median_ms)}\n{_short(latency.low_ms)}-{_short(latency.high_ms)}[/]",
        _ranked(one.score.final, one.rank),
        f"{digits(measured.timing.mean_ms)}\n[dim]{digits(measured.timing.first_ms)}[/]",
        _ranked(one.official.final, one.official_rank),
    ]


def _short(value_ms: float) -> str:
    return f"{value_ms:.3g}" if value_ms < 1000 else f"{value_ms:,.0f}"


def _ranked(final: float, rank: int | None) -> str:
    return f"{final:.4g}" + (f"\n#{rank}" if rank else "")


def _notes(ranking: "Ranking") -> "list[str]":
    from srnas.profiling.ntire import NUM_VALID_IMAGES, SCALE, SIDE

    rule, figures = ranking.rule, ranking.baseline_figures
    own = ranking.baseline in {one.entry.label for one in ranking.scored}
    images = len(ranking.scored[0].measured.timing.images_ms)
    notes = [
        f"Device: {ranking.device}; the challenge's: {rule.gpu}.",
        (
            f"Baseline: {ranking.baseline}{_said_of_baseline(ranking)}, timed here: scores compare with those of "
            "another device as far as the devices are alike."
            if own
            else f"Baseline: {ranking.baseline}: {figures.runtime_ms:g} ms for both ways to measure, "
            f"{figures.flops_g:g} G, {figures.params_m:g} M."
        ),
        f"Official: each network in a fresh process, {images} random images of one size; the challenge times "
        f"{NUM_VALID_IMAGES} photographs of many sizes, so that its first weighs less.",
        "FLOPs as fvcore counts them: a multiply-accumulate is one; parameters of the deploy form.",
    ]
    if (ranking.scale, *ranking.size) != (SCALE, SIDE, SIDE):
        notes.append(f"The challenge scores x{SCALE} networks at {SIDE}x{SIDE}.")
    flagged: dict[str, list[str]] = {}
    for one in ranking.scored:
        flagged.setdefault(", ".join(one.measured.latency.flags), []).append(one.entry.label)
    notes += [f"Rounds are {flags}: {', '.join(labels)}." for flags, labels in flagged.items() if flags]
    return [*notes, _said_of_psnr(ranking), _said_of_ranks(ranking)]


def _said_of_baseline(ranking: "Ranking") -> str:
    from srnas.profiling.ntire import BASELINES

    years = [str(year) for year, name in BASELINES.items() if name == ranking.baseline]
    return f", the challenge's own of {' and '.join(years)}" if years else ""


def _said_of_ranks(ranking: "Ranking") -> str:
    if all(one.rank is None for one in ranking.scored):
        return "No network has a rank."
    moved = ", ".join(f"{one.entry.label} #{one.rank}, officially #{one.official_rank}" for one in ranking.moved)
    return f"The ranks differ: {moved}." if moved else "Both ways to measure give the same ranks."


def _said_of_psnr(ranking: "Ranking") -> str:
    from srnas.profiling.ntire import MIN_PSNR_TEST_DB, MIN_PSNR_VALID_DB

    asked = (
        f"The challenge asks for {MIN_PSNR_VALID_DB:.2f} dB in RGB on DIV2K_LSDIR_valid and {MIN_PSNR_TEST_DB:.2f} dB "
        "on its test set"
    )
    sets = ", ".join(sorted({f"'{one.entry.psnr_set}'" for one in ranking.scored if one.entry.psnr_set}))
    known = f"PSNR-Y here is that of {sets}, as a study trained the network" if sets else "no PSNR is known here"
    gate = "" if ranking.min_psnr_y_db is None else f" Less than {ranking.min_psnr_y_db:g} dB, or none, has no rank."
    return f"{asked}; {known}.{gate}"
