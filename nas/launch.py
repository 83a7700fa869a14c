"""From what a user asks for to a running study: everything is checked before anything is written."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from srnas.leaderboard import Board, Store, StudyRecord, rank
from srnas.nas.cache import ResultCache
from srnas.nas.evaluation import evaluate_bicubic
from srnas.nas.judging import Judge, Observer
from srnas.nas.pairs import Pair, PatchSampler, least_side, make_pairs
from srnas.nas.photos import PhotoSet, all_notes, embedded_photos, load_folder
from srnas.nas.samplers import check_sampler
from srnas.nas.settings import Budgets, StudySettings, check_front_dtype, digest
from srnas.nas.study import Outcome, Search, stored_settings, study_lock
from srnas.nas.tables import find_table
from srnas.nas.training import TrainingConfig, build_seeded
from srnas.profiling import (
    Target,
    count,
    default_protocol,
    describe_device,
    measure_latency,
    resolve_device,
    resolve_threads,
)
from srnas.profiling.runtimes import find_runtime, runtime_version
from srnas.search_space import Architecture, InputError, SearchSpace, human_designs, unknown_name
from srnas.search_space.errors import parse

# Human designs are timed this briefly to fix the reference point.
_BRIEF_ROUNDS = 12


@dataclass(frozen=True)
class SearchRequest:
    """What a user asks for; ``None`` takes the space's default (``study``: the space's name and scale)."""

    workspace: Path
    space: str = "tiny"
    scale: int = 2
    trials: int = 24
    study: str | None = None
    train: Path | None = None
    validation: Path | None = None
    sampler: str = "tpe"
    seed: int = 0
    device: str = "auto"
    runtime: str = "eager"
    dtype: str = "float32"
    memory_format: str = "nchw"
    threads: int = 1
    latency_input: tuple[int, int] | None = None
    budgets: Budgets = field(default_factory=Budgets)
    patch: int | None = None
    batch: int | None = None
    iterations: int | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class AlreadyComplete:
    """A study that holds as many trials as were asked for.

    Attributes:
        name: Of the study.
        judged: Its number of judged trials.
        board: The ranked trials.
    """

    name: str
    judged: int
    board: Board


def launch(request: SearchRequest, observer: Observer) -> Outcome | AlreadyComplete:
    """Run a search, or go on with one, until the study holds ``request.trials`` trials.

    Raises:
        InputError: If anything that was given cannot be used; nothing is written then.
    """
    if request.trials < 1:
        raise InputError(f"trials >= 1 must hold, but got trials={request.trials}.")
    check_sampler(request.sampler)
    space = SearchSpace.load(request.space, request.scale)
    device = resolve_device(request.device)
    training = _training(request, space)
    target = Target(device, request.runtime, request.dtype, request.memory_format)
    check_front_dtype(target)
    find_runtime(target)
    timed_input = latency_input(space, request.latency_input)
    photos = _photos(request, space, training)
    settings = _settings(request, space, device, training, timed_input, photos)
    stored = stored_settings(request.workspace, settings.name)
    if stored:
        settings.check_same(stored[0])
        if stored[1] >= request.trials:
            return AlreadyComplete(settings.name, stored[1], load_board(request.workspace, settings.name))
    else:
        _check_feasible(settings, space)
    for note in (f"space '{space.name}' holds {space.size_text} networks", *all_notes(*photos)):
        observer.on_note(note)
    with study_lock(request.workspace, settings.name):
        observer.on_note(f"reducing {sum(len(p.photos) for p in photos)} photographs by {request.scale}")
        train_pairs, validation = (make_pairs(p, request.scale) for p in photos)
        patches = PatchSampler(train_pairs, request.scale, training.patch, device)

        def make_record() -> StudyRecord:
            if settings.budgets.max_latency_ms is None:
                timed = "human designs, whose slowest" if human_designs(space) else "smallest network, which"
                observer.on_note(f"timing the {timed} fixes the reference point of the hypervolume")
            return _study_record(settings, space, validation, photos[1].name)

        # What the runtime cannot run is refused before the study exists.
        made = None if stored else make_record()
        store = Store(request.workspace)
        cache = ResultCache(request.workspace / "cache", settings.protocol)
        table = find_table(request.workspace, space, settings.target, settings.latency_input)
        if table is not None and settings.budgets.max_latency_ms is not None:
            observer.on_note(f"screening by the block table of {len(table.entries_ms)} parts: {table.validation}")
        judge = Judge(settings, patches, validation, photos[1].name, cache, observer, table)
        search = Search(request.workspace, settings, space)
        record = search.prepare(lambda: made or make_record())
        return search.run(judge, store, record, request.trials)


def load_board(workspace: Path, study: str | None = None) -> Board:
    """Return the ranked trials of a study; of the newest one without a name.

    Raises:
        InputError: If the workspace or the study does not exist.
    """
    if not workspace.is_dir():
        raise InputError(f"a workspace must exist, but got '{workspace}'; run 'srnas search' first.")
    if not Store.exists(workspace):
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    store = Store(workspace)
    studies = store.studies()
    found = next((s for s in studies if (s.name == study if study else not s.retimed_from)), None)
    if found is None and study is None:
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    if found is None:
        raise unknown_name("study", study, (s.name for s in studies))
    return rank(found, store.rows(found))


def _training(request: SearchRequest, space: SearchSpace) -> TrainingConfig:
    defaults = space.defaults
    given = {name: getattr(request, name) for name in ("patch", "batch", "iterations", "learning_rate")}
    values = {name: getattr(defaults, name) if value is None else value for name, value in given.items()}
    config = parse(TrainingConfig, {**values, "seed": request.seed}, "training")
    if config.patch < space.min_size:
        raise InputError(
            f"patch >= {space.min_size} must hold for the blocks of space '{space.name}', but got patch={config.patch}."
        )
    return config


def latency_input(space: SearchSpace, given: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of the input that studies of a space time, unless others are given.

    Raises:
        InputError: If a block of the space cannot take it.
    """
    height, width = given or (side // space.scale for side in space.defaults.latency_output)
    if min(height, width) < space.min_size:
        raise InputError(
            f"latency input sides >= {space.min_size} must hold for the blocks of space '{space.name}', "
            f"but got {width}x{height}."
        )
    return height, width


def _photos(request: SearchRequest, space: SearchSpace, training: TrainingConfig) -> tuple[PhotoSet, PhotoSet]:
    train = load_folder(request.train) if request.train else embedded_photos("train")
    validation = load_folder(request.validation) if request.validation else embedded_photos("held-out")
    scale = request.scale
    return (
        train.at_least(training.patch * scale, f"a patch of {training.patch} at scale {scale}"),
        validation.at_least(least_side(scale, space.min_size), "the blocks and the SSIM window"),
    )


def _settings(
    request: SearchRequest,
    space: SearchSpace,
    device: torch.device,
    training: TrainingConfig,
    latency_input: tuple[int, int],
    photos: tuple[PhotoSet, PhotoSet],
) -> StudySettings:
    train, validation = (f"{p.name}@{p.fingerprint} ({len(p.photos)} photographs)" for p in photos)
    return parse(
        StudySettings,
        {
            "name": request.study or f"{space.name}-x{request.scale}",
            "space": space.name,
            "space_digest": digest(space),
            "scale": request.scale,
            "train": train,
            "validation": validation,
            "sampler": request.sampler,
            "seed": request.seed,
            "device": str(device),
            "runtime": request.runtime,
            "dtype": request.dtype,
            "memory_format": request.memory_format,
            "threads": resolve_threads(request.threads),
            "latency_input": latency_input,
            "budgets": request.budgets,
            "training": training,
        },
        "study",
    )


def smallest(space: SearchSpace, input_shape: tuple[int, int, int, int]) -> Architecture:
    """Return the architecture of the fewest MACs: a narrow host without, or with the cheapest, positions."""
    content = space.content
    candidates: list[tuple[int, int, Architecture]] = []
    for channels in sorted(set(content.channels)):
        free = not content.positions or space.has_identity
        for body in [()] if free else [(position,) * content.positions for position in space.alphabet(channels)]:
            for tail in content.tail:
                architecture = Architecture(
                    scale=space.scale,
                    channels=channels,
                    positions=body,
                    end="none" if "none" in content.end else content.end[0],
                    tail=tail,
                    global_skip=space.skips(tail)[0],
                    input_range=content.input_range[0],
                    mean_shift=content.mean_shift[0],
                )
                candidates.append(
                    (count(architecture.build().deploy(), input_shape).macs, len(candidates), architecture)
                )
    return min(candidates)[2]


def _check_feasible(settings: StudySettings, space: SearchSpace) -> None:
    """Raise ``InputError`` if not even the smallest network of the space meets the budgets."""
    if settings.budgets == Budgets():
        return
    shape = (1, 3, *settings.latency_input)
    architecture = smallest(space, shape)
    network = architecture.build().deploy()
    counts = count(network, shape)
    values = {"params_k": counts.params / 1e3, "macs_g": counts.macs / 1e9}
    if settings.budgets.max_latency_ms is not None:
        measured = measure_latency({"smallest": network}, shape, settings.target)
        values["latency_ms"] = measured.latencies["smallest"].stable_ms
    exceeded = settings.budgets.exceeded(values)
    if exceeded:
        raise InputError(
            f"some candidate of space '{space.name}' must meet the budgets, but the smallest, {architecture}, does not "
            f"({exceeded}); raise the budget, or lower --latency-input."
        )


def _study_record(settings: StudySettings, space: SearchSpace, validation: tuple[Pair, ...], name: str) -> StudyRecord:
    """Fix what all trials are compared with: bicubic, the device, and the hypervolume's reference point."""
    bicubic = evaluate_bicubic(validation, settings.scale)
    limit = settings.budgets.max_latency_ms
    return StudyRecord(
        name=settings.name,
        scale=settings.scale,
        config=settings.flat(),
        validation=name,
        bicubic_psnr_y_db=bicubic.mean_psnr_y_db,
        bicubic_ssim_y=bicubic.mean_ssim_y,
        device=describe_device(settings.target, runtime_version(settings.runtime)),
        reference_psnr_y_db=bicubic.mean_psnr_y_db,
        reference_latency_ms=limit or _slowest_design_ms(settings, space),
    )


def _slowest_design_ms(settings: StudySettings, space: SearchSpace) -> float:
    shape = (1, 3, *settings.latency_input)
    designs = human_designs(space) or {"smallest": smallest(space, shape)}
    networks = {name: build_seeded(design, 0).deploy() for name, design in designs.items()}
    protocol = replace(default_protocol(settings.target), max_rounds=_BRIEF_ROUNDS)
    measured = measure_latency(networks, shape, settings.target, protocol=protocol)
    return max(latency.stable_ms for latency in measured.latencies.values())
