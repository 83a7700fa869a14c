"""A sampler for two objectives of which one is cheap and known: only the other is modelled."""

import math
import random
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srnas.nas.domain import Domain, values_of
from srnas.nas.improvement import expected_improvement
from srnas.nas.surrogate import Floats, Surrogate, extrapolate

T = TypeVar("T")

# How a step's proposals are made, in shares.
_MUTATED, _CROSSED, _REDUCED = 0.5, 0.2, 0.1
# The best proposals' neighbours are looked at too, so many times.
_POLISHED = 8
_ROUNDS = 8
_STRATA = 8
_MAX_TRIES = 20
# With fewer values the surrogate is not judged.
_LEAST_JUDGED = 15


@dataclass(frozen=True)
class _Known(Generic[T]):
    """A trial as the model sees it: a candidate, its value, and how far the value may be off."""

    candidate: T
    cheap: float
    value: float
    doubt: float = 0.0


@dataclass(frozen=True)
class Proposal(Generic[T]):
    """What the sampler would try next.

    Attributes:
        candidate: Not one that the study holds, if there is another.
        predicted: ``mean`` and ``std`` of the expensive objective, the ``cheap`` one, and whether the model is
            ``trusted``; empty before there is a model.
    """

    candidate: T
    predicted: dict[str, float] = field(default_factory=dict)


