"""Search strategies replayed on what a study has recorded: which sampler, with or without rungs, gets farther for less.

A strategy may take only what was recorded: networks that were trained to the end, with their curves. Where a sampler
proposes another one, the nearest recorded one that it has not had takes its place (the one that differs in the fewest
genes), and the sampler is told that one. The cost of a network is what its training had cost when it was stopped.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from srnas.leaderboard import StudyRecord, TrialRecord, hypervolume
from srnas.nas.front_sampler import FrontSampler
from srnas.nas.proposals import PartCounter, SpaceDomain
from srnas.nas.rungs import Halving, RungResult
from srnas.nas.samplers import FRONT, check_sampler, make_baseline
from srnas.nas.settings import RUNGS, Budgets, StudySettings
from srnas.search_space import Architecture, InputError, SearchSpace, unknown_name

# Shares of the cost of training everything, at which strategies are compared.
CHECKS = (0.1, 0.25, 0.5, 1.0)
# A study with fewer networks says nothing about strategies.
_LEAST = 8


@dataclass(frozen=True)
class Recording:
    """The networks of a study that can be replayed.

    Attributes:
        study: The study.
        settings: Its settings.
        space: Its space.
        trials: Trained to the end, by key.
        num_judged: All that the study has judged.
    """

    study: StudyRecord
    settings: StudySettings
    space: SearchSpace
    trials: dict[str, TrialRecord]
    num_judged: int

    @classmethod
    def of(
        cls, study: StudyRecord, settings: StudySettings, space: SearchSpace, records: Sequence[TrialRecord]
    ) -> "Recording":
        """Return what can be replayed of a study.

        Raises:
            InputError: If that is too little.
        """
        trials = {record.genotype.key: record for record in records if record.point and len(record.rungs) > 1}
        if len(trials) < _LEAST:
            raise InputError(
                f"study '{study.name}' must hold at least {_LEAST} networks trained to the end, but it holds "
                f"{len(trials)} of {len(records)}; extend it, or run one with --rungs none."
            )
        return cls(study, settings, space, trials, len(records))

    @property
    def reference(self) -> tuple[float, float]:
        """The reference point of the hypervolume."""
        return self.study.reference_psnr_y_db, self.study.reference_latency_ms


@dataclass(frozen=True)
class Replayed:
    """A strategy over all seeds.

    Attributes:
        sampler: Its sampler.
        rungs: ``halving`` or ``none``.
        seeds: Number of runs.
        hypervolume: Mean share of the recorded hypervolume at each of ``CHECKS`` of the cost.
        standard_error: Of these means.
        cost: Mean share of the cost of training everything that the strategy needed for all.
    """

    sampler: str
    rungs: str
    seeds: int
    hypervolume: tuple[float, ...]
    standard_error: tuple[float, ...]
    cost: float


def replay(recording: Recording, sampler: str, rungs: str, seeds: int) -> Replayed:
    """Run a strategy on a recording with several seeds.

    Raises:
        InputError: If there is no such sampler or rule.
    """
    check_sampler(sampler)
    if rungs not in RUNGS:
        raise unknown_name("rungs", rungs, RUNGS)
    if seeds < 1:
        raise InputError(f"seeds >= 1 must hold, but got seeds={seeds}.")
    whole = hypervolume([t.point for t in recording.trials.values() if t.point], recording.reference)
    runs = [_Run(recording, sampler, rungs, seed).run() for seed in range(seeds)]
    total = float(sum(trial.rungs[-1].iteration for trial in recording.trials.values()))
    shares = [[_at(run, check * total) / whole for run in runs] for check in CHECKS]
    return Replayed(
        sampler=sampler,
        rungs=rungs,
        seeds=seeds,
        hypervolume=tuple(statistics.fmean(values) for values in shares),
        standard_error=tuple(statistics.stdev(v) / len(v) ** 0.5 if len(v) > 1 else 0.0 for v in shares),
        cost=statistics.fmean(run[-1][0] for run in runs) / total,
    )


Step = tuple[float, float]


def _at(run: Sequence[Step], cost: float) -> float:
    """Return the hypervolume that a run had at a cost."""
    return max((volume for spent, volume in run if spent <= cost * (1 + 1e-9)), default=0.0)


class _Run:
    """One run of a strategy until everything recorded was had."""

    def __init__(self, recording: Recording, sampler: str, rungs: str, seed: int) -> None:
        self.recording = recording
        self.halving = Halving() if rungs == "halving" else None
        self.rng = random.Random(seed)
        self.left = dict(recording.trials)
        self.reached: dict[int, list[RungResult]] = {}
        self.params = {key: recording.space.params(trial.genotype) for key, trial in recording.trials.items()}
        self.study = optuna.create_study(directions=["maximize", "minimize"], sampler=self._sampler(sampler, seed))

    def _sampler(self, name: str, seed: int) -> BaseSampler:
        if name != FRONT:
            return make_baseline(name, seed)
        return FrontSampler(
            RecordedDomain(self.recording, self.left), seed=seed, reference_point=self.recording.reference
        )

    def run(self) -> list[Step]:
        """Return cost and hypervolume after each network."""
        steps, points, spent = [], [], 0.0
        while self.left:
            trial = self.study.ask()
            proposed = self.recording.space.suggest(trial)
            if proposed.key not in self.left:
                self.study.tell(trial, state=TrialState.FAIL)
                self.study.enqueue_trial(self.params[self._nearest(self.recording.space.params(proposed))])
                trial = self.study.ask()
                proposed = self.recording.space.suggest(trial)
            record = self.left.pop(proposed.key)
            cost, finished = self._train(record)
            spent += cost
            if finished and record.point:
                points.append(record.point)
                self.study.tell(trial, list(record.point))
            else:
                self.study.tell(trial, state=TrialState.PRUNED)
            steps.append((spent, hypervolume(points, self.recording.reference)))
        return steps

    def _train(self, record: TrialRecord) -> tuple[float, bool]:
        """Return the iterations until a rung stops a network, or the end, and whether it got there."""
        assert record.latency
        for rung in record.rungs[:-1]:
            result = RungResult(record.genotype.key, rung.psnr_y_db, record.latency.stable_ms)
            others = self.reached.setdefault(rung.iteration, [])
            survives = self.halving is None or self.halving.decide(result, others).survives
            others.append(result)
            if not survives:
                return float(rung.iteration), False
        return float(record.rungs[-1].iteration), True

    def _nearest(self, proposed: Mapping[str, Any]) -> str:
        """Return the key of the recorded network left that differs in the fewest genes; of several, a random one."""
        genes = _genes(proposed)
        distances = {
            key: sum(genes.get(g) != v for g, v in _genes(self.params[key]).items()) for key in sorted(self.left)
        }
        least = min(distances.values())
        return self.rng.choice([key for key, distance in distances.items() if distance == least])


def _genes(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition("@")[0]: value for name, value in params.items()}


class RecordedDomain(SpaceDomain):
    """The recorded networks that are left, with their latencies, as a problem of the front sampler."""

    def __init__(self, recording: Recording, left: Mapping[str, TrialRecord]) -> None:
        measured = {t.genotype: t.latency.stable_ms for t in recording.trials.values() if t.latency}
        super().__init__(recording.space, Budgets(), PartCounter(recording.settings.latency_input), measured)
        self._left = left

    def sample(self, rng: random.Random) -> Architecture:
        """Return a random one that is left; neighbours and children are drawn so too."""
        return rng.choice(list(self._left.values())).genotype

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return a random one that is left."""
        return self.sample(rng)

    def cross_over(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """Return a random one that is left."""
        return self.sample(rng)

    def reduce(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return a random one that is left."""
        return self.sample(rng)
