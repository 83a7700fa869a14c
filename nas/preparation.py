"""What a search needs before it starts: everything is checked before anything is written."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from srnas.leaderboard import StudyRecord
from srnas.nas.evaluation import evaluate_bicubic
from srnas.nas.pairs import Pair, least_side
from srnas.nas.photos import PhotoSet, embedded_photos, load_folder
from srnas.nas.samplers import check_sampler
from srnas.nas.settings import ENGINES, Budgets, StudySettings, check_front_dtype, digest
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
    sampler: str = "front"
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
    rungs: str = "halving"
    max_train_s: float | None = None
    patience: int | None = None
    replicates: int = 0
    proxies: bool = False
    storage: str | None = None
    workers: int = 1
    engine: str = "local"
    address: str | None = None


def check_request(request: SearchRequest) -> None:
    """Raise ``InputError`` if a value of the request cannot be used whatever the rest is."""
    for name, least in (("trials", 1), ("workers", 1), ("replicates", 0), ("patience", 1)):
        value = getattr(request, name)
        if value is not None and value < least:
            raise InputError(f"{name} >= {least} must hold, but got {name}={value}.")
    check_sampler(request.sampler)
    if request.engine not in ENGINES:
        raise unknown_name("engine", request.engine, ENGINES)
    target = Target(resolve_device(request.device), request.runtime, request.dtype, request.memory_format)
    check_front_dtype(target)
    find_runtime(target)


def absolute(request: SearchRequest) -> SearchRequest:
    """Return the request as it means the same from any folder."""
    paths = {name: path.resolve() for name in ("train", "validation") if (path := getattr(request, name))}
    space = str(Path(request.space).resolve()) if Path(request.space).is_file() else request.space
    return replace(request, workspace=request.workspace.resolve(), space=space, **paths)


def training_config(request: SearchRequest, space: SearchSpace) -> TrainingConfig:
    """Return the schedule: what was asked for, else the space's defaults.

    Raises:
        InputError: If it is not valid, or the patch is too small for the blocks.
    """
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


def load_photos(request: SearchRequest, space: SearchSpace, training: TrainingConfig) -> tuple[PhotoSet, PhotoSet]:
    """Return the photographs to train on and those held out.

    Raises:
        InputError: If there are none that are large enough.
    """
    train = load_folder(request.train) if request.train else embedded_photos("train")
    validation = load_folder(request.validation) if request.validation else embedded_photos("held-out")
    scale = request.scale
    return (
        train.at_least(training.patch * scale, f"a patch of {training.patch} at scale {scale}"),
        validation.at_least(least_side(scale, space.min_size), "the blocks and the SSIM window"),
    )


def study_settings(
    request: SearchRequest,
    space: SearchSpace,
    device: torch.device,
    training: TrainingConfig,
    timed_input: tuple[int, int],
    photos: tuple[PhotoSet, PhotoSet],
) -> StudySettings:
    """Return the settings of a study.

    Raises:
        InputError: If they are not valid.
    """
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
            "latency_input": timed_input,
            "budgets": request.budgets,
            "training": training,
            "rungs": request.rungs,
            "max_train_s": request.max_train_s,
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


def check_feasible(settings: StudySettings, space: SearchSpace) -> None:
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


def study_record(settings: StudySettings, space: SearchSpace, validation: tuple[Pair, ...], name: str) -> StudyRecord:
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
