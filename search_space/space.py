"""A search space: the sets of choices from which architectures are sampled, mutated and crossed over."""

import itertools
import random
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from srnas.search_space.architecture import NONE, Architecture, Choice, Position, check_scale
from srnas.search_space.errors import InputError, parse, unknown_name
from srnas.search_space.registry import REGISTRY

_HOST_GENES = ("channels", "end", "long_skip", "tail", "global_skip")
_POSITION_GENES = ("trunk", "attention", "order", "active")


class Trial(Protocol):
    """What :meth:`SearchSpace.suggest` needs of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of ``choices``."""


class SpaceDefaults(BaseModel):
    """How candidates of a space are judged unless the command line says otherwise.

    ``latency_output``: height and width of the output whose low-resolution input is timed; ``patch``: side of a
    training patch in low-resolution pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_output: tuple[int, int] = (256, 256)
    patch: int = Field(default=32, ge=1)
    batch: int = Field(default=16, ge=1)
    iterations: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)


class SpaceFile(BaseModel):
    """The content of a space's TOML file; every list is a set of choices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    channels: tuple[int, ...] = Field(min_length=1)
    positions: int = Field(ge=0, le=99)
    trunk: tuple[Choice, ...] = Field(default=(Choice(name=NONE),), min_length=1)
    attention: tuple[Choice, ...] = Field(default=(Choice(name=NONE),), min_length=1)
    order: tuple[Literal["after", "before"], ...] = Field(default=("after",), min_length=1)
    active: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    end: tuple[Literal["none", "conv"], ...] = Field(default=("none",), min_length=1)
    long_skip: tuple[bool, ...] = Field(default=(False,), min_length=1)
    tail: tuple[Choice, ...] = Field(default=(Choice(name="pixelshuffle"),), min_length=1)
    global_skip: tuple[Literal["bilinear", "nearest", "none"], ...] = Field(default=("bilinear",), min_length=1)
    defaults: SpaceDefaults = SpaceDefaults()

    @field_validator("trunk", "attention")
    @classmethod
    def _resolve(cls, choices: tuple[Choice, ...], info: Any) -> tuple[Choice, ...]:
        return tuple(
            c if c.name == NONE else c.resolved(REGISTRY.block(c.name, info.field_name).Config) for c in choices
        )

    @field_validator("tail")
    @classmethod
    def _resolve_tail(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        return tuple(c.resolved(REGISTRY.tail(c.name).Config) for c in choices)

    @field_validator("active")
    @classmethod
    def _check_active(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < fraction <= 1 for fraction in fractions):
            raise InputError(f"0 < active <= 1 must hold for every fraction of the channels, but got {fractions}.")
        return fractions


class SearchSpace:
    """A set of architectures of one scale.

    Args:
        content: The choices.
        scale: Upscaling factor of every architecture.
        name: For messages and records.

    Raises:
        InputError: If the scale is not supported, or no position fits some number of channels.
    """

    def __init__(self, content: SpaceFile, scale: int, name: str) -> None:
        check_scale(scale)
        self.content = content
        self.scale = scale
        self.name = name
        for channels in content.channels:
            if content.positions and not self.alphabet(channels):
                raise InputError(f"space '{name}' has no trunk and attention that fit channels={channels}; remove it.")

    @classmethod
    def load(cls, name: str, scale: int) -> "SearchSpace":
        """Load a shipped space by name, or any space from the path of a TOML file.

        Raises:
            InputError: If there is no such space, or the file holds anything unknown or invalid.
        """
        path = Path(name)
        if path.suffix == ".toml":
            if not path.is_file():
                raise InputError(f"a space file must exist, but got '{name}'.")
            text, title = path.read_text(encoding="utf-8"), path.stem
        elif name in space_names():
            text, title = (files(__package__) / "spaces" / f"{name}.toml").read_text(encoding="utf-8"), name
        else:
            raise unknown_name("space", name, [*space_names(), "PATH.toml"])
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"space file '{name}' must be TOML, but: {error}") from None
        return cls(parse(SpaceFile, data, f"space '{name}'"), scale, title)

    @property
    def defaults(self) -> SpaceDefaults:
        """How candidates are judged by default."""
        return self.content.defaults

    @property
    def min_size(self) -> int:
        """The least height and width of an input that every architecture takes, in low-resolution pixels."""
        names = {c.name for c in (*self.content.trunk, *self.content.attention)} - {NONE}
        return max((REGISTRY.block(name).info.constraint.min_size for name in names), default=1)

    @cached_property
    def size(self) -> int:
        """The number of distinct networks (not of genotypes: identity positions and dead choices count once)."""
        content = self.content
        hosts = len(set(content.end)) * len(set(content.long_skip)) * len(set(content.tail))
        hosts *= len(set(content.global_skip))
        return hosts * sum(self._bodies(channels) for channels in set(content.channels))

    def _bodies(self, channels: int) -> int:
        alphabet = self.alphabet(channels)
        blocks = sum(not position.is_identity for position in alphabet)
        depths = range(self.content.positions + 1) if blocks < len(alphabet) else (self.content.positions,)
        return sum(blocks**depth for depth in depths)

    @cache  # noqa: B019 - a space lives as long as its study
    def alphabet(self, channels: int) -> tuple[Position, ...]:
        """Return the distinct positions that fit ``channels``; the identity is among them if it can be chosen."""
        content = self.content
        found: dict[Position, None] = {}
        genes = itertools.product(content.trunk, content.attention, content.order, content.active)
        for trunk, attention, order, fraction in genes:
            position = _position(trunk, attention, order, fraction, channels)
            if position is not None:
                found[position] = None
        return tuple(found)

    def suggest(self, trial: Trial) -> Architecture:
        """Sample an architecture through an Optuna trial; it always meets every constraint.

        A gene with one choice is no parameter. Where a number of channels or an active width excludes blocks, the
        parameter carries the width in its name, since Optuna fixes the choices of a name.
        """
        content = self.content
        host = {gene: self._suggest(trial, gene, getattr(content, gene)) for gene in _HOST_GENES}
        channels: int = host["channels"]
        positions = []
        for depth in range(content.positions):
            prefix = f"p{depth:02d}."
            trunk = self._suggest(trial, prefix + "trunk", content.trunk)
            fractions = [f for f in content.active if self._fits(trunk, channels, f)]
            fraction = self._suggest(trial, prefix + "active", content.active, fractions, f"@{channels}")
            width = _width(channels, fraction)
            attentions = [a for a in content.attention if _position(trunk, a, "after", fraction, channels)]
            attention = self._suggest(trial, prefix + "attention", content.attention, attentions, f"@{width}")
            order = self._suggest(trial, prefix + "order", content.order)
            position = _position(trunk, attention, order, fraction, channels)
            assert position is not None
            positions.append(position)
        return Architecture(scale=self.scale, positions=tuple(positions), **host)

    def _fits(self, trunk: Choice, channels: int, fraction: float) -> bool:
        return any(_position(trunk, a, "after", fraction, channels) for a in self.content.attention)

    @staticmethod
    def _suggest(
        trial: Trial, name: str, choices: Sequence[Any], allowed: Sequence[Any] | None = None, suffix: str = ""
    ) -> Any:
        usable = choices if allowed is None else allowed
        if len(usable) == 1:
            return usable[0]
        labels = {_label(choice): choice for choice in usable}
        name = name if len(usable) == len(choices) else name + suffix
        return labels[trial.suggest_categorical(name, list(labels))]

    def params(self, architecture: Architecture) -> dict[str, Any]:
        """Return the Optuna parameters with which :meth:`suggest` gives ``architecture``.

        Raises:
            InputError: If the space does not contain it.
        """
        if not self.contains(architecture):
            raise InputError(f"space '{self.name}' must contain the architecture, but got {architecture}.")
        recorder = _Recorder(self._genes(architecture))
        assert self.suggest(recorder) == architecture
        return recorder.params

    def _genes(self, architecture: Architecture) -> dict[str, Any]:
        content, channels = self.content, architecture.channels
        genes = {gene: _label(getattr(architecture, gene)) for gene in _HOST_GENES}
        missing = content.positions - len(architecture.positions)
        for depth, position in enumerate((*architecture.positions, *[Position()] * missing)):
            fraction = next(f for f in content.active if _same_width(position, f, channels))
            order = position.order if position.order in content.order else content.order[0]
            values = (position.trunk, position.attention, order, fraction)
            genes |= {f"p{depth:02d}.{g}": _label(v) for g, v in zip(_POSITION_GENES, values, strict=True)}
        return genes

    def contains(self, architecture: Architecture) -> bool:
        """Return whether :meth:`suggest` can give ``architecture``."""
        content = self.content
        if architecture.scale != self.scale or architecture.channels not in content.channels:
            return False
        if any(getattr(architecture, gene) not in getattr(content, gene) for gene in _HOST_GENES):
            return False
        alphabet = self.alphabet(architecture.channels)
        missing = content.positions - len(architecture.positions)
        identity = any(position.is_identity for position in alphabet)
        return (missing == 0 or (missing > 0 and identity)) and set(architecture.positions) <= set(alphabet)

    def sample(self, rng: random.Random) -> Architecture:
        """Return a random architecture, uniform over the genes."""
        return self.suggest(_Random(rng))

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return an architecture of this space that differs from ``architecture`` in one gene.

        A change of channels keeps every position that fits the new width. A space of one network returns it.
        """
        genes = self._genes(architecture)
        for gene in rng.sample(sorted(genes), len(genes)):
            mutant = self.suggest(_Recorder(genes, redraw=gene, rng=rng))
            if mutant != architecture:
                return mutant
        return architecture

    def cross_over(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """Return a child that takes every gene from one of the parents at random (uniform crossover)."""
        left, right = self._genes(first), self._genes(second)
        return self.suggest(_Recorder({gene: rng.choice((left, right))[gene] for gene in left}, rng=rng))


def space_names() -> list[str]:
    """Return the names of the shipped spaces."""
    folder = files(__package__) / "spaces"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def _width(channels: int, fraction: float) -> int:
    return round(channels * fraction)


def _same_width(position: Position, fraction: float, channels: int) -> bool:
    return position.is_identity or (position.active or channels) == _width(channels, fraction)


@cache
def _position(trunk: Choice, attention: Choice, order: str, fraction: float, channels: int) -> Position | None:
    """Return the canonical position, or ``None`` if it violates a constraint."""
    width = _width(channels, fraction)
    identity = trunk.name == NONE and attention.name == NONE
    active = None if identity or width == channels else max(1, width)
    position = Position(trunk=trunk, attention=attention, order=order, active=active)
    try:
        position.check(channels)
    except InputError:
        return None
    return position


def _label(choice: Any) -> Any:
    return str(choice) if isinstance(choice, Choice) else choice


class _Random:
    """A trial that draws uniformly."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.rng.choice(choices)


class _Recorder:
    """A trial that answers from genes, draws where they do not fit, and keeps what it answered."""

    def __init__(self, genes: dict[str, Any], redraw: str | None = None, rng: random.Random | None = None) -> None:
        self.genes = genes
        self.redraw = redraw
        self.rng = rng or random.Random(0)
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        gene = name.partition("@")[0]
        value = self.genes.get(gene)
        if value not in choices:
            value = self.rng.choice(choices)
        elif gene == self.redraw:
            value = self.rng.choice(_without(choices, value))
        self.params[name] = value
        return value


def _without(choices: Iterable[Any], value: Any) -> list[Any]:
    return [choice for choice in choices if choice != value]
