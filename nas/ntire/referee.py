"""Networks as the NTIRE challenge on efficient super-resolution would rank them, by our runtime and by its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from srnas.nas.ntire.entries import Entry, RefereeRequest, find_baseline, find_entries
from srnas.nas.workspace.named import input_shape
from srnas.profiling import Latency, describe_device, measure_latency, reconcile
from srnas.profiling.ntire import Figures, Rule, Score, find_rule, ranks, score
from srnas.profiling.official import SequenceTiming, time_cold
from srnas.search_space import Network

# Whether a network may take part in the ranking, by its PSNR; nothing where none is asked for.
Admission = Literal["", "passed", "below", "unknown"]


@dataclass(frozen=True)
class Measured:
    """What was counted and timed of a network.

    Attributes:
        flops_g: Billions of FLOPs, as fvcore counts them.
        params_m: Millions of parameters of the deploy form.
        latency: Our measurement, in interleaved rounds after warm-up.
        timing: The measurement in the challenge's way, without warm-up.
    """

    flops_g: float
    params_m: float
    latency: Latency
    timing: SequenceTiming

    @property
    def ours(self) -> Figures:
        """What is scored with our runtime: the fastest round."""
        return Figures(self.latency.fastest_ms, self.flops_g, self.params_m)

    @property
    def official(self) -> Figures:
        """What is scored with the challenge's runtime."""
        return Figures(self.timing.mean_ms, self.flops_g, self.params_m)


@dataclass(frozen=True)
class Scored:
    """A network with its scores and ranks.

    Attributes:
        entry: The network.
        admission: Whether its PSNR suffices; empty where none is asked for.
        measured: What is scored.
        score: Score with our runtime.
        official: Score with the challenge's runtime.
        rank: Rank by our runtime; ``None``: its PSNR does not suffice or is not known, or it is only the baseline.
        official_rank: Rank by the challenge's runtime, likewise.
    """

    entry: Entry
    admission: Admission
    measured: Measured
    score: Score
    official: Score
    rank: int | None = None
    official_rank: int | None = None


@dataclass(frozen=True)
class Ranking:
    """All networks by rank, and what they were ranked by.

    Attributes:
        rule: The challenge's rule of a year.
        baseline: Name of the network or the figures that all were divided by.
        baseline_figures: Figures of the baseline, with our runtime.
        official_baseline: Figures of the baseline, with the challenge's runtime.
        scale: Upscaling factor of all networks.
        size: Height and width of the input in pixels.
        device: What the runtimes belong to.
        min_psnr_y_db: Least PSNR-Y in dB of a network that has a rank, if a limit was asked for.
        scored: All networks, the ranked ones first, by our score.
    """

    rule: Rule
    baseline: str
    baseline_figures: Figures
    official_baseline: Figures
    scale: int
    size: tuple[int, int]
    device: str
    min_psnr_y_db: float | None
    scored: tuple[Scored, ...]

    @property
    def moved(self) -> tuple[Scored, ...]:
        """The networks that the two ways to measure rank differently."""
        return tuple(one for one in self.scored if one.rank != one.official_rank)


def referee(
    request: RefereeRequest,
    on_stage: Callable[[str, int | None], None] = lambda _, __: None,
    on_done: Callable[[int], None] = lambda _: None,
) -> Ranking:
    """Count and time networks in both ways, and rank them.

    Args:
        request: What is asked for.
        on_stage: Told of each stage in words, and of how many steps it has, if that is known.
        on_done: Told of the number of steps that are done.

    Raises:
        InputError: If the networks do not exist, cannot be compared, or have no PSNR where one is asked for.
        DeviceBusyError: If another process holds the device for too long.
    """
    rule = find_rule(request.year)
    entries = find_entries(request)
    baseline = find_baseline(request, rule, entries)
    every = {entry.label: entry for entry in entries}
    if isinstance(baseline, Entry):
        every.setdefault(baseline.label, baseline)
    measured = _measure(request, every, on_stage, on_done)
    if isinstance(baseline, Entry):
        name, ours, official = baseline.label, measured[baseline.label].ours, measured[baseline.label].official
    else:
        name, ours, official = f"{rule.baseline}, as given", baseline, baseline
    scored = [
        Scored(
            entry=entry,
            admission=_admission(entry, request.min_psnr_y_db) if entry in entries else "",
            measured=measured[label],
            score=score(rule, measured[label].ours, ours),
            official=score(rule, measured[label].official, official),
        )
        for label, entry in every.items()
    ]
    return Ranking(
        rule=rule,
        baseline=name,
        baseline_figures=ours,
        official_baseline=official,
        scale=entries[0].architecture.scale,
        size=request.size,
        device=str(describe_device(request.target)),
        min_psnr_y_db=request.min_psnr_y_db,
        scored=_ranked(scored, len(entries)),
    )