class FrontSampler(BaseSampler, Generic[T]):
    """Samples for two objectives, one of which is known before a trial is run.

    Proposals are mutations, crossings and reductions of the front's members, and random draws; none is a candidate that
    the study holds already, or one that :meth:`Domain.cheap` rejects. The expensive objective is modelled by a
    :class:`~srnas.nas.surrogate.Surrogate`, and the proposal with the greatest expected improvement of the hypervolume
    in (expensive objective, logarithm of the cheap one) is taken. Trials that are still running count with what is
    expected of them. The first proposals are spread over the range of the cheap objective.

    Everything it knows is in the study: another object, or another process, proposes as well. Where nothing unseen is
    found, a random candidate is proposed again.

    Example:
        >>> import optuna
        >>> from srnas.nas.domain import Choices
        >>> distributions = {f"x{i}": optuna.distributions.IntDistribution(0, 4) for i in range(4)}
        >>> cost = lambda params: 1.0 + sum(params.values())
        >>> def objective(trial):
        ...     params = {name: trial.suggest_int(name, 0, 4) for name in distributions}
        ...     return sum(value**0.5 for value in params.values()), cost(params)
        >>> sampler = FrontSampler(Choices(distributions, cost), seed=0)
        >>> study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        >>> study.optimize(objective, n_trials=20)
        >>> len({tuple(trial.params.values()) for trial in study.trials})
        20

    Args:
        domain: The problem.
        seed: Of the proposals.
        cheap_index: Which of the two objectives is the cheap one.
        num_startup: So many trials are spread over the cheap objective before the model is asked.
        num_proposals: So many proposals are compared for each trial.
        reference_point: Of the hypervolume, in the order of the objectives; by default as far beyond the worst as the
            best is before it.
        partial: Returns the expensive objective of a trial part of the way, if it was seen; trials that were pruned are
            then modelled by what a line through the others expects of them.
        use_surrogate: Without it a random one of the proposals near the front is taken; the sampler does so by itself
            while the surrogate predicts no better than a line over the cheap objective.
    """

    def __init__(
        self,
        domain: Domain[T],
        *,
        seed: int | None = None,
        cheap_index: int = 1,
        num_startup: int = 6,
        num_proposals: int = 300,
        reference_point: tuple[float, float] | None = None,
        partial: Callable[[FrozenTrial], float | None] | None = None,
        use_surrogate: bool = True,
    ) -> None:
        if cheap_index not in (0, 1):
            raise ValueError(f"cheap_index must be 0 or 1, but got {cheap_index}.")
        self._domain = domain
        self._rng = random.Random(seed)
        self._cheap_index = cheap_index
        self._num_startup = num_startup
        self._num_proposals = num_proposals
        self._reference_point = reference_point
        self._partial = partial
        self._use_surrogate = use_surrogate
        self._proposed: dict[int, dict[str, Any]] = {}
        self._one_at_a_time = threading.Lock()

    def reseed_rng(self) -> None:
        """Draw other numbers from now on."""
        self._rng = random.Random()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: a proposal is made before the first parameter is asked for."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing, as the search space is empty."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the proposal's value of a parameter; a random one for a parameter that it lacks."""
        proposal = self._proposed.get(trial.number, {})
        if param_name in proposal and param_distribution._contains(
            param_distribution.to_internal_repr(proposal[param_name])
        ):
            return proposal[param_name]
        return self._rng.choice(values_of(param_name, param_distribution))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the proposal, unless the trial was enqueued with its parameters."""
        if "fixed_params" not in trial.system_attrs:
            with self._one_at_a_time:
                proposal = self.propose(study, trial.number)
                self._proposed[trial.number] = self._domain.encode(proposal.candidate)
            if proposal.predicted:
                study._storage.set_trial_user_attr(trial._trial_id, "predicted", proposal.predicted)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the proposal."""
        self._proposed.pop(trial.number, None)

    def _others(self, study: Study, number: int | None) -> list[tuple[FrozenTrial, T]]:
        """Return the trials beside this one, with their candidates."""
        # Copied before the trials are read: a proposal is forgotten when its trial holds all of it.
        proposals = self._proposed.copy()
        found = []
        for other in study.get_trials(deepcopy=False):
            intended = other.system_attrs.get("fixed_params") or proposals.get(other.number, {})
            candidate = self._domain.decode(intended | other.params) if other.number != number else None
            if candidate is not None:
                found.append((other, candidate))
        return found

    def propose(self, study: Study, number: int | None = None) -> Proposal[T]:
        """Return a candidate for a trial: for the one of this number, or for one that is begun later.

        Raises:
            ValueError: If the study has not two objectives.
        """
        if len(study.directions) != 2:
            raise ValueError(f"a study must have two objectives for FrontSampler, but has {len(study.directions)}.")
        others = self._others(study, number)
        seen = {self._domain.key(candidate) for _, candidate in others}
        maximize = study.directions[1 - self._cheap_index] == StudyDirection.MAXIMIZE
        sign = 1.0 if maximize else -1.0
        toward = -1.0 if study.directions[self._cheap_index] == StudyDirection.MAXIMIZE else 1.0
        known = self._known(others, sign)
        if len(known) < max(self._num_startup, 4):
            found = self._draw(seen, lambda: self._domain.sample(self._rng), self._num_proposals)
            tried = [toward * math.log(one.cheap) for one in known]
            priced = [(candidate, toward * math.log(cost)) for candidate, cost in found]
            return Proposal(self._stratified(priced, tried) if found else self._domain.sample(self._rng))
        running = [candidate for other, candidate in others if other.state == TrialState.RUNNING]
        return self._best(known, running, seen, sign, toward)

    def _known(self, others: Sequence[tuple[FrozenTrial, T]], sign: float) -> list[_Known[T]]:
        """Return what is known of the expensive objective, as one to maximise."""
        trials = [other for other, _ in others]
        finals = [t.values[1 - self._cheap_index] if t.state == TrialState.COMPLETE else None for t in trials]
        partials = [self._partial(t) if self._partial else None for t in trials]
        expected = extrapolate(partials, finals)
        cheap = self._domain.cheap([candidate for _, candidate in others])
        found = []
        for (t, candidate), final, guess, cost in zip(others, finals, expected, cheap, strict=True):
            cost = t.values[self._cheap_index] if t.state == TrialState.COMPLETE else cost
            if cost is None:
                continue
            if final is not None:
                found.append(_Known(candidate, cost, sign * final))
            elif guess is not None and t.state == TrialState.PRUNED:
                found.append(_Known(candidate, cost, sign * guess[0], guess[1]))
        return found

    def _draw(self, seen: set[Hashable], make: Callable[[], T], number: int) -> list[tuple[T, float]]:
        """Return unseen feasible candidates with their cheap objective."""
        found: dict[Hashable, T] = {}
        for _ in range(_MAX_TRIES):
            for _ in range(number - len(found)):
                candidate = make()
                if (key := self._domain.key(candidate)) not in seen:
                    found.setdefault(key, candidate)
            if len(found) >= number / 2:
                break
        candidates = list(found.values())
        costs = self._domain.cheap(candidates)
        return [(c, cost) for c, cost in zip(candidates, costs, strict=True) if cost is not None]

    def _stratified(self, drawn: Sequence[tuple[T, float]], costs: Sequence[float]) -> T:
        """Return a candidate from the part of the cheap objective's range that was tried least."""
        edges = np.quantile([cost for _, cost in drawn], np.linspace(0, 1, _STRATA + 1)[1:-1])
        strata = [int(np.searchsorted(edges, cost)) for _, cost in drawn]
        tried = [int(np.searchsorted(edges, cost)) for cost in costs]
        least = min(strata, key=lambda stratum: (tried.count(stratum), self._rng.random()))
        return self._rng.choice([c for (c, _), stratum in zip(drawn, strata, strict=True) if stratum == least])

    def _best(
        self, known: list[_Known[T]], running: list[T], seen: set[Hashable], sign: float, toward: float
    ) -> Proposal[T]:
        front = _front(known, toward)
        pool = self._pool(front, seen)
        if not pool:
            return Proposal(self._domain.sample(self._rng))
        model = Surrogate(
            self._features([(one.candidate, one.cheap) for one in known]),
            [one.value for one in known],
            [one.doubt for one in known],
        )
        known = known + self._believed(running, model)
        gain, mean, deviation = self._score(pool, model, known, sign, toward)
        trusted = self._use_surrogate and _beats_trend(model, known)
        for _ in range(_ROUNDS if trusted else 0):
            best = [pool[i][0] for i in np.argsort(-gain)[:_POLISHED]]
            near = self._neighbours(best, seen | {self._domain.key(candidate) for candidate, _ in pool})
            if not near:
                break
            scored = zip((gain, mean, deviation), self._score(near, model, known, sign, toward), strict=True)
            gain, mean, deviation = map(np.concatenate, scored)
            pool += near
        first = int(np.argmax(gain)) if trusted else self._rng.randrange(len(pool))
        predicted = {
            "mean": sign * float(mean[first]),
            "std": float(deviation[first]),
            "cheap": pool[first][1],
            "trusted": float(trusted),
        }
        return Proposal(pool[first][0], predicted)

    def _pool(self, front: Sequence[T], seen: set[Hashable]) -> list[tuple[T, float]]:
        def make() -> T:
            kind = self._rng.random()
            if kind < _MUTATED:
                child = self._domain.mutate(self._rng.choice(front), self._rng)
                return self._domain.mutate(child, self._rng) if self._rng.random() < 0.5 else child
            if kind < _MUTATED + _CROSSED and len(front) > 1:
                first, second = self._rng.sample(front, 2)
                return self._domain.cross_over(first, second, self._rng)
            if kind < _MUTATED + _CROSSED + _REDUCED:
                return self._domain.reduce(self._rng.choice(front), self._rng)
            return self._domain.sample(self._rng)

        return self._draw(seen, make, self._num_proposals)

    def _neighbours(self, candidates: Sequence[T], seen: set[Hashable]) -> list[tuple[T, float]]:
        """Return unseen mutations."""
        return self._draw(
            seen,
            lambda: self._domain.mutate(self._rng.choice(candidates), self._rng),
            max(1, self._num_proposals // _ROUNDS // 2),
        )

    def _believed(self, running: list[T], model: Surrogate) -> list[_Known[T]]:
        """Return what is expected of the trials that are still running."""
        costs = self._domain.cheap(running)
        priced = [(candidate, cost) for candidate, cost in zip(running, costs, strict=True) if cost is not None]
        means = model.predict(self._features(priced))[0] if priced else ()
        return [_Known(*pair, float(mean)) for pair, mean in zip(priced, means, strict=True)]

    def _features(self, priced: Sequence[tuple[T, float]]) -> list[Floats]:
        """Return the features of candidates and the logarithm of the cheap objective: what is dear tends to be good."""
        groups = zip(*(self._domain.features(candidate) for candidate, _ in priced), strict=True)
        return [*map(np.array, groups), np.log([[cost] for _, cost in priced])]

    def _score(
        self, pool: Sequence[tuple[T, float]], model: Surrogate, known: list[_Known[T]], sign: float, toward: float
    ) -> tuple[Floats, Floats, Floats]:
        """Return the expected improvement of each proposal, and what the model expects of it."""
        mean, deviation = model.predict(self._features(pool))
        costs = toward * np.log([cost for _, cost in pool])
        values = np.array([one.value for one in known])
        spent = toward * np.log([one.cheap for one in known])
        if self._reference_point is None:
            reference = float(values.min() - np.ptp(values)), float(spent.max() + np.ptp(spent))
        else:
            point = self._reference_point
            reference = sign * point[1 - self._cheap_index], toward * math.log(point[self._cheap_index])
        return expected_improvement(mean, deviation, costs, values, spent, reference), mean, deviation


def _beats_trend(model: Surrogate, known: Sequence[_Known[T]]) -> bool:
    """Return whether the model predicts trials that it has not seen better than a line over the cheap objective."""
    values = model.values
    if len(values) < _LEAST_JUDGED:
        return True
    cost = np.log([one.cheap for one in known[: len(values)]])
    design = np.stack([np.ones_like(cost), cost], 1)
    hat = design @ np.linalg.pinv(design)
    by_line = (values - hat @ values) / np.maximum(1 - np.diag(hat), 1e-9)
    return bool(np.abs(values - model.left_out()).mean() < np.abs(by_line).mean())


def _front(known: Sequence[_Known[T]], toward: float) -> list[T]:
    found, best = [], -math.inf
    for one in sorted(known, key=lambda one: (toward * one.cheap, -one.value)):
        if one.value > best:
            found.append(one.candidate)
            best = one.value
    return found
