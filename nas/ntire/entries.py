"""The networks of a ranking by the NTIRE rule, and the baseline that they are divided by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from srnas.nas.workspace.boards import load_board, load_records
from srnas.nas.workspace.named import find_named
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import LatencyProtocol, Target
from srnas.profiling.ntire import BASELINES, RULES, SCALE, SIDE, Figures, Rule
from srnas.search_space import Architecture, InputError


@dataclass(frozen=True)
class Given:
    """Figures of a baseline that a user knows; what is ``None`` is the organisers' figure."""

    runtime_ms: float | None = None
    flops_g: float | None = None
    params_m: float | None = None


@dataclass(frozen=True)
class RefereeRequest:
    """What is to be ranked, and how.

    Attributes:
        names: Published networks, keys of the workspace, or files of architectures.
        study: Name of a study whose front is ranked as well.
        workspace: Where studies and keys are looked up.
        scale: Upscaling factor of published networks; by default that of the study, or the challenge's.
        size: Height and width of the low-resolution input in pixels.
        year: Year of the challenge, which has a rule of its own.
        baseline: A network that all are divided by, or a year, whose own it is; by default that of ``year``.
        given: Figures of the baseline, in place of a network.
        min_psnr_y_db: Least PSNR-Y in dB; a network that has less, or whose PSNR is not known, gets no rank.
        images: Number of images that are timed in the challenge's way.
        target: Device and threads; the rest is the challenge's: eager, float32.
        protocol: Rules of our own measurement; those of the device by default.
    """

    names: Sequence[str]
    study: str | None = None
    workspace: Workspace = Workspace(Path())  # noqa: RUF009  A value without state.
    scale: int | None = None
    size: tuple[int, int] = (SIDE, SIDE)
    year: int = max(RULES)
    baseline: str | None = None
    given: Given = Given()
    min_psnr_y_db: float | None = None
    images: int = 10
    target: Target = field(default_factory=Target)
    protocol: LatencyProtocol | None = None


@dataclass(frozen=True)
class Entry:
    """A network that takes part.

    Attributes:
        label: What a user calls it.
        architecture: What is built.
        psnr_y_db: PSNR-Y in dB of the network as a study trained it, if one did.
        psnr_set: Name of the photographs on which the PSNR was computed.
    """

    label: str
    architecture: Architecture
    psnr_y_db: float | None = None
    psnr_set: str = ""


def find_entries(request: RefereeRequest) -> list[Entry]:
    """Return the networks that take part, each once.

    Raises:
        InputError: If there is none, one does not exist, they are of several scales, or none has a PSNR where one is
            asked for.
    """
    front = _front(request.workspace, request.study) if request.study else []
    scale = request.scale or (front[0].architecture.scale if front else SCALE)
    named = [_entry(name, scale, request) for name in dict.fromkeys(request.names)]
    entries = list({entry.label: entry for entry in (*named, *front)}.values())
    if not entries:
        raise InputError("at least one network must be given, but got none; name some, or a --study.")
    scales = sorted({entry.architecture.scale for entry in entries})
    if len(scales) > 1:
        by_scale = "; ".join(
            f"x{s}: {', '.join(e.label for e in entries if e.architecture.scale == s)}" for s in scales
        )
        raise InputError(f"networks must be of one scale, but got {by_scale}; change --scale or leave some out.")
    if request.min_psnr_y_db is not None and all(entry.psnr_y_db is None for entry in entries):
        raise InputError(
            "--min-psnr needs networks whose PSNR is known, but no study of the workspace trained one of these; leave "
            "it out, or name a --study."
        )
    return entries


def _entry(name: str, scale: int, request: RefereeRequest) -> Entry:
    """Return a named network, with the PSNR of its newest training."""
    if "@" in name:
        raise InputError(f"a network must be timed eagerly in float32, as the challenge does, but got '{name}'.")
    architecture = find_named(name, scale, request.workspace, request.target).architecture
    trained = request.workspace.store.trained(architecture.key) if request.workspace.has_store else []
    newest = trained[0] if trained else {}
    return Entry(name, architecture, newest.get("psnr_y_db"), newest.get("validation", ""))


def _front(workspace: Workspace, study: str) -> list[Entry]:
    board = load_board(workspace, study)
    if board.front.empty:
        raise InputError(f"study '{study}' must hold a trained network, but it has none; run 'srnas search' first.")
    records = load_records(workspace, board.study, board.front["trial"])
    return [
        Entry(f"{study}#{r.number}", r.architecture, r.quality.mean_psnr_y_db if r.quality else None, r.validation)
        for r in records
    ]


def find_baseline(request: RefereeRequest, rule: Rule, entries: Sequence[Entry]) -> Entry | Figures:
    """Return the network that all are divided by, or its figures.

    Args:
        request: What is asked for.
        rule: The challenge's rule of that year.
        entries: Those that take part; one of them may be the baseline.

    Raises:
        InputError: If the network does not exist or is of another scale, or the figures are not enough.
    """
    given, scale = request.given, entries[0].architecture.scale
    if given == Given():
        named = request.baseline or str(rule.year)
        years = {str(year): name for year, name in BASELINES.items()}
        baseline = _entry(years.get(named, named), scale, request)
        if baseline.architecture.scale != scale:
            theirs = baseline.architecture.scale
            raise InputError(
                f"the baseline must be x{scale}, as the networks are, but got '{baseline.label}', which is x{theirs}; "
                "name another."
            )
        same = (entry for entry in entries if entry.architecture.key == baseline.architecture.key)
        return next(same, baseline)
    if request.baseline is not None or given.runtime_ms is None:
        raise InputError(
            "a baseline must be a network (--baseline) or figures (--baseline-runtime-ms on this device, with the "
            "others as needed), but got both or no runtime."
        )
    as_published = request.size == (SIDE, SIDE) and scale == SCALE
    if not as_published and None in (given.flops_g, given.params_m):
        raise InputError(
            f"--baseline-gflops and --baseline-params-m must be given with this size and scale, since those of "
            f"{rule.baseline} are published for x{SCALE} at {SIDE}x{SIDE} only."
        )
    flops_g = rule.figures.flops_g if given.flops_g is None else given.flops_g
    params_m = rule.figures.params_m if given.params_m is None else given.params_m
    return Figures(given.runtime_ms, flops_g, params_m)
