"""The plan of a training on the long schedule: everything is checked before anything is written."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srnas.leaderboard.record.finals import FinalRecord
from srnas.leaderboard.store.answering import ask_briefly
from srnas.nas.images.evaluation import reference_quality
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.photos import embedded_photos, load_set, shared_with
from srnas.nas.images.validation_sets import load_sets
from srnas.nas.training.loop import Compute, build_seeded
from srnas.nas.training.schedule import MUON, TrainingConfig, scaled_rate
from srnas.nas.training.team import Team
from srnas.nas.workspace.finals import FinalFolder
from srnas.nas.workspace.sources import find_architecture, find_judged
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import resolve_threads
from srnas.search_space import Architecture, InputError, unknown_name
from srnas.search_space.checkpoints import load_network
from srnas.search_space.errors import parse

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Without --validate-every a training is validated so many times.
_VALIDATIONS = 20


@dataclass(frozen=True)
class FinalRequest:
    """What a user asks for.

    Attributes:
        network: A published network, the key of an architecture in the workspace, or the path of one as JSON.
        iterations: Training steps.
        workspace: Owns studies, results and weights.
        scale: Upscaling factor of a published network.
        data: Folder of training photographs; ``None`` takes the embedded ones.
        every_image: Whether every image of ``data`` is a photograph, whatever its folder is called.
        raw_colours: Whether colour profiles of the training photographs are disregarded.
        validation: Sets as ``NAME=FOLDER`` or ``FOLDER``; without any the embedded held-out photographs.
        batch: Patches per step, over all processes.
        patch: Side of an LR patch in pixels.
        learning_rate: Peak of the schedule for AdamW; ``None`` takes what suits the length.
        validate_every: Iterations between validations; ``None`` validates twenty times.
        checkpoint: Weights to start from.
        seed: Seed of weights and patches.
        device: ``auto``, ``cpu`` or ``cuda[:N]``.
        precision: Data type of the forward pass in training: ``auto``, ``float32`` or ``bfloat16``.
        threads: CPU threads of each process.
    """

    network: str
    iterations: int
    workspace: Workspace
    scale: int | None = None
    data: Path | None = None
    every_image: bool = False
    raw_colours: bool = False
    validation: tuple[str, ...] = ()
    batch: int = 32
    patch: int = 48
    learning_rate: float | None = None
    validate_every: int | None = None
    checkpoint: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1


@dataclass(frozen=True, eq=False)
class FinalPlan:
    """A request that was checked.

    Attributes:
        request: What was asked for.
        architecture: What is trained.
        network: The network with the weights from which it starts.
        config: The schedule, judged at its rungs.
        device: The device of this process.
        dtype: Data type of the forward pass in training.
        threads: CPU threads of this process.
        train: Photographs from which patches are cut.
        sets: Sets of photographs for validation.
        record: Record of the training.
        folder: Folder in which the training is kept.
    """

    request: FinalRequest
    architecture: Architecture
    network: nn.Module
    config: TrainingConfig
    device: torch.device
    dtype: torch.dtype
    threads: int
    train: tuple[Pair, ...]
    sets: dict[str, tuple[Pair, ...]]
    record: FinalRecord
    folder: FinalFolder


def plan_final(request: FinalRequest, team: Team, on_note: Callable[[str], None]) -> FinalPlan:
    """Check a request and read its photographs; nothing is written.

    Raises:
        InputError: If anything that was given cannot be used.
    """
    ask_briefly()
    architecture = find_architecture(request.network, request.scale, request.workspace)
    if request.scale not in (None, architecture.scale):
        raise InputError(f"--scale must be {architecture.scale}, that of {architecture}, but got {request.scale}.")
    config = _schedule(request, architecture)
    # Asked for its error: a batch that cannot be shared is refused before photographs are read.
    team.share(config.batch)
    device, threads = team.device(request.device), resolve_threads(request.threads)
    precision = precision_on(device, request.precision)
    network = _initial(request, architecture)
    scale = architecture.scale
    how = {"every_image": request.every_image, "raw_colours": request.raw_colours}
    photos = load_set(request.data, scale, "train", **how) if request.data else embedded_photos("train")
    photos = photos.at_least(config.patch * scale, f"a patch of {config.patch} at scale {scale}")
    sets, said = load_sets(request.validation, scale, architecture.min_size)
    on_note(f"reducing {len(photos.photos)} photographs by {scale}")
    train = make_pairs(photos, scale)
    validated = {name: [(pair.name, pair.hr) for pair in pairs] for name, pairs in sets.items()}
    for note in (*photos.notes, *said, *shared_with((pair.hr for pair in train), validated)):
        on_note(note)
    record = _record(request, architecture, config, sets, data=photos.described, precision=precision)
    # What only the first process writes, only it computes.
    if team.leads:
        bicubic = {name: reference_quality(name, pairs, scale) for name, pairs in sets.items()}
        beside = {"device": str(device), "processes": team.size}
        record = record.model_copy(update={"bicubic": bicubic, "config": record.config | beside})
    folder = FinalFolder.of(request.workspace, record)
    dtype = PRECISIONS[precision]
    return FinalPlan(request, architecture, network, config, device, dtype, threads, train, sets, record, folder)


def _record(
    request: FinalRequest,
    architecture: Architecture,
    config: TrainingConfig,
    sets: dict[str, tuple[Pair, ...]],
    **depends: str,
) -> FinalRecord:
    """Return the record of a training, whose weights depend on ``depends`` beside the schedule."""
    schedule = {f"training.{name}": value for name, value in config.model_dump(exclude={"rungs"}).items()}
    blocks = {f"blocks.{name}": source for name, source in architecture.sources.items()}
    protocol = {**schedule, **depends, **blocks, "checkpoint": _digest(request.checkpoint)}
    validation = {
        "validate_every": config.rung_iterations[0],
        "validation": ", ".join(f"{name} ({len(pairs)} photographs)" for name, pairs in sets.items()),
    }
    judged = find_judged(request.workspace, architecture.key)
    return FinalRecord(
        architecture=architecture,
        protocol=hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:12],
        config=protocol | validation,
        bicubic={},
        study=judged.study.name if judged else "",
        trial=judged.trial.number if judged else None,
    )


def _schedule(request: FinalRequest, architecture: Architecture) -> TrainingConfig:
    names = ("iterations", "patch", "batch", "learning_rate", "seed")
    given: dict[str, Any] = {name: getattr(request, name) for name in names}
    if request.learning_rate is None:
        given["learning_rate"] = scaled_rate(max(1, request.iterations))
    config = parse(TrainingConfig, {**given, **MUON}, "training")
    every = request.validate_every
    if every is None:
        every = max(1, config.iterations // _VALIDATIONS)
    if every < 1:
        raise InputError(f"--validate-every must be at least 1, but got {every}.")
    if config.patch < architecture.min_size:
        raise InputError(
            f"patch >= {architecture.min_size} must hold for the blocks of {architecture}, but got "
            f"patch={config.patch}."
        )
    steps = range(every, config.iterations, every)
    return config.model_copy(update={"rungs": (*(step / config.iterations for step in steps), 1.0)})


def precision_on(device: torch.device, name: str) -> str:
    """Return the name of the data type of the forward pass; ``auto`` is what a search takes on that device."""
    if name == "auto":
        return next(known for known, dtype in PRECISIONS.items() if dtype == Compute(device).autocast)
    if name not in PRECISIONS:
        raise unknown_name("precision", name, ("auto", *PRECISIONS))
    return name


def _initial(request: FinalRequest, architecture: Architecture) -> nn.Module:
    if request.checkpoint is None:
        return build_seeded(architecture, request.seed)
    network = load_network(architecture, request.checkpoint)
    if network.deployed:
        raise InputError(
            f"--checkpoint must hold weights in training form, but those of '{request.checkpoint}' are folded; give "
            "the file that the training wrote."
        )
    return network


def _digest(path: Path | None) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path else ""
