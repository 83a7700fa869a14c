"""The front strategy as an Optuna sampler; everything it knows is read from the study."""

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srnas.nas.optuna_private import contains, set_attributes
from srnas.nas.strategy.domain import Domain, Params, values_of
from srnas.nas.strategy.front_strategy import Aim, FrontStrategy, Known, Proposal
from srnas.nas.strategy.surrogate import extrapolate

T = TypeVar("T")

# The attribute of a trial that holds what was expected of it.
PREDICTED = "predicted"


class FrontSampler(BaseSampler, Generic[T]):
    """Sampler for two objectives, one of which is known before a trial is run.

    Proposals are mutations, crossings and reductions of the members of the front, and random draws. A proposal is never
    a candidate that the study already holds, nor one that :meth:`Domain.cheap` rejects. A
    :class:`~srnas.nas.strategy.surrogate.Surrogate` models the expensive objective, and the sampler takes the proposal
    with the greatest expected improvement of the hypervolume in (expensive objective, logarithm of the cheap one).
    Trials that are still running count with their expected value. The first proposals are spread over the range of the
    cheap objective.

    All state is in the study, so another object or process can continue. If no unseen candidate is found, a random one
    is proposed again.

    Example:
        >>> import optuna
        >>> from srnas.nas.strategy.domain import Choices
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
        seed: Seed of the proposals.
        cheap_index: Which of the two objectives is the cheap one.
        num_startup: Number of trials that are spread over the cheap objective before the model is asked.
        num_proposals: Number of proposals that are compared for each trial.
        reference_point: Reference point of the hypervolume, in the order of the objectives. By default it is as far
            beyond the worst as the best is before it.
        partial: Returns the expensive objective of a trial part of the way, if it was seen; trials that were pruned are
            then modelled by what a line through the others expects of them.
        longer: Returns the expensive objective of a trial at lengths greater than the study's, in order, each if it was
            seen. What is modelled is then the value at the greatest length at which four trials were seen, with all
            others by what a line expects of them.
        use_surrogate: Whether a surrogate chooses among the proposals near the front; otherwise one is taken at random.
            The sampler takes one at random as well while the surrogate predicts no better than a line over the cheap
            objective.
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
        longer: Callable[[FrozenTrial], Sequence[float | None]] | None = None,
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
        self._longer = longer
        self._use_surrogate = use_surrogate
        self._proposed: dict[int, Params] = {}
        self._one_at_a_time = threading.Lock()

    def reseed_rng(self) -> None:
        """Draw other numbers from now on."""
        self._rng = random.Random()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: a proposal is made before the first parameter is asked for."""
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Params:
        """Return nothing, as the search space is empty."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the proposal's value of a parameter; a random one for a parameter that it lacks."""
        proposal = self._proposed.get(trial.number, {})
        if param_name in proposal and contains(param_distribution, proposal[param_name]):
            return proposal[param_name]
        return self._rng.choice(values_of(param_name, param_distribution))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the proposal, unless the trial was enqueued with its parameters."""
        if "fixed_params" not in trial.system_attrs:
            with self._one_at_a_time:
                proposal = self.propose(study, trial.number)
                self._proposed[trial.number] = self._domain.encode(proposal.candidate)
            if proposal.predicted:
                set_attributes(study, trial, {PREDICTED: proposal.predicted})

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the proposal."""
        self._proposed.pop(trial.number, None)

    def _others(self, study: Study, number: int | None) -> list[tuple[FrozenTrial, T]]:
        """Return the trials beside this one, with their candidates."""
        # Copied before the trials are read: a proposal is forgotten when its trial holds all of it.
        proposals = self._proposed.copy()
        beside = []
        for other in study.get_trials(deepcopy=False):
            intended = other.system_attrs.get("fixed_params") or proposals.get(other.number, {})
            candidate = self._domain.decode(intended | other.params) if other.number != number else None
            if candidate is not None:
                beside.append((other, candidate))
        return beside

    def propose(self, study: Study, number: int | None = None) -> Proposal[T]:
        """Return a candidate for a trial: for the one of this number, or for one that is begun later.

        Raises:
            ValueError: If the study has not two objectives.
        """
        if len(study.directions) != 2:
            raise ValueError(f"a study must have two objectives for FrontSampler, but has {len(study.directions)}.")
        others = self._others(study, number)
        aim = self._aim(study)
        strategy = FrontStrategy(self._domain, aim, self._num_startup, self._num_proposals, self._use_surrogate)
        running = [candidate for other, candidate in others if other.state == TrialState.RUNNING]
        seen = {self._domain.key(candidate) for _, candidate in others}
        return strategy.propose(self._known(others, aim.sign), running, seen, self._rng)

    def _aim(self, study: Study) -> Aim:
        cheap, other = self._cheap_index, 1 - self._cheap_index
        sign = 1.0 if study.directions[other] == StudyDirection.MAXIMIZE else -1.0
        toward = -1.0 if study.directions[cheap] == StudyDirection.MAXIMIZE else 1.0
        point = self._reference_point
        return Aim(sign, toward, None if point is None else (sign * point[other], point[cheap]))

    def _known(self, others: Sequence[tuple[FrozenTrial, T]], sign: float) -> list[Known[T]]:
        """Return what is known of the expensive objective, as one to maximise."""
        trials = [other for other, _ in others]
        finals = [t.values[1 - self._cheap_index] if t.state == TrialState.COMPLETE else None for t in trials]
        expected = extrapolate([self._views(t, final) for t, final in zip(trials, finals, strict=True)], own=1)
        cheap = self._domain.cheap([candidate for _, candidate in others])
        known = []
        for (t, candidate), final, guess, cost in zip(others, finals, expected, cheap, strict=True):
            cost = t.values[self._cheap_index] if final is not None else cost
            # The first trials of a study are fewer than a line needs.
            value = guess or (None if final is None else (final, 0.0))
            if cost is not None and value is not None and t.state in (TrialState.COMPLETE, TrialState.PRUNED):
                known.append(Known(candidate, cost, sign * value[0], value[1]))
        return known

    def _views(self, trial: FrozenTrial, final: float | None) -> list[float | None]:
        """Return what was seen of a trial at increasing lengths, of which the study's own gave ``final``."""
        partial = self._partial(trial) if self._partial else None
        return [partial, final, *(self._longer(trial) if self._longer else ())]
