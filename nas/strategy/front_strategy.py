"""What to try next for two objectives of which one is cheap and known: only the other one is modelled.

Everything here is a function of what is known and of a random generator; it knows nothing of Optuna.
"""

import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from scipy.stats import median_abs_deviation, theilslopes

from srnas.leaderboard.rank.front import staircase
from srnas.nas.strategy.domain import Domain
from srnas.nas.strategy.improvement import expected_improvement
from srnas.nas.strategy.surrogate import Floats, Surrogate

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
# A surrogate needs so many values at least.
_LEAST_MODELLED = 4
# A value this many standard deviations below what its cost lets expect counts as if it were there.
# source: docs/measurements.md, "Trainings that die"
_FENCE = 3.0


@dataclass(frozen=True)
class Known(Generic[T]):
    """A trial as the model sees it.

    Attributes:
        candidate: What was tried.
        cheap: The cheap objective, positive.
        value: The expensive objective, to maximise.
        doubt: How far the value may be off, as a standard deviation.
    """

    candidate: T
    cheap: float
    value: float
    doubt: float = 0.0


@dataclass(frozen=True)
class Proposal(Generic[T]):
    """What the sampler would try next.

    Attributes:
        candidate: The proposed candidate; the study does not hold it yet, if there is such a one.
        predicted: ``mean`` and ``std`` of the expensive objective, the ``cheap`` one, and whether the model is
            ``trusted``; empty before there is a model.
    """

    candidate: T
    predicted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Aim:
    """Which way the objectives go.

    Attributes:
        sign: 1 if the expensive objective is to be maximised, -1 if it is to be minimised.
        toward: 1 if the cheap objective is to be minimised, -1 if it is to be maximised.
        reference: Value to maximise and cheap objective of the hypervolume's reference point; ``None`` puts it as far
            beyond the worst as the best is before it.
    """

    sign: float = 1.0
    toward: float = 1.0
    reference: tuple[float, float] | None = None


Scored = tuple[Floats, Floats, Floats]


