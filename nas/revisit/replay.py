"""Tries search strategies again on what a study recorded, in seconds: nothing is trained or timed.

A strategy is a sampler with a rule that stops trials. It can only propose what was recorded: a proposal that was not is
mapped to the nearest unseen recorded architecture, by the number of genes that differ. The sampler learns of that one
and not of its proposal. Only ``front`` knows what was recorded and proposes nothing else, which favours it. All
differences are smaller than in the open: the worse of the recorded networks are all that a bad sampler can find, and
the good ones are never far away.
"""

import itertools
import random
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srnas.leaderboard.rank.front import hypervolume
from srnas.nas.optuna_private import begin_trial
from srnas.nas.revisit.recording import COSTS, Recorded, RecordedDomain, Recording
from srnas.nas.strategy.front_sampler import FrontSampler
from srnas.nas.strategy.rungs import Halving, RungResult
from srnas.nas.strategy.samplers import FRONT, check_sampler, make_baseline
from srnas.search_space import InputError, unknown_name

SamplerFactory = Callable[[int], BaseSampler]

RULES: dict[str, Halving | None] = {"halving": Halving(), "none": None}
SHARES = tuple(percent / 100 for percent in range(101))
# Attribute of a trial: what it had reached at its first rung.
_AT_RUNG = "at_rung_db"


@dataclass(frozen=True)
class Run:
    """One search with one seed.

    Attributes:
        costs: Cost that was spent when each trial ended.
        hypervolumes: Hypervolume of the trials that were complete at each of these costs.
        stopped: Number of trials that the rule stopped.
    """

    costs: tuple[float, ...]
    hypervolumes: tuple[float, ...]
    stopped: int

    def at(self, cost: float) -> float:
        """Return the hypervolume when ``cost`` was spent; a trial counts when it has ended."""
        # Sums of the same costs in another order differ in their last digits.
        ended = bisect_right(self.costs, cost * (1 + 1e-9))
        return self.hypervolumes[ended - 1] if ended else 0.0


@dataclass(frozen=True)
class Replayed:
    """A strategy over its seeds.

    Attributes:
        sampler: Name of the sampler.
        rungs: ``halving`` or ``none``.
        unit: Unit of costs: ``iterations`` or ``seconds``.
        total_cost: Cost of training as many networks to the end as a search has trials.
        mean: Mean hypervolume at each of ``SHARES`` of the total cost.
        error: Standard errors of these means over the seeds; they are not known with one seed.
        num_trials: Mean number of trials.
        num_stopped: Mean number of trials that were stopped.
    """

    sampler: str
    rungs: str
    unit: str
    total_cost: float
    mean: tuple[float, ...]
    error: tuple[float | None, ...]
    num_trials: float
    num_stopped: float

    @property
    def name(self) -> str:
        """The name of the strategy in tables and figures."""
        return self.sampler if self.rungs == "none" else f"{self.sampler} + {self.rungs}"


def sampler_factory(name: str, recording: Recording) -> SamplerFactory:
    """Return what makes the sampler of a name for a seed.

    Raises:
        InputError: If there is no such sampler.
    """
    check_sampler(name)
    if name != FRONT:
        return lambda seed: make_baseline(name, seed)
    domain = RecordedDomain(recording)

    def at_rung(trial: FrozenTrial) -> float | None:
        return trial.user_attrs.get(_AT_RUNG)

    return lambda seed: FrontSampler(domain, seed=seed, reference_point=recording.reference_point, partial=at_rung)


def replay(
    recording: Recording,
    samplers: Sequence[str],
    rungs: Sequence[str],
    *,
    seeds: int = 20,
    unit: str = "iterations",
    trials: int | None = None,
    on_run: Callable[[], None] = lambda: None,
) -> list[Replayed]:
    """Run every sampler with every rule, once per seed.

    Args:
        recording: The trials that a search can find.
        samplers: Names of samplers.
        rungs: ``halving``, ``none``.
        seeds: Number of searches of each strategy.
        unit: Unit of costs: ``iterations`` or ``seconds`` of training.
        trials: Number of trials of each search; by default it goes on until everything recorded was seen.
        on_run: Told of each search that is done.

    Raises:
        InputError: If a name is unknown, or ``seeds`` or ``trials`` is not positive.
    """
    _check(rungs, seeds, unit, trials)
    factories = {name: sampler_factory(name, recording) for name in samplers}
    whole = len(recording.trials)
    total_cost = recording.total_cost(unit) * min(trials or whole, whole) / whole
    replays = []
    for (sampler, factory), rule in itertools.product(factories.items(), rungs):
        runs = []
        for seed in range(seeds):
            runs.append(ReplayedSearch(recording, factory, RULES[rule], seed, unit).run(trials))
            on_run()
        replays.append(_replayed(sampler, rule, unit, total_cost, runs))
    return replays


