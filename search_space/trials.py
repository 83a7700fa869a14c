"""What answers the questions of a space: an Optuna trial, chance, or the genes of known architectures."""

import random
from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Trial(Protocol):
    """What :meth:`SearchSpace.suggest` needs of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of ``choices``."""


class RandomTrial:
    """A trial that draws uniformly."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of ``choices``, each with the same probability."""
        return self.rng.choice(choices)


class GeneTrial:
    """A trial that answers from genes, draws where they do not fit, and keeps what it answered."""

    def __init__(self, genes: dict[str, Any], redraw: str | None = None, rng: random.Random | None = None) -> None:
        self.genes = genes
        self.redraw = redraw
        self.rng = rng or random.Random(0)
        self.answers: dict[str, tuple[Any, Sequence[Any]]] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the answer of the gene after which the parameter is named, or a drawn one where that does not fit."""
        gene = name.partition("@")[0]
        value = self.genes.get(gene)
        if value not in choices:
            value = self.rng.choice(choices)
        elif gene == self.redraw:
            value = self.rng.choice(_without(choices, value))
        self.answers[name] = value, choices
        return value


def _without(choices: Iterable[Any], value: Any) -> list[Any]:
    return [choice for choice in choices if choice != value]
