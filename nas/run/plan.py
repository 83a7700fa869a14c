"""What a search needs before it starts: everything is checked before anything is written."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from srnas.leaderboard.record.studies import StudyRecord
from srnas.nas.images.evaluation import reference_quality
from srnas.nas.images.pairs import Pair, least_side
from srnas.nas.images.photos import PhotoSet, embedded_photos, load_set
from srnas.nas.judging.judge import brief_protocol
from srnas.nas.judging.timed_scorer import stand_in
from srnas.nas.run.request import AUTO, SearchRequest
from srnas.nas.study.options import Budgets, StudyOptions
from srnas.nas.study.settings import StudySettings, check_name, digest, own_blocks
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.storage import patiently
from srnas.nas.study.stored import StoredStudy
from srnas.nas.training.loop import build_seeded
from srnas.nas.training.schedule import MUON, TrainingConfig, scaled_rate
from srnas.nas.workspace.studies import load_front
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Counts, Target, count, measure_latency, resolve_device
from srnas.profiling.runtimes import RuntimeFailedError, check_any_size
from srnas.profiling.targets import describe, resolve_target
from srnas.search_space import Architecture, Choice, InputError, Network, Position, SearchSpace, human_designs
from srnas.search_space.architecture import End, GlobalSkip
from srnas.search_space.errors import parse

Sized = tuple[Architecture, Counts]

# So many of the smallest networks are timed to see whether one of them meets a budget.
_TIMED = 3


@dataclass(frozen=True, eq=False)
class Plan:
    """A request that was checked.

    Attributes:
        request: What a user asked for.
        workspace: Where everything is kept.
        space: Where candidates come from.
        settings: What the study is fixed by.
        target: What is timed.
        photos: The photographs to train on, and those held out.
        url: URL of the study's storage.
        known: What the study holds; ``None`` if there is none yet.
        first: What is judged before any proposal.
    """

    request: SearchRequest
    workspace: Workspace
    space: SearchSpace
    settings: StudySettings
    target: Target
    photos: tuple[PhotoSet, PhotoSet]
    url: str
    known: Snapshot | None
    first: tuple[Architecture, ...] = ()

    @property
    def is_gone_on_from(self) -> bool:
        """Whether the best of the study continue to a longer training."""
        return len(self.settings.training.lengths) < len(self.request.ladder)


def find_known(url: str, name: str, on_note: Callable[[str], None]) -> Snapshot | None:
    """Return what a study holds, or ``None`` if there is none; a storage that does not answer is waited for.

    Raises:
        InputError: If the study cannot be continued.
        StorageLostError: If the storage does not answer for too long.
    """

    def find() -> Snapshot | None:
        stored = StoredStudy.find(url, name)
        return stored.snapshot() if stored else None

    known = patiently(find, url, on_note)
    if known:
        known.check_usable()
    return known


def plan_search(
    request: SearchRequest, on_note: Callable[[str], None] = lambda _: None, *, as_worker: bool = False
) -> Plan:
    """Check a request without writing anything.

    Args:
        request: What a user asks for.
        on_note: Told if the storage of the study does not answer.
        as_worker: Whether the study is joined: its device may have another number here.

    Raises:
        InputError: If anything that was given cannot be used.
        StorageLostError: If the storage does not answer for too long.
    """
    device = resolve_device(request.device)
    chosen = request.runtime, request.dtype, request.memory_format, request.threads
    target = resolve_target(request.timed_on or str(device), *chosen)
    if target.dtype != "float32":
        # The end of the search scores the front in that type, for a board too.
        check_any_size(stand_in(target))
    space = SearchSpace.load(request.space, request.scale)
    workspace, name = Workspace(request.workspace), study_name(request, space)
    url = workspace.study_url(name, request.storage)
    known = find_known(url, name, on_note)
    begun = known.settings if known else None
    training = training_config(request, space, begun.training if begun else None)
    timed_input = latency_input(space, request.latency_input)
    photos = load_photos(request, space, training, begun)
    settings = study_settings(request, space, device, training, timed_input, photos)
    if not target.board and target.device == device:
        settings = settings.model_copy(update={"timed_on": ""})
    if begun is not None:
        # A study of an earlier version does not say what its blocks were.
        settings = settings if begun.blocks else settings.model_copy(update={"blocks": {}})
        settings.check_same(begun.model_copy(update={"device": settings.device}) if as_worker else begun)
    else:
        check_feasible(settings, space, target)
    if not as_worker:
        check_workers(request, device, target)
        # Before the first length is trained.
        for multiple in request.ladder[1:]:
            longer_name(settings, training.longer(multiple))
    first = [] if as_worker or not request.enqueue else load_front(workspace, request.enqueue, space, request.storage)
    judged = {record.architecture.key for record in known.as_judged} if known else set()
    first = [one for one in first if one.key not in judged]
    return Plan(request, workspace, space, settings, target, photos, url, known, tuple(first))


def check_workers(request: SearchRequest, device: torch.device, target: Target) -> None:
    """Raise ``InputError`` if the workers that were asked for could not run.

    Args:
        request: What a user asks for.
        device: What trains.
        target: What is timed.
    """
    if request.address and request.engine != "ray":
        raise InputError(f"--address needs --engine ray, but got --engine {request.engine}; give both or neither.")
    # Each of several workers sees one GPU only.
    is_another = target.board is None and {device.type, target.device.type} == {"cuda"} and device != target.device
    if is_another and (request.engine == "ray" or request.workers not in (1, AUTO)):
        raise InputError(
            f"workers must be 1 where '{device}' trains and '{target.device}' is timed, without --engine ray, but got "
            f"workers={request.workers} and engine={request.engine}; give --workers 1, or time where you train."
        )


def longer_name(settings: StudySettings, training: TrainingConfig) -> str:
    """Return the name of the study that continues another to a longer schedule.

    Raises:
        InputError: If a study cannot be called so.
    """
    before = settings.training
    first = settings.name.removesuffix(f".{before.iterations}") if before.annealed else settings.name
    return check_name(f"{first}.{training.iterations}")


def training_config(request: SearchRequest, space: SearchSpace, known: TrainingConfig | None = None) -> TrainingConfig:
    """Return the schedule: what was asked for, else that of the study, else the space's defaults.

    Args:
        request: What a user asks for.
        space: Where candidates come from.
        known: The schedule that the study was started with, if it exists.

    Raises:
        InputError: If it is not valid, the patch is too small for the blocks, or the study belongs to another rule of
            Muon's rate.
    """
    names = ("patch", "batch", "iterations", "learning_rate")
    if known:
        known.check_rule()
    defaults = known.model_dump() if known else {**space.defaults.model_dump(include=set(names)), **MUON}
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    # A length that cannot be is refused below.
    if not known and given.get("iterations", 0) > 0:
        length = given["iterations"]
        defaults["learning_rate"] = scaled_rate(length, defaults["learning_rate"], defaults["iterations"])
    config = parse(TrainingConfig, {**defaults, **given, "seed": request.seed}, "training")
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


def study_name(request: SearchRequest, space: SearchSpace) -> str:
    """Return the name that was given, else one of the space and the scale.

    Raises:
        InputError: If a study cannot be called so.
    """
    return check_name(request.study or f"{space.name}-x{request.scale}")


def load_photos(
    request: SearchRequest, space: SearchSpace, training: TrainingConfig, known: StudySettings | None = None
) -> tuple[PhotoSet, PhotoSet]:
    """Return the photographs to train on and those held out.

    Args:
        request: What a user asks for.
        space: Where candidates come from.
        training: The schedule.
        known: The settings of the study, if it has begun: one of an earlier version judges by the embedded photographs
            of then.

    Raises:
        InputError: If there are none that are large enough.
    """
    scale = request.scale
    how = {"every_image": request.every_image, "raw_colours": request.raw_colours}
    train = load_set(request.train, scale, "train", **how) if request.train else embedded_photos("train")
    if request.validation:
        validation = load_set(request.validation, scale, "held-out", **how)
    else:
        # The photographs of before are decoded only where a study may be judged by them.
        is_of_before = known is not None and known.validation == embedded_photos("held-out-before").described
        validation = embedded_photos("held-out-before" if is_of_before else "held-out")
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
    train, validation = (p.described for p in photos)
    shared = {name: getattr(request, name) for name in StudyOptions.model_fields}
    resolved = {
        "name": study_name(request, space),
        "space": space.name,
        "space_digest": digest(space),
        "train": train,
        "validation": validation,
        "device": str(device),
        "latency_input": timed_input,
        "training": training,
        "blocks": own_blocks(space),
    }
    return parse(StudySettings, shared | resolved, "study")


def smallest(space: SearchSpace, input_shape: tuple[int, int, int, int]) -> list[Sized]:
    """Return the smallest networks with their sizes, fewest MACs first.

    These are a narrow host without, or with the cheapest, positions, with each end, tail and skip.
    """
    content = space.content

    def sized(channels: int, body: tuple[Position, ...], end: End, tail: Choice, skip: GlobalSkip) -> Sized:
        architecture = Architecture(
            scale=space.scale,
            channels=channels,
            positions=body,
            end=end,
            tail=tail,
            global_skip=skip,
            input_range=content.input_range[0],
            mean_shift=content.mean_shift[0],
        )
        return architecture, count(Network(architecture).deploy(), input_shape)

    def macs(one: Sized) -> int:
        return one[1].macs

    ends: tuple[End, ...] = ("none",) if "none" in content.end else content.end
    outer = [(end, tail, skip) for end in ends for tail in content.tail for skip in space.skips(tail)]
    inner: list[tuple[int, tuple[Position, ...]]] = []
    for channels in sorted(set(content.channels)):
        free = not content.positions or space.has_identity
        bodies = [()] if free else [(position,) * content.positions for position in space.alphabet(channels)]
        inner += [(channels, body) for body in bodies]
    # What surrounds the body grows with the width only.
    best = min((sized(channels, body, *outer[0]) for channels, body in inner), key=macs)[0]
    return sorted((sized(best.channels, best.positions, *one) for one in outer), key=macs)


def check_feasible(settings: StudySettings, space: SearchSpace, target: Target) -> None:
    """Raise ``InputError`` if not even the smallest networks of the space meet the budgets."""
    if settings.budgets == Budgets():
        return
    shape = (1, 3, *settings.latency_input)
    found = smallest(space, shape)
    fastest_ms = None
    if settings.budgets.max_latency_ms is not None:
        # MACs hardly tell which of them is the fastest.
        timed = sorted(found, key=lambda one: one[1].activations)[:_TIMED]
        fastest_ms = min(_fastest_ms([one for one, _ in timed], shape, target))
    least_k, least_g = (
        min(getattr(counts, name) for _, counts in found) / unit for name, unit in (("params", 1e3), ("macs", 1e9))
    )
    exceeded = settings.budgets.exceeded(fastest_ms=fastest_ms, params_k=least_k, macs_g=least_g)
    if exceeded:
        raise InputError(
            f"some candidate of space '{space.name}' must meet the budgets, but the smallest do not ({exceeded}); "
            "raise the budget, or lower --latency-input."
        )


def _fastest_ms(
    architectures: Sequence[Architecture], shape: tuple[int, int, int, int], target: Target
) -> Iterator[float]:
    """Yield the latency of each that the runtime runs.

    Raises:
        RuntimeFailedError: If it runs none.
    """
    refused: list[RuntimeFailedError] = []
    for one in architectures:
        try:
            measured = measure_latency({"": Network(one).deploy()}, shape, target)
        except RuntimeFailedError as error:
            refused.append(error)
        else:
            yield measured.latencies[""].fastest_ms
    if len(refused) == len(architectures):
        raise refused[0]


def study_record(plan: Plan, validation: tuple[Pair, ...], name: str) -> StudyRecord:
    """Fix what all trials are compared with: bicubic, the device, and the hypervolume's reference point.

    Raises:
        InputError: If no held-out photograph tells networks apart.
    """
    settings = plan.settings
    bicubic = reference_quality(name, validation, settings.scale)
    limit = settings.budgets.max_latency_ms
    return StudyRecord(
        name=settings.name,
        scale=settings.scale,
        config=settings.flat(),
        validation=name,
        bicubic_psnr_y_db=bicubic.mean_psnr_y_db,
        bicubic_ssim_y=bicubic.mean_ssim_y,
        device=describe(plan.target),
        reference_psnr_y_db=bicubic.mean_psnr_y_db,
        reference_fastest_ms=limit or _slowest_design_ms(plan),
    )


def _slowest_design_ms(plan: Plan) -> float:
    shape = (1, 3, *plan.settings.latency_input)
    designs = human_designs(plan.space) or {"smallest": smallest(plan.space, shape)[0][0]}
    networks = {name: build_seeded(design, 0).deploy() for name, design in designs.items()}
    measured = measure_latency(networks, shape, plan.target, protocol=brief_protocol(plan.target, len(networks)))
    return max(latency.fastest_ms for latency in measured.latencies.values())
