"""Finished trials as a small world in which search strategies can be tried again."""

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnas.leaderboard.record.trials import Rung, TrialRecord
from srnas.nas.run.plan import latency_input
from srnas.nas.strategy.domain import Params
from srnas.nas.study.options import Budgets
from srnas.nas.study.settings import digest
from srnas.nas.study.space_domain import PartCounter, SpaceDomain
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import Architecture, InputError, SearchSpace
from srnas.search_space.space_file import space_names

COSTS = ("iterations", "seconds")

# A mutation is one of so many recorded neighbours, or is as near.
_NEIGHBOURS = 6
_ABSENT, _UNKNOWN = 0, -1


@dataclass(frozen=True)
class Recorded:
    """A trial with its whole curve.

    Attributes:
        architecture: What was trained.
        params: Optuna's parameters of the architecture in the study's space.
        design: Name of the human design, if it is one.
        fastest_ms: Fastest round of the network in milliseconds.
        psnr_db: PSNR in dB at the end of the training.
        rungs: PSNR during training; the last rung is the end.
        train_s: Seconds of the whole training.
    """

    architecture: Architecture
    params: Params
    design: str
    fastest_ms: float
    psnr_db: float
    rungs: tuple[Rung, ...]
    train_s: float

    def cost(self, rung: Rung, unit: str) -> float:
        """Return what training to a rung takes: ``iterations``, or their share of the ``seconds``."""
        last = self.rungs[-1].iteration
        return float(rung.iteration) if unit == "iterations" else self.train_s * rung.iteration / last


