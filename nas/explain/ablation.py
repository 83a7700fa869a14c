"""Attention switched off by position, with or without a short training: its cost in PSNR, its gain in latency.

The question is that of Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021
(https://arxiv.org/abs/2104.09497): is attention always beneficial, and at which depth?
"""

import copy
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import nn

from srnas.leaderboard.rank.paired import PairedDifference, paired_difference
from srnas.nas.errors import DivergedError
from srnas.nas.explain.places import Place, attention_places, replaced
from srnas.nas.explain.ways import WAYS, Way, identities, mean_responses, plain_branches
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import Pair
from srnas.nas.images.patches import PatchSampler
from srnas.nas.training.loop import Compute, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.profiling import InputShape, Latency, LatencyProtocol, Target, measure_latency
from srnas.profiling.order_statistics import median_interval
from srnas.search_space import InputError, Network

Scope = Literal["alone", "first", "last", "pair"]
"""What is off: one position; all from the first, or all up to the last, to one; or two."""

# What is said of progress: a stage, how much of it is done, and its total.
OnProgress = Callable[[str, int, int], None]


class Saving(NamedTuple):
    """Latency that the network saves without the attention, paired by round: the median with its 95 % interval."""

    ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class Ablation:
    """What switching attention off does.

    Attributes:
        places: Where it is off.
        way: How.
        scope: Which places these are.
        psnr_y_db: Mean PSNR-Y of the ablated network in dB; not a number if its output is not finite.
        change: PSNR-Y of the ablated network less that of the whole, paired by image; ``None`` if that is not finite.
        saving: Latency that is saved, if it was measured.
        tuned: The same change after both were trained for a while, if they were and neither diverged.
    """

    places: tuple[Place, ...]
    way: Way
    scope: Scope
    psnr_y_db: float
    change: PairedDifference | None
    saving: Saving | None = None
    tuned: PairedDifference | None = None

    @property
    def label(self) -> str:
        """The places in words."""
        first, last = self.places[0], self.places[-1]
        if self.scope == "pair":
            return f"{first}, {last}"
        return str(first) if first == last else f"{first} to {last}"

    @property
    def db_per_ms(self) -> float | None:
        """What the attention gives for each millisecond that it takes; ``None`` unless it surely takes some."""
        if self.change is None or self.saving is None or self.saving.low_ms <= 0:
            return None
        return -self.change.mean_db / self.saving.ms


@dataclass(frozen=True, eq=False)
class AblationReport:
    """All ablations of a network.

    Attributes:
        psnr_y_db: Mean PSNR-Y of the whole network in dB.
        images: Names of the photographs.
        ablations: What was tried.
        latency: The whole network's, if it was timed.
        tuned_psnr_y_db: Mean PSNR-Y of the whole network in dB after the short training; not a number if it diverged.
    """

    psnr_y_db: float
    images: tuple[str, ...]
    ablations: tuple[Ablation, ...]
    latency: Latency | None = None
    tuned_psnr_y_db: float | None = None


@dataclass(frozen=True)
class Timing:
    """How the latencies are measured: at an input of ``(1, 3, H, W)``, on a target, by a protocol."""

    input_shape: InputShape
    target: Target
    protocol: LatencyProtocol


@dataclass(frozen=True, eq=False)
class Finetuning:
    """A short training of every ablated network: patches and schedule."""

    patches: PatchSampler
    config: TrainingConfig


@dataclass(frozen=True)
class Scopes:
    """What is switched off.

    Attributes:
        ways: How; ``branch`` where there is one.
        cumulative: Whether also cumulatively, from either end.
        pairs: Whether also every pair of places.
    """

    ways: Sequence[Way] = WAYS
    cumulative: bool = True
    pairs: bool = False

    def of(self, places: Sequence[Place]) -> Iterator[tuple[Scope, tuple[Place, ...]]]:
        """Yield what is switched off in one of the ways."""
        for place in places:
            yield "alone", (place,)
        if self.cumulative:
            for number in range(2, len(places) + 1):
                yield "first", tuple(places[:number])
            for number in range(2, len(places)):
                yield "last", tuple(places[-number:])
        if self.pairs:
            for pair in itertools.combinations(places, 2):
                yield "pair", pair


_Off = Mapping[Place, list[nn.Module]]


