"""A search space as the front sampler sees it: proposals, their features, and latencies known before any training."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from srnas.nas.strategy.domain import Params, counted_pairs
from srnas.nas.study.options import Budgets
from srnas.profiling import BlockTable, count
from srnas.profiling.parts import Part, parts
from srnas.search_space import Architecture, SearchSpace

# From so many measured latencies on they are fitted; before, latency is taken for proportional to the memory traffic.
_MIN_FITTED = 6
# Pulls what a kind of part takes beyond its counts to nothing, in relative squared error.
_RIDGE = 1e-2
# A proposal is dropped only if its fitted latency exceeds the budget by so much: the fit errs, measuring decides.
_SLACK = 1.15
# So many networks' counts are kept.
_MOST_NETWORKS = 20_000


class PartCounts(NamedTuple):
    """Sizes of one part, or of all parts of a network."""

    params: float = 0.0
    macs: float = 0.0
    activations: float = 0.0
    bytes_moved: float = 0.0
    number: float = 0.0


class PartCounter:
    """Counts networks as sums of their parts, each of which is counted once.

    Args:
        input_size: Height and width of the low-resolution input.
    """

    def __init__(self, input_size: tuple[int, int]) -> None:
        self._size = input_size
        self._known: dict[str, PartCounts] = {}
        self._networks: dict[str, tuple[PartCounts, Counter[str]]] = {}

    def of(self, part: Part) -> PartCounts:
        """Return the counts of a part."""
        if part.key not in self._known:
            # The skip is counted with the addition to the enlarged picture, which is a part of it.
            counts = count(part.build(), (1, part.channels, *self._size))
            self._known[part.key] = PartCounts(
                counts.params, counts.macs, counts.activations, counts.bytes_moved or 0, 1
            )
        return self._known[part.key]

    def total(self, architecture: Architecture) -> PartCounts:
        """Return the counts of a network."""
        return self._network(architecture)[0]

    def kinds(self, architecture: Architecture) -> Counter[str]:
        """Return how often each part occurs in a network, by key."""
        return self._network(architecture)[1]

    def _network(self, architecture: Architecture) -> tuple[PartCounts, Counter[str]]:
        if len(self._networks) >= _MOST_NETWORKS:
            self._networks.clear()
        if architecture.key not in self._networks:
            own_parts = parts(architecture)
            total = PartCounts(*map(sum, zip(*map(self.of, own_parts), strict=True)))
            self._networks[architecture.key] = total, Counter(part.key for part in own_parts)
        return self._networks[architecture.key]


class FittedLatency:
    """Latency as a linear function of counts and kinds of parts, fitted to what a study has measured.

    Least squares of the relative error, with a ridge on the kinds. Until enough is measured it is the memory traffic.

    Args:
        counter: Counts parts.
        measured_ms: Latencies by architecture.
    """

    def __init__(self, counter: PartCounter, measured_ms: Mapping[Architecture, float]) -> None:
        self._counter = counter
        self._kinds = sorted({kind for architecture in measured_ms for kind in counter.kinds(architecture)})
        self._weights: np.ndarray | None = None
        if len(measured_ms) >= _MIN_FITTED:
            latency = np.array(list(measured_ms.values()))
            rows = np.stack([self._row(architecture) for architecture in measured_ms])
            self._scale = np.maximum(rows.max(0), 1e-12)
            relative = rows / self._scale / latency[:, None]
            penalty = np.diag([1e-6] * _NUM_SUMS + [_RIDGE] * len(self._kinds)) / latency.mean() ** 2
            gram = relative.T @ relative / len(latency) + penalty
            self._weights = np.linalg.solve(gram, relative.mean(0))
            # A linear fit may fall below zero for a small network, and latency is used by its logarithm.
            self._least = latency.min() / 2

    def _row(self, architecture: Architecture) -> np.ndarray:
        number = self._counter.kinds(architecture)
        return np.array([1.0, *self._counter.total(architecture)[1:], *(number[kind] for kind in self._kinds)])

    def predict_ms(self, architecture: Architecture) -> float:
        """Return the expected latency in milliseconds."""
        if self._weights is None:
            return float(self._counter.total(architecture).bytes_moved) / 1e6
        return float(max(self._row(architecture) / self._scale @ self._weights, self._least))


_NUM_SUMS = 5


class SpaceDomain:
    """The problem of a study for :class:`~srnas.nas.strategy.front_sampler.FrontSampler`.

    Args:
        space: Where proposals come from.
        budgets: What exceeds them is not proposed: sizes are exact, latency is allowed an error.
        counter: Counts parts.
        measured_ms: Latencies that are known, by architecture.
        table: Predicts the others where it covers them; else they are fitted.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Budgets,
        counter: PartCounter,
        measured_ms: Mapping[Architecture, float],
        table: BlockTable | None = None,
    ) -> None:
        self.space = space
        self._budgets = budgets
        self._counter = counter
        self._measured_ms = measured_ms
        self._fitted = FittedLatency(counter, measured_ms)
        self._table = table

    def sample(self, rng: random.Random) -> Architecture:
        """Return a random architecture."""
        return self.space.sample(rng)

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return one that differs in a gene."""
        return self.space.mutate(architecture, rng)

    def cross_over(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """Return a child of two."""
        return self.space.cross_over(first, second, rng)

    def reduce(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return one without one of the positions, or a mutation where none may be missing."""
        if not self.space.has_identity or len(architecture.positions) < 2:
            return self.space.mutate(architecture, rng)
        positions = list(architecture.positions)
        positions.pop(rng.randrange(len(positions)))
        return Architecture.from_dict(
            {**architecture.to_dict(), "positions": [position.model_dump() for position in positions]}
        )

    def key(self, architecture: Architecture) -> str:
        """Return the key of the network."""
        return architecture.key

    def encode(self, architecture: Architecture) -> Params:
        """Return Optuna's parameters."""
        return self.space.params(architecture)

    def decode(self, params: Mapping[str, Any]) -> Architecture | None:
        """Return the architecture of Optuna's parameters, or ``None`` if some are missing."""
        try:
            return self.space.suggest(_Answers(params))
        except KeyError:
            return None

    def features(self, architecture: Architecture) -> list[list[float]]:
        """Return what the PSNR is modelled on.

        The host; what stands where; how often each block occurs; what follows what, and which attention stands after
        which trunk; sizes.
        """
        content = self.space.content
        host = [float(architecture.channels == channels) for channels in content.channels]
        later = [gene for gene in ("stem", "gather") if len(getattr(content, gene)) > 1]
        for gene in ("tail", "global_skip", "end", "long_skip", *later):
            host += [float(getattr(architecture, gene) == choice) for choice in getattr(content, gene)]
        places, numbers, pairs = [], [], []
        trunks = list(dict.fromkeys(choice.name for choice in content.trunk))
        attentions = list(dict.fromkeys(choice.name for choice in content.attention))
        trunk_at = [position.trunk.name for position in architecture.positions]
        attention_at = [position.attention.name for position in architecture.positions]
        for names, at in ((trunks, trunk_at), (attentions, attention_at)):
            # The square root, since another block of a kind adds less the more of them there are.
            numbers += [float(np.sqrt(at.count(name))) for name in names]
            places += [float(at[depth : depth + 1] == [name]) for name in names for depth in range(content.positions)]
            pairs += counted_pairs(pairwise(at), names, names)
        pairs += counted_pairs(zip(trunk_at, attention_at, strict=True), trunks, attentions)
        total = self._counter.total(architecture)
        sizes = [float(np.log1p(value)) for value in (total.params, total.macs, total.activations)]
        return [host, places, numbers, pairs, sizes]

    def cheap(self, architectures: Sequence[Architecture]) -> list[float | None]:
        """Return the latency of each in milliseconds, ``None`` if it exceeds a budget."""
        return [self._latency_ms(architecture) for architecture in architectures]

    def _latency_ms(self, architecture: Architecture) -> float | None:
        total = self._counter.total(architecture)
        if self._budgets.exceeded(params_k=total.params / 1e3, macs_g=total.macs / 1e9):
            return None
        if architecture in self._measured_ms:
            latency, slack = self._measured_ms[architecture], 1.0
        elif self._table is not None and self._table.covers(architecture):
            latency, slack = self._table.predict_ms(architecture), 1 + self._table.validation.margin
        else:
            latency, slack = self._fitted.predict_ms(architecture), _SLACK
        limit = self._budgets.max_latency_ms
        return None if limit is not None and latency > limit * slack else latency


class _Answers:
    """A trial that answers from given parameters."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._params[name]
