"""A search space: the sets of choices from which architectures are sampled, mutated and crossed over."""

import itertools
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from srnas.search_space.architecture import CONV, Architecture, GlobalSkip, check_scale, stem_at
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.errors import InputError
from srnas.search_space.fitting import has_width, position_of, position_of_genes, width_of
from srnas.search_space.position import Position
from srnas.search_space.space_file import LATER_HOST_GENES, SpaceDefaults, SpaceFile, read_space
from srnas.search_space.space_size import count_blocks, count_networks, fitting_skips, has_identity
from srnas.search_space.trials import GeneTrial, RandomTrial, Trial

_HOST_GENES = ("channels", "end", "long_skip", "tail", "global_skip", "input_range", "mean_shift")
_POSITION_GENES = ("trunk", "attention", "order", "residual", "active")


_Menu = dict[Any, tuple[Choice, dict[float, tuple[float, dict[Any, Choice]]]]]


class SearchSpace:
    """A set of architectures of one scale.

    Args:
        content: The choices of the space.
        scale: Upscaling factor of every architecture.
        name: Name of the space in messages and records.

    Raises:
        InputError: If the scale is not supported, no position fits some number of channels, or no global skip fits some
            tail.
    """

    def __init__(self, content: SpaceFile, scale: int, name: str) -> None:
        check_scale(scale)
        self.content = content
        self.scale = scale
        self.name = name
        genes = _HOST_GENES + LATER_HOST_GENES + _POSITION_GENES
        self._labels = {gene: {_label(choice): choice for choice in getattr(content, gene)} for gene in genes}
        self._menus: dict[int, _Menu] = {}
        self._known_genes: dict[tuple[Position, int], dict[str, Any]] = {}
        for channels in content.channels:
            if content.positions and not (self.has_identity or count_blocks(content, channels)):
                raise InputError(f"space '{name}' has no trunk and attention that fit channels={channels}; remove it.")
            for stem in content.stem:
                stem_at(stem, channels)
        for tail in content.tail:
            if not self.skips(tail):
                raise InputError(f"space '{name}' has no global skip that fits tail '{tail}'; remove it.")

    @classmethod
    def load(cls, name: str, scale: int) -> "SearchSpace":
        """Load a shipped space by name, or any space from the path of a TOML file.

        Raises:
            InputError: If there is no such space, or the file holds anything unknown or invalid.
        """
        title, content = read_space(name)
        return cls(content, scale, title)

    @property
    def defaults(self) -> SpaceDefaults:
        """How candidates are judged by default."""
        return self.content.defaults

    @property
    def min_size(self) -> int:
        """The least height and width of an input that every architecture takes, in low-resolution pixels."""
        choices = [choice for choice in (*self.content.trunk, *self.content.attention) if choice.name != NONE]
        choices += [stem for stem in self.content.stem if stem.name != CONV]
        return max((choice.constraint.min_size for choice in choices), default=1)

    @property
    def size_text(self) -> str:
        """The size, in words short enough for a line."""
        return f"{self.size:,}" if self.size < 10**12 else f"{Decimal(self.size):.2e}"

    @cached_property
    def size(self) -> int:
        """The number of distinct networks (not of genotypes: identity positions and dead choices count once)."""
        return count_networks(self.content)

    @property
    def has_identity(self) -> bool:
        """Whether a position may stay empty."""
        return has_identity(self.content)

    def alphabet(self, channels: int, blocks: tuple[str, str] | None = None) -> tuple[Position, ...]:
        """Return the distinct positions that fit ``channels``; with ``blocks``, those of this trunk and attention."""
        content = self.content
        found: dict[Position, None] = {}
        trunks = [choice for choice in content.trunk if blocks is None or choice.name == blocks[0]]
        attentions = [choice for choice in content.attention if blocks is None or choice.name == blocks[1]]
        genes = itertools.product(trunks, attentions, content.order, content.residual, content.active)
        for trunk, attention, order, residual, fraction in genes:
            fitting = position_of(trunk, attention, fraction, channels)
            if fitting is not None:
                canonical = fitting.model_dump(exclude={"order", "residual"})
                found[Position(**canonical, order=order, residual=residual)] = None
        return tuple(found)

    def skips(self, tail: Choice) -> list[GlobalSkip]:
        """Return the global skips that ``tail`` can serve."""
        return fitting_skips(self.content, tail)

    def suggest(self, trial: Trial) -> Architecture:
        """Sample an architecture through an Optuna trial; it always meets every constraint.

        A gene with one choice is no parameter. Where a number of channels or an active width excludes blocks, the
        parameter carries the width, and what else excludes, in its name, since Optuna fixes the choices of a name.
        """
        host: dict[str, Any] = {}
        for gene in _HOST_GENES:
            if gene == "global_skip":
                skips = {skip: skip for skip in self.skips(host["tail"])}
                host[gene] = self._suggest(trial, gene, skips, suffix=f"@{host['tail'].name}")
            else:
                host[gene] = self._suggest(trial, gene)
        host |= {gene: self._suggest(trial, gene) for gene in LATER_HOST_GENES}
        channels: int = host["channels"]
        host["stem"] = stem_at(host["stem"], channels)
        positions = []
        for depth in range(self.content.positions):
            prefix = f"p{depth:02d}."
            trunk, fractions = self._suggest(trial, "trunk", self._menu(channels), prefix, f"@{channels}")
            fraction, attentions = self._suggest(trial, "active", fractions, prefix, f"@{channels},{trunk}")
            width = width_of(channels, fraction)
            attention = self._suggest(trial, "attention", attentions, prefix, f"@{width}")
            order = self._suggest(trial, "order", prefix=prefix)
            residual = self._suggest(trial, "residual", prefix=prefix)
            positions.append(position_of_genes(trunk, attention, order, residual, width, channels))
        kept = tuple(position for position in positions if not position.is_identity)
        # A menu holds what was checked already, and a step of a search makes a thousand architectures.
        return Architecture.model_construct(scale=self.scale, positions=kept, **host)

    def _menu(self, channels: int) -> "_Menu":
        """Return what fits: by label each trunk with, by active fraction, the attention blocks by label."""
        if channels not in self._menus:
            menu: _Menu = {}
            for trunk, fraction in itertools.product(self.content.trunk, self.content.active):
                fitting = {_label(a): a for a in self.content.attention if position_of(trunk, a, fraction, channels)}
                if fitting:
                    menu.setdefault(_label(trunk), (trunk, {}))[1][fraction] = fraction, fitting
            self._menus[channels] = menu
        return self._menus[channels]

    def _suggest(
        self, trial: Trial, gene: str, allowed: Mapping[Any, Any] | None = None, prefix: str = "", suffix: str = ""
    ) -> Any:
        every = self._labels[gene]
        labels = every if allowed is None else allowed
        if len(labels) == 1:
            return next(iter(labels.values()))
        name = f"{prefix}{gene}{suffix if len(labels) < len(every) else ''}"
        return labels[trial.suggest_categorical(name, list(labels))]

    def answers(self, architecture: Architecture) -> dict[str, tuple[Any, Sequence[Any]]]:
        """Return by name the Optuna parameters with which :meth:`suggest` gives ``architecture``, and their choices.

        Raises:
            InputError: If the space does not contain it.
        """
        recorder = GeneTrial(self._genes(architecture))
        assert self.suggest(recorder) == architecture
        return recorder.answers

    def params(self, architecture: Architecture) -> dict[str, Any]:
        """Return the parameters of :meth:`answers` alone."""
        return {name: value for name, (value, _) in self.answers(architecture).items()}

    def _genes(self, architecture: Architecture) -> dict[str, Any]:
        if not self.contains(architecture):
            raise InputError(f"space '{self.name}' must contain the architecture, but got {architecture}.")
        genes = {gene: _label(getattr(architecture, gene)) for gene in _HOST_GENES}
        later = {gene: _label(self._host_choice(architecture, gene)) for gene in LATER_HOST_GENES}
        genes |= {gene: label for gene, label in later.items() if len(self._labels[gene]) > 1}
        missing = self.content.positions - len(architecture.positions)
        for depth, position in enumerate((*architecture.positions, *[Position()] * missing)):
            values = self._position_genes(position, architecture.channels)
            genes |= {f"p{depth:02d}.{gene}": value for gene, value in values.items()}
        return genes

    def _position_genes(self, position: Position, channels: int) -> dict[str, Any]:
        """Return genes that give a position; empty if none do."""
        genes = self._known_genes.get((position, channels))
        if genes is None:
            known = position.is_identity or self._has(position, channels)
            genes = self._known_genes[position, channels] = self._find_genes(position, channels) if known else {}
        return genes

    def _find_genes(self, position: Position, channels: int) -> dict[str, Any]:
        content = self.content
        fraction = next(f for f in content.active if has_width(position, f, channels))
        order = position.order if position.order in content.order else content.order[0]
        residual = position.residual if position.residual in content.residual else content.residual[0]
        width = position.active or channels
        trunk = next(c for c in content.trunk if c.at(width) == position.trunk)
        attention = next(c for c in content.attention if c.at(width) == position.attention)
        values = (trunk, attention, order, residual, fraction)
        return {gene: _label(value) for gene, value in zip(_POSITION_GENES, values, strict=True)}

    def contains(self, architecture: Architecture) -> bool:
        """Return whether :meth:`suggest` can give ``architecture``."""
        content = self.content
        if architecture.scale != self.scale or architecture.channels not in content.channels:
            return False
        if any(getattr(architecture, gene) not in getattr(content, gene) for gene in _HOST_GENES):
            return False
        if any(self._host_choice(architecture, gene) is None for gene in LATER_HOST_GENES):
            return False
        missing = content.positions - len(architecture.positions)
        if missing < 0 or (missing and not self.has_identity):
            return False
        return all(self._position_genes(position, architecture.channels) for position in architecture.positions)

    def _host_choice(self, architecture: Architecture, gene: str) -> Any:
        """Return the choice of the space that gives a gene of an architecture, or ``None``."""
        wanted, offered = getattr(architecture, gene), getattr(self.content, gene)
        if gene != "stem":
            return wanted if wanted in offered else None
        return next((stem for stem in offered if stem_at(stem, architecture.channels) == wanted), None)

    def _has(self, position: Position, channels: int) -> bool:
        content, width = self.content, position.active or channels
        if not all(
            any(choice.at(width) == wanted for choice in choices if choice.name == wanted.name)
            for wanted, choices in ((position.trunk, content.trunk), (position.attention, content.attention))
        ):
            return False
        canonical = (
            Position(trunk=position.trunk, attention=position.attention, order=order, residual=residual)
            for order, residual in itertools.product(content.order, content.residual)
        )
        chosen = {(p.order, p.residual) for p in canonical}
        widths = any(has_width(position, fraction, channels) for fraction in content.active)
        return widths and (position.order, position.residual) in chosen

    def sample(self, rng: random.Random) -> Architecture:
        """Return a random architecture, uniform over the genes."""
        return self.suggest(RandomTrial(rng))

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return an architecture of this space that differs from ``architecture`` in one gene.

        A change of channels keeps every position that fits the new width. A space of one network returns it.
        """
        genes = self._genes(architecture)
        for gene in rng.sample(sorted(genes), len(genes)):
            if len(self._labels[gene.rpartition(".")[2]]) == 1:
                continue
            mutant = self.suggest(GeneTrial(genes, redraw=gene, rng=rng))
            if mutant != architecture:
                return mutant
        return architecture

    def cross_over(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """Return a child that takes every gene from one of the parents at random (uniform crossover)."""
        left, right = self._genes(first), self._genes(second)
        return self.suggest(GeneTrial({gene: rng.choice((left, right))[gene] for gene in left}, rng=rng))


def _label(choice: Any) -> Any:
    return str(choice) if isinstance(choice, Choice) else choice