def ablate(
    network: Network,
    pairs: Sequence[Pair],
    device: torch.device,
    *,
    scopes: Scopes = Scopes(),
    timing: Timing | None = None,
    finetuning: Finetuning | None = None,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
) -> AblationReport:
    """Switch the attention of a network off, place by place, and score what is left.

    Args:
        network: A network in deploy form on ``device``; it is left as it was.
        pairs: The photographs.
        device: The device that holds the network.
        scopes: What is switched off, and how.
        timing: How latencies are measured, in the same rounds as the whole network's; without it they are not.
        finetuning: Also a short training of each network with one place off, and of the whole; without it none.
        on_progress: Told of the stage, and how much of it is done.

    Raises:
        InputError: If no position has attention, none can be switched off in these ways, or the whole network's output
            is not finite.
        DeviceBusyError: If another process holds the device for too long.
    """
    places = attention_places(network)
    known: dict[Way, _Off] = {
        "identity": identities(network),
        "mean": mean_responses(network, pairs, device) if "mean" in scopes.ways else {},
        "branch": plain_branches(network),
    }
    jobs = [
        (scope, off, way)
        for way in scopes.ways
        for scope, off in scopes.of([place for place in places if place in known[way]])
    ]
    if not jobs:
        raise InputError(
            f"an attention block of {network.architecture} must have a plain branch for --ways branch, but none has; "
            "give --ways identity,mean."
        )
    whole = _scores(network, pairs, device)
    if whole is None:
        raise InputError("a network's output must be finite, but it is not; check the weights and their network.")
    found = []
    for number, (scope, off, way) in enumerate(jobs):
        on_progress("ablating", number, len(jobs))
        with replaced(network, {place: known[way][place] for place in off}):
            scores = _scores(network, pairs, device)
        found.append(Ablation(off, way, scope, _mean(scores), _change(scores, whole)))
    report = AblationReport(_mean(whole), tuple(pair.name for pair in pairs), tuple(found))
    # Before the trainings, which take far longer: a busy device would lose them.
    if timing is not None:
        report = _time(report, network, known, timing, on_progress)
    return report if finetuning is None else _tune(report, network, known, pairs, device, finetuning, on_progress)


def _scores(network: Network, pairs: Sequence[Pair], device: torch.device) -> list[float] | None:
    """Return PSNR-Y by image, not a number where it does not count; ``None`` if an output is not finite."""
    try:
        return evaluate(network, pairs, network.architecture.scale, device, with_ssim=False).counted_psnr_y_db
    except DivergedError:
        return None


def _change(scores: list[float] | None, whole: list[float] | None) -> PairedDifference | None:
    return paired_difference(scores, whole) if scores and whole else None


def _mean(scores: list[float] | None) -> float:
    finite = [score for score in scores or () if math.isfinite(score)]
    return statistics.fmean(finite) if finite else math.nan


def _time(
    report: AblationReport, network: Network, known: Mapping[Way, _Off], timing: Timing, on_progress: OnProgress
) -> AblationReport:
    """Add the savings; a mean response saves what the identity does, since a constant folds away."""
    networks, named = {"whole": network}, {}
    for ablation in report.ablations:
        way: Way = "branch" if ablation.way == "branch" else "identity"
        name = f"{way}:{ablation.label}"
        named[ablation] = name
        if name not in networks:
            with replaced(network, {place: known[way][place] for place in ablation.places}):
                networks[name] = copy.deepcopy(network)
    total = timing.protocol.max_rounds
    measured = measure_latency(
        networks,
        timing.input_shape,
        timing.target,
        protocol=timing.protocol,
        on_round=lambda done: on_progress("timing in rounds", done, total),
    ).latencies
    saved = [
        replace(ablation, saving=_saving(measured["whole"], measured[named[ablation]])) for ablation in report.ablations
    ]
    return replace(report, ablations=tuple(saved), latency=measured["whole"])


def _saving(whole: Latency, ablated: Latency) -> Saving:
    differences = [whole.rounds_ms[number] - ablated.rounds_ms[number] for number in whole.kept]
    return Saving(statistics.median(differences), *median_interval(differences))


def _tune(
    report: AblationReport,
    network: Network,
    known: Mapping[Way, _Off],
    pairs: Sequence[Pair],
    device: torch.device,
    finetuning: Finetuning,
    on_progress: OnProgress,
) -> AblationReport:
    """Train the whole network and each with one place off from equal weights on equal patches, and score them.

    What diverges before it is trained is not trained.
    """
    alone = [ablation for ablation in report.ablations if ablation.scope == "alone" and ablation.change is not None]
    on_progress("training", 0, len(alone) + 1)
    whole = _tuned_scores(network, pairs, device, finetuning)
    tuned = {}
    for number, ablation in enumerate(alone, 1):
        on_progress("training", number, len(alone) + 1)
        with replaced(network, {place: known[ablation.way][place] for place in ablation.places}):
            scores = _tuned_scores(network, pairs, device, finetuning)
        tuned[ablation] = _change(scores, whole)
    found = tuple(replace(ablation, tuned=tuned.get(ablation)) for ablation in report.ablations)
    return replace(report, ablations=found, tuned_psnr_y_db=_mean(whole))


def _tuned_scores(
    network: Network, pairs: Sequence[Pair], device: torch.device, finetuning: Finetuning
) -> list[float] | None:
    """Return PSNR-Y by image of a copy of the network that was trained in its deploy form; ``None`` if it diverges."""
    trained = copy.deepcopy(network)
    trained.deployed = False
    try:
        average, _ = train(trained.requires_grad_(), finetuning.patches, finetuning.config, Compute(device))
    except DivergedError:
        return None
    assert isinstance(average, Network)
    return _scores(average, pairs, device)