def _measure(
    request: RefereeRequest,
    entries: Mapping[str, Entry],
    on_stage: Callable[[str, int | None], None],
    on_done: Callable[[int], None],
) -> dict[str, Measured]:
    on_stage("counting", None)
    shapes = {label: input_shape(entry.architecture, request.size) for label, entry in entries.items()}
    networks = {label: Network(entry.architecture).deploy() for label, entry in entries.items()}
    counted = {label: reconcile(network, shapes[label]) for label, network in networks.items()}
    on_stage("timing in the challenge's way", len(entries))
    timings, target = {}, request.target
    for number, (label, entry) in enumerate(entries.items(), 1):
        timings[label] = time_cold(entry.architecture, shapes[label], target.device, target.threads, request.images)
        on_done(number)
    on_stage("timing in rounds", None)
    measured = measure_latency(networks, shapes, target, protocol=request.protocol, on_round=on_done)
    return {
        label: Measured(c.fvcore_macs / 1e9, c.record.params / 1e6, measured.latencies[label], timings[label])
        for label, c in counted.items()
    }


def _ranked(scored: Sequence[Scored], taking_part: int) -> tuple[Scored, ...]:
    """Return the networks with their ranks; those without a rank come last, by score."""
    counts = [one.admission in ("", "passed") and place < taking_part for place, one in enumerate(scored)]
    ours = ranks([one.score.final if c else None for one, c in zip(scored, counts, strict=True)])
    theirs = ranks([one.official.final if c else None for one, c in zip(scored, counts, strict=True)])
    ranked = [replace(one, rank=a, official_rank=b) for one, a, b in zip(scored, ours, theirs, strict=True)]
    return tuple(sorted(ranked, key=lambda one: (one.rank is None, one.score.final)))


def _admission(entry: Entry, min_psnr_y_db: float | None) -> Admission:
    if min_psnr_y_db is None:
        return ""
    if entry.psnr_y_db is None:
        return "unknown"
    return "passed" if entry.psnr_y_db >= min_psnr_y_db else "below"


def to_row(one: Scored, ranking: Ranking) -> dict[str, Any]:
    """Return plain data, one value per key, with units in the names."""
    latency, timing = one.measured.latency, one.measured.timing
    return {
        "network": one.entry.label,
        "key": one.entry.architecture.key,
        "rank": one.rank,
        "official_rank": one.official_rank,
        "score": one.score.final,
        "official_score": one.official.final,
        "score_runtime": one.score.runtime,
        "official_score_runtime": one.official.runtime,
        "score_flops": one.score.flops,
        "score_params": one.score.params,
        "latency_fastest_ms": latency.fastest_ms,
        "latency_median_ms": latency.median_ms,
        "latency_median_low_ms": latency.low_ms,
        "latency_median_high_ms": latency.high_ms,
        "latency_flags": list(latency.flags),
        "official_mean_ms": timing.mean_ms,
        "official_first_ms": timing.first_ms,
        "official_images": len(timing.images_ms),
        "flops_g": one.measured.flops_g,
        "params_m": one.measured.params_m,
        "psnr_y_db": one.entry.psnr_y_db,
        "psnr_set": one.entry.psnr_set,
        "psnr_gate": one.admission,
        "min_psnr_y_db": ranking.min_psnr_y_db,
        "year": ranking.rule.year,
        "scale": ranking.scale,
        "input_width": ranking.size[1],
        "input_height": ranking.size[0],
        "baseline": ranking.baseline,
        "baseline_runtime_ms": ranking.baseline_figures.runtime_ms,
        "baseline_official_ms": ranking.official_baseline.runtime_ms,
        "baseline_flops_g": ranking.baseline_figures.flops_g,
        "baseline_params_m": ranking.baseline_figures.params_m,
        "device": ranking.device,
    }