@dataclass(frozen=True)
class FrontStrategy(Generic[T]):
    """Proposes by the expected improvement of the hypervolume.

    Attributes:
        domain: The problem.
        aim: Which way the objectives go.
        num_startup: Number of trials that are spread over the cheap objective before the model is asked.
        num_proposals: Number of proposals that are compared for each trial.
        use_surrogate: Whether a surrogate chooses among the proposals near the front; otherwise one is taken at random.
    """

    domain: Domain[T]
    aim: Aim
    num_startup: int = 6
    num_proposals: int = 300
    use_surrogate: bool = True

    def propose(
        self, known: Sequence[Known[T]], running: Sequence[T], seen: set[Hashable], rng: random.Random
    ) -> Proposal[T]:
        """Return the next candidate.

        Args:
            known: What was tried.
            running: What is being tried: it counts with what is expected of it.
            seen: Keys of all candidates that are not to be proposed again.
            rng: The only source of chance.
        """
        if len(known) < max(self.num_startup, _LEAST_MODELLED):
            return self._spread(known, seen, rng)
        front = [known[i].candidate for i in staircase([(one.value, self.aim.toward * one.cheap) for one in known])]
        pool = self._pool(front, seen, rng) or self._near_feasible(front, seen, rng)
        if not pool:
            return Proposal(self.domain.sample(rng))
        model = Surrogate(
            self._features([(one.candidate, one.cheap) for one in known]),
            _fenced(known),
            [one.doubt for one in known],
        )
        believed = [*known, *self._believed(running, model)]
        gain, mean, deviation = self._score(pool, model, believed)
        trusted = self.use_surrogate and _beats_trend(model, believed)
        for _ in range(_ROUNDS if trusted else 0):
            best = [pool[i][0] for i in np.argsort(-gain)[:_POLISHED]]
            near = self._neighbours(best, seen | {self.domain.key(candidate) for candidate, _ in pool}, rng)
            if not near:
                break
            scored = zip((gain, mean, deviation), self._score(near, model, believed), strict=True)
            gain, mean, deviation = map(np.concatenate, scored)
            pool += near
        first = int(np.argmax(gain)) if trusted else rng.randrange(len(pool))
        predicted = {
            "mean": self.aim.sign * float(mean[first]),
            "std": float(deviation[first]),
            "cheap": pool[first][1],
            "trusted": float(trusted),
        }
        return Proposal(pool[first][0], predicted)

    def _spread(self, known: Sequence[Known[T]], seen: set[Hashable], rng: random.Random) -> Proposal[T]:
        """Return a candidate from the part of the cheap objective's range that was tried least."""
        drawn = self._draw(seen, lambda: self.domain.sample(rng), self.num_proposals)
        drawn = drawn or self._near_feasible([one.candidate for one in known], seen, rng)
        if not drawn:
            return Proposal(self.domain.sample(rng))
        costs = [self.aim.toward * math.log(cost) for _, cost in drawn]
        edges = np.quantile(costs, np.linspace(0, 1, _STRATA + 1)[1:-1])
        strata = [int(np.searchsorted(edges, cost)) for cost in costs]
        tried = [int(np.searchsorted(edges, self.aim.toward * math.log(one.cheap))) for one in known]
        least = min(strata, key=lambda stratum: (tried.count(stratum), rng.random()))
        return Proposal(rng.choice([c for (c, _), stratum in zip(drawn, strata, strict=True) if stratum == least]))

    def _near_feasible(self, known: Sequence[T], seen: set[Hashable], rng: random.Random) -> list[tuple[T, float]]:
        """Return feasible candidates where no random one is: neighbours of what is known, else of reductions."""
        start = list(known) or [self.domain.sample(rng) for _ in range(self.num_proposals)]
        for _ in range(_MAX_TRIES):
            if found := self._neighbours(start, seen, rng):
                return found
            start = [self.domain.reduce(candidate, rng) for candidate in start]
        return []

    def _draw(self, seen: set[Hashable], make: Callable[[], T], number: int) -> list[tuple[T, float]]:
        """Return unseen feasible candidates with their cheap objective."""
        unseen: dict[Hashable, T] = {}
        for _ in range(_MAX_TRIES):
            for _ in range(number - len(unseen)):
                candidate = make()
                if (key := self.domain.key(candidate)) not in seen:
                    unseen.setdefault(key, candidate)
            # Half suffices: around a small front most children are known, and further tries find ever fewer.
            if len(unseen) >= number / 2:
                break
        candidates = list(unseen.values())
        costs = self.domain.cheap(candidates)
        return [(c, cost) for c, cost in zip(candidates, costs, strict=True) if cost is not None]

    def _pool(self, front: Sequence[T], seen: set[Hashable], rng: random.Random) -> list[tuple[T, float]]:
        """Return mutations, crossings and reductions of the front's members, and random draws."""
        domain = self.domain

        def make() -> T:
            kind = rng.random()
            if kind < _MUTATED:
                child = domain.mutate(rng.choice(front), rng)
                return domain.mutate(child, rng) if rng.random() < 0.5 else child
            if kind < _MUTATED + _CROSSED and len(front) > 1:
                first, second = rng.sample(front, 2)
                return domain.cross_over(first, second, rng)
            if kind < _MUTATED + _CROSSED + _REDUCED:
                return domain.reduce(rng.choice(front), rng)
            return domain.sample(rng)

        return self._draw(seen, make, self.num_proposals)

    def _neighbours(self, candidates: Sequence[T], seen: set[Hashable], rng: random.Random) -> list[tuple[T, float]]:
        """Return unseen mutations."""
        number = max(1, self.num_proposals // _ROUNDS // 2)
        return self._draw(seen, lambda: self.domain.mutate(rng.choice(candidates), rng), number)

    def _believed(self, running: Sequence[T], model: Surrogate) -> list[Known[T]]:
        """Return what is expected of the trials that are still running."""
        costs = self.domain.cheap(running)
        priced = [(candidate, cost) for candidate, cost in zip(running, costs, strict=True) if cost is not None]
        means = model.predict(self._features(priced))[0] if priced else ()
        return [Known(*pair, float(mean)) for pair, mean in zip(priced, means, strict=True)]

    def _features(self, priced: Sequence[tuple[T, float]]) -> list[Floats]:
        """Return the features of candidates and the logarithm of the cheap objective: what is dear tends to be good."""
        groups = zip(*(self.domain.features(candidate) for candidate, _ in priced), strict=True)
        return [*map(np.array, groups), np.log([[cost] for _, cost in priced])]

    def _score(self, pool: Sequence[tuple[T, float]], model: Surrogate, known: Sequence[Known[T]]) -> Scored:
        """Return the expected improvement of each proposal, and mean and deviation that the model expects of it."""
        aim = self.aim
        mean, deviation = model.predict(self._features(pool))
        costs = aim.toward * np.log([cost for _, cost in pool])
        values = np.array([one.value for one in known])
        spent = aim.toward * np.log([one.cheap for one in known])
        if aim.reference is None:
            reference = float(values.min() - np.ptp(values)), float(spent.max() + np.ptp(spent))
        else:
            reference = aim.reference[0], aim.toward * math.log(aim.reference[1])
        return expected_improvement(mean, deviation, costs, values, spent, reference), mean, deviation


def _fenced(known: Sequence[Known[T]]) -> Floats:
    """Return the values, those far below a line over the cheap objective raised to where that begins.

    A training that has died is off by far more than two others differ: a model of it would be a model of nothing else.
    """
    values, cost = np.array([one.value for one in known]), np.log([one.cheap for one in known])
    slope = theilslopes(values, cost).slope if np.ptp(cost) > 0 else 0.0
    off = values - slope * cost
    deviation = median_abs_deviation(off, scale="normal")
    # Where most values are equal, nothing tells how far is far.
    if deviation == 0:
        return values
    fenced: Floats = values + np.maximum(np.median(off) - _FENCE * deviation - off, 0)
    return fenced


def _beats_trend(model: Surrogate, known: Sequence[Known[T]]) -> bool:
    """Return whether the model predicts trials that it has not seen better than a line over the cheap objective."""
    values = model.values
    if len(values) < _LEAST_JUDGED:
        return True
    # The model was fitted to the first of them; what is believed of running trials follows.
    cost = np.log([one.cheap for one in known[: len(values)]])
    design = np.stack([np.ones_like(cost), cost], 1)
    hat = design @ np.linalg.pinv(design)
    # The error of each value left out of a fitted line, in closed form: residual over one minus leverage.
    by_line = (values - hat @ values) / np.maximum(1 - np.diag(hat), 1e-9)
    return bool(np.abs(values - model.left_out()).mean() < np.abs(by_line).mean())