class Recording:
    """The trials of a study or of a table that can be replayed, with the distance between them.

    Args:
        name: What was recorded, in words.
        reference_point: PSNR in dB and latency in ms of the hypervolume's reference point.
        space: The search space of the trials.
        trials: The trials with their whole curves.
        num_records: Number of recorded trials; those that cannot be replayed count too.
    """

    def __init__(
        self,
        name: str,
        reference_point: tuple[float, float],
        space: SearchSpace,
        trials: Sequence[Recorded],
        num_records: int,
    ) -> None:
        self.name = name
        self.reference_point = reference_point
        self.space = space
        self.trials = tuple(trials)
        self.num_records = num_records
        self.index = {trial.architecture.key: i for i, trial in enumerate(self.trials)}
        genes = [_genes(trial.params) for trial in self.trials]
        self.genes = sorted({gene for of_trial in genes for gene in of_trial})
        self._codes: dict[tuple[str, Any], int] = {}
        for of_trial in genes:
            for pair in of_trial.items():
                self._codes.setdefault(pair, len(self._codes) + 1)
        self.matrix = np.stack([self.encode(trial.params) for trial in self.trials])

    def encode(self, params: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return a code per gene; a value that was never recorded equals none."""
        values = _genes(params)
        codes = [self._codes.get((g, values[g]), _UNKNOWN) if g in values else _ABSENT for g in self.genes]
        return np.array(codes, dtype=np.int64)

    def distances(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the Hamming distance of each trial to a code."""
        differing: NDArray[np.int64] = np.count_nonzero(self.matrix != code, axis=1)
        return differing

    def nearest(self, code: NDArray[np.int64], candidates: Collection[int], rng: random.Random) -> int:
        """Return the candidate of the least Hamming distance to a code; of equally near ones a random one."""
        pool = np.array(sorted(candidates))
        distances = self.distances(code)[pool]
        return int(rng.choice(pool[distances == distances.min()]))

    @cached_property
    def space_domain(self) -> SpaceDomain:
        """The whole space as a search sees it that knows the recorded latencies."""
        measured_ms = {trial.architecture: trial.fastest_ms for trial in self.trials}
        return SpaceDomain(self.space, Budgets(), PartCounter(latency_input(self.space, None)), measured_ms)

    def total_cost(self, unit: str) -> float:
        """Return what training all of them to the end takes."""
        return sum(trial.cost(trial.rungs[-1], unit) for trial in self.trials)


class RecordedDomain:
    """The recorded trials as the problem of a sampler that proposes whole candidates, here numbers of trials.

    Args:
        recording: The trials.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        # Each proposal asks for many neighbours, of few trials.
        self._near = cache(self._neighbours)
        self._features = [recording.space_domain.features(trial.architecture) for trial in recording.trials]

    def sample(self, rng: random.Random) -> int:
        """Return a random trial."""
        return rng.randrange(len(self._recording.trials))

    def mutate(self, candidate: int, rng: random.Random) -> int:
        """Return one of the nearest trials."""
        return rng.choice(self._near(candidate, is_faster=False) or [candidate])

    def cross_over(self, first: int, second: int, rng: random.Random) -> int:
        """Return the trial nearest to a mixture of the genes of two, if possible another."""
        rows = self._recording.matrix[first], self._recording.matrix[second]
        child = np.array([rng.choice(codes) for codes in zip(*rows, strict=True)])
        others = set(range(len(self._recording.trials))) - {first, second}
        return self._recording.nearest(child, others or {first}, rng)

    def reduce(self, candidate: int, rng: random.Random) -> int:
        """Return one of the nearest faster trials, or a mutation of the fastest."""
        faster = self._near(candidate, is_faster=True)
        return rng.choice(faster) if faster else self.mutate(candidate, rng)

    def key(self, candidate: int) -> str:
        """Return the key of the network."""
        return self._recording.trials[candidate].architecture.key

    def encode(self, candidate: int) -> Params:
        """Return Optuna's parameters."""
        return self._recording.trials[candidate].params

    def decode(self, params: Mapping[str, Any]) -> int | None:
        """Return the trial of Optuna's parameters, or ``None`` if there is none."""
        same = np.flatnonzero(self._recording.distances(self._recording.encode(params)) == 0)
        return int(same[0]) if len(same) else None

    def features(self, candidate: int) -> list[list[float]]:
        """Return the features that a search models its candidates on."""
        return self._features[candidate]

    def cheap(self, candidates: Sequence[int]) -> list[float | None]:
        """Return the recorded latency of each in milliseconds."""
        return [self._recording.trials[candidate].fastest_ms for candidate in candidates]

    def _neighbours(self, candidate: int, is_faster: bool) -> list[int]:
        """Return the nearest other trials, of all or of the faster ones; what is as near as the last is among them."""
        trials = self._recording.trials
        limit = trials[candidate].fastest_ms if is_faster else math.inf
        pool = np.array([i for i, trial in enumerate(trials) if i != candidate and trial.fastest_ms < limit], dtype=int)
        distances = self._recording.distances(self._recording.matrix[candidate])[pool]
        near = distances <= np.sort(distances)[:_NEIGHBOURS][-1:]
        return [int(i) for i in pool[near]]


def load_recording(workspace: Workspace, study: str, space: str | None = None, storage: str | None = None) -> Recording:
    """Return the replayable trials of a study.

    Args:
        workspace: The workspace that holds the study.
        study: Name of the study.
        space: Path of the space's file, where it is not a shipped one.
        storage: URL of the study's storage, where it is not a file of the workspace.

    Raises:
        InputError: If there is no such study, its space is not found or has changed, or fewer than two trials can be
            replayed.
    """
    settings, record, trials = load_study(workspace, study, storage)
    search_space = load_space(f"study '{study}'", settings.space, settings.scale, settings.space_digest, space)
    last = settings.training.iterations
    whole = [trial for trial in trials if _is_whole(trial, settings.training.rung_iterations)]
    # A network that was judged twice is one place in the recording.
    distinct = {trial.architecture.key: trial for trial in reversed(whole)}
    if len(distinct) < 2:
        raise InputError(
            f"study '{study}' must hold two or more complete trials with all rungs up to {last} iterations to replay, "
            f"but holds {len(distinct)}; run a longer search with --rungs none."
        )
    reference_point = record.reference_psnr_y_db, record.reference_fastest_ms
    # What goes on from one length to the next, no rule of rungs decides.
    asked = {*settings.training.rung_iterations} - {*settings.training.annealed}
    recorded = [_recorded(trial, search_space, asked) for trial in reversed(distinct.values())]
    return Recording(f"study '{record.name}'", reference_point, search_space, recorded, len(trials))


def load_space(of: str, name: str, scale: int, content: str, given: str | None) -> SearchSpace:
    """Return the space of what was recorded, as it was then.

    Args:
        of: What was recorded, in words.
        name: Name of the space's file.
        scale: Upscaling factor.
        content: Digest of the space's content.
        given: Path of the space's file, where it is not a shipped one.

    Raises:
        InputError: If the space is not found, or has changed.
    """
    if given is None and name not in space_names():
        raise InputError(
            f"the space of {of} must be found, but only the name '{name}' of its file is recorded; give its path with "
            "--space."
        )
    space = SearchSpace.load(given or name, scale)
    if digest(space) != content:
        raise InputError(
            f"space '{space.name}' must be as it was when {of} was begun (digest {content}), but its digest is "
            f"{digest(space)}; give the old file with --space."
        )
    return space


def _is_whole(trial: TrialRecord, iterations: Sequence[int]) -> bool:
    return trial.point is not None and {rung.iteration for rung in trial.rungs} >= set(iterations)


def _recorded(trial: TrialRecord, space: SearchSpace, iterations: Collection[int]) -> Recorded:
    assert trial.point
    psnr_db, fastest_ms = trial.point
    params = space.params(trial.architecture)
    judged = [rung for rung in trial.rungs if rung.iteration in iterations]
    rungs = tuple(sorted(judged, key=lambda rung: rung.iteration))
    return Recorded(trial.architecture, params, trial.design, fastest_ms, psnr_db, rungs, trial.train_s)


def _genes(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by gene; what restricts a gene's choices is no part of its name."""
    return {name.partition("@")[0]: value for name, value in params.items()}