def _check(rungs: Sequence[str], seeds: int, unit: str, trials: int | None) -> None:
    for name, number in (("seeds", seeds), ("trials", trials)):
        if number is not None and number < 1:
            raise InputError(f"{name} >= 1 must hold, but got {name}={number}.")
    if unit not in COSTS:
        raise unknown_name("cost", unit, COSTS)
    for rule in rungs:
        if rule not in RULES:
            raise unknown_name("rule of rungs", rule, RULES)


def _replayed(sampler: str, rungs: str, unit: str, total: float, runs: Sequence[Run]) -> Replayed:
    values = np.array([[run.at(share * total) for share in SHARES] for run in runs])
    errors = values.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else [None] * len(SHARES)
    return Replayed(
        sampler=sampler,
        rungs=rungs,
        unit=unit,
        total_cost=total,
        mean=tuple(map(float, values.mean(axis=0))),
        error=tuple(None if error is None else float(error) for error in errors),
        num_trials=statistics.fmean(len(run.costs) for run in runs),
        num_stopped=statistics.fmean(run.stopped for run in runs),
    )


class ReplayedSearch:
    """One search over a recording: the human designs first, then what the sampler proposes.

    Args:
        recording: The trials that a search can find.
        factory: Makes the sampler.
        rule: Stops trials at the recorded rungs, unless it is ``None``.
        seed: Seed of the sampler, of ties between nearest neighbours, and of the trials that the rule spares.
        unit: Unit of costs: ``iterations`` or ``seconds``.
    """

    def __init__(
        self, recording: Recording, factory: SamplerFactory, rule: Halving | None, seed: int, unit: str
    ) -> None:
        self._recording = recording
        # Each seed spares other trials, so that seeds tell what luck is worth; studies all spare the same networks.
        self._rule = rule.model_copy(update={"salt": f"{rule.salt}{seed}"}) if rule else None
        self._rng = random.Random(seed)
        self._unit = unit
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        directions = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
        self._study = optuna.create_study(directions=directions, sampler=factory(seed))
        self._unseen = dict.fromkeys(range(len(recording.trials)))
        self._reached: dict[int, list[RungResult]] = {}

    def run(self, trials: int | None = None) -> Run:
        """Search for a number of trials, by default until everything recorded was seen."""
        costs: list[float] = []
        volumes: list[float] = []
        points: list[tuple[float, float]] = []
        spent, stopped = 0.0, 0
        for known in self._recording.trials:
            if known.design:
                self._study.enqueue_trial(known.params)
        while self._unseen and (trials is None or len(costs) < trials):
            trial, recorded = self._next()
            cost, complete = self._train(trial, recorded)
            spent += cost
            stopped += not complete
            if complete:
                points.append((recorded.psnr_db, recorded.fastest_ms))
                self._study.tell(trial, points[-1])
            else:
                self._study.tell(trial, state=TrialState.PRUNED)
            costs.append(spent)
            volumes.append(hypervolume(points, self._recording.reference_point))
        return Run(tuple(costs), tuple(volumes), stopped)

    def _next(self) -> tuple[optuna.Trial, Recorded]:
        """Return a trial that the sampler takes for its own, and what was recorded of it."""
        trial = self._study.ask()
        architecture = self._recording.space.suggest(trial)
        chosen = self._recording.index.get(architecture.key)
        if chosen not in self._unseen:
            code = self._recording.encode(self._recording.space.params(architecture))
            chosen = self._recording.nearest(code, self._unseen, self._rng)
            trial = self._in_place_of(trial, self._recording.trials[chosen])
        assert chosen is not None
        del self._unseen[chosen]
        return trial, self._recording.trials[chosen]

    def _in_place_of(self, proposal: optuna.Trial, recorded: Recorded) -> optuna.Trial:
        """Return a trial of what was recorded: the sampler must learn of what it gets, and not of its proposal.

        It holds what the sampler noted of the proposal: NSGA-II breeds from trials with a generation only.
        """
        failed = self._study.tell(proposal, state=TrialState.FAIL)
        answers = self._recording.space.answers(recorded.architecture)
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params=recorded.params,
            distributions={name: CategoricalDistribution(choices) for name, (_, choices) in answers.items()},
            system_attrs=failed.system_attrs,
        )
        return begin_trial(self._study, template)

    def _train(self, trial: optuna.Trial, recorded: Recorded) -> tuple[float, bool]:
        """Return what the training costs, and whether it goes to the end."""
        if self._rule:
            # A search keeps it too, for its sampler to guess at the end from.
            trial.set_user_attr(_AT_RUNG, recorded.rungs[0].psnr_y_db)
            for rung in recorded.rungs[:-1]:
                result = RungResult(recorded.architecture.key, rung.psnr_y_db, recorded.fastest_ms)
                reached = self._reached.setdefault(rung.iteration, [])
                decision = self._rule.decide(result, reached, is_yardstick=bool(recorded.design))
                reached.append(result)
                if not decision.survives:
                    return recorded.cost(rung, self._unit), False
        return recorded.cost(recorded.rungs[-1], self._unit), True
