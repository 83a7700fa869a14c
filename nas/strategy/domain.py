"""Problems with one cheap objective, as :class:`~srnas.nas.strategy.front_sampler.FrontSampler` sees them."""

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

T = TypeVar("T")

# The value of each of Optuna's parameters by name.
Params = dict[str, Any]

# Pairs of neighbours are told apart where there are at most so many values.
_MAX_PAIRED = 16


class Domain(Protocol[T]):
    """A problem as the sampler sees it; candidates are values of any type."""

    def sample(self, rng: random.Random) -> T:
        """Return a random candidate."""

    def mutate(self, candidate: T, rng: random.Random) -> T:
        """Return a neighbour."""

    def cross_over(self, first: T, second: T, rng: random.Random) -> T:
        """Return a child of two candidates."""

    def reduce(self, candidate: T, rng: random.Random) -> T:
        """Return a smaller neighbour, if candidates have a size."""

    def key(self, candidate: T) -> Hashable:
        """Return a key that equal candidates share."""

    def encode(self, candidate: T) -> Params:
        """Return Optuna's parameters of a candidate."""

    def decode(self, params: Mapping[str, Any]) -> T | None:
        """Return the candidate of Optuna's parameters, ``None`` if they make none."""

    def features(self, candidate: T) -> Sequence[Sequence[float]]:
        """Return the features that the expensive objective is modelled on, in groups of fixed number and length.

        The weight of the linear part of each group is learned; within a group, features count as they are.
        """

    def cheap(self, candidates: Sequence[T]) -> list[float | None]:
        """Return the cheap objective of each candidate, which is positive; ``None`` excludes a candidate."""


class Choices:
    """A problem of independent parameters with finitely many values each.

    Args:
        distributions: Distributions by name of the parameter: categorical, or integers or floats with a step.
        cheap: Returns the cheap objective for parameters, or ``None`` to exclude them.

    Raises:
        ValueError: If a float has no step.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], cheap: Callable[[Params], float | None]) -> None:
        self._values = {name: values_of(name, distribution) for name, distribution in distributions.items()}
        self._cheap = cheap
        self._groups: dict[tuple[Any, ...], list[str]] = {}
        for name, values in self._values.items():
            self._groups.setdefault(tuple(values), []).append(name)

    def sample(self, rng: random.Random) -> Params:
        """Return random parameters."""
        return {name: rng.choice(values) for name, values in self._values.items()}

    def mutate(self, candidate: Params, rng: random.Random) -> Params:
        """Return parameters of which one has another value."""
        name = rng.choice([name for name, values in self._values.items() if len(values) > 1])
        return candidate | {name: rng.choice([v for v in self._values[name] if v != candidate[name]])}

    def cross_over(self, first: Params, second: Params, rng: random.Random) -> Params:
        """Return parameters that each come from one of the parents."""
        return {name: rng.choice((first, second))[name] for name in self._values}

    def reduce(self, candidate: Params, rng: random.Random) -> Params:
        """Return a neighbour: nothing here is smaller than anything else."""
        return self.mutate(candidate, rng)

    def key(self, candidate: Params) -> Hashable:
        """Return the values in order."""
        return tuple(candidate[name] for name in self._values)

    def encode(self, candidate: Params) -> Params:
        """Return the parameters."""
        return candidate

    def decode(self, params: Mapping[str, Any]) -> Params | None:
        """Return the parameters, unless one is missing."""
        return {name: params[name] for name in self._values} if self._values.keys() <= params.keys() else None

    def features(self, candidate: Params) -> list[list[float]]:
        """Return what stands where, how often each value occurs, and how often one follows another.

        The last two are of parameters that have the same values, in their order.
        """
        places = [float(candidate[name] == value) for name, values in self._values.items() for value in values]
        numbers, pairs = [], []
        for values, names in self._groups.items():
            if len(names) > 1:
                given = [candidate[name] for name in names]
                numbers += [math.sqrt(given.count(value)) for value in values]
                if len(values) <= _MAX_PAIRED:
                    pairs += counted_pairs(pairwise(given), values, values)
        return [group for group in (places, numbers, pairs) if group]

    def cheap(self, candidates: Sequence[Params]) -> list[float | None]:
        """Return the cheap objective of each."""
        return [self._cheap(candidate) for candidate in candidates]


def counted_pairs(
    pairs: Iterable[tuple[Hashable, Hashable]], firsts: Sequence[Hashable], seconds: Sequence[Hashable]
) -> list[float]:
    """Return how often each pair of values occurs."""
    counts = Counter(pairs)
    return [float(counts[first, second]) for first in firsts for second in seconds]


def values_of(name: str, distribution: BaseDistribution) -> list[Any]:
    """Return the finitely many values of a parameter.

    Raises:
        ValueError: If there are infinitely many.
    """
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step:
        steps = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + i * distribution.step for i in range(steps + 1)]
    raise ValueError(f"parameter '{name}' must be categorical or have a step, but got {distribution}; give it a step.")
