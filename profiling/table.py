"""The block table: latencies of single parts, added up and calibrated, that screen proposals before any is timed.

A table never decides: it carries its own error, measured on networks that it was not fitted on, and refuses what lies
outside it. Additive with an overhead and a factor; memory format and runtime need no term, since a table belongs to
one device profile.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import nn

from srnas.profiling.counting import InputShape
from srnas.profiling.device import DeviceProfile, Target
from srnas.profiling.latency import default_protocol, measure_latency
from srnas.profiling.parts import Part, parts
from srnas.profiling.rounds import LatencyProtocol
from srnas.profiling.statistics import bootstrap_interval, kendall_tau, mean_relative_error, quantile
from srnas.search_space import Architecture, InputError, Network, SearchSpace
from srnas.search_space.architecture import IMAGE_CHANNELS
from srnas.search_space.gather import POSITIONS

T = TypeVar("T")

# A prediction is within this share of the measurement to count as close.
_CLOSE = 0.1
# The error that screening allows for: nine of ten validation networks err by less.
_MARGIN_QUANTILE = 0.9
_ROUNDS = 16
# Long networks take their time: a table is made once.
_PATIENCE_S = 3600.0
# An agent keeps 512 files of 1 GiB: of a network its model, of one file or two, its output, and an input as large.
_BOARD_NETWORKS = 128
_BOARD_BYTES = 2**28
_FLOAT_BYTES = 4


class Validation(BaseModel):
    """How a table does on networks that it was not fitted on, end to end.

    Attributes:
        predicted_ms: Latency of each network in milliseconds as the table predicts it.
        measured_ms: Fastest round of each network in milliseconds.
        mape: Mean absolute percentage error, as a share.
        kendall_tau: Rank correlation of predicted and measured latencies.
        kendall_tau_interval: 95 % bootstrap interval of that correlation over networks.
        within_10_percent: Share of networks that are predicted so closely.
        margin: The relative error that nine of ten networks stay below.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predicted_ms: tuple[float, ...]
    measured_ms: tuple[float, ...]
    mape: float
    kendall_tau: float
    kendall_tau_interval: tuple[float, float]
    within_10_percent: float
    margin: float

    def __str__(self) -> str:
        low, high = self.kendall_tau_interval
        return (
            f"MAPE {self.mape:.1%}, Kendall tau {self.kendall_tau:.3f} ({low:.3f} to {high:.3f}), within 10 %: "
            f"{self.within_10_percent:.0%} of {len(self.measured_ms)} networks"
        )

    @classmethod
    def of(cls, predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> "Validation":
        """Return the figures of a list of predictions."""
        pairs = list(zip(predicted_ms, measured_ms, strict=True))
        errors = [abs(predicted - measured) / measured for predicted, measured in pairs]
        return cls(
            predicted_ms=tuple(predicted_ms),
            measured_ms=tuple(measured_ms),
            mape=mean_relative_error(predicted_ms, measured_ms),
            kendall_tau=kendall_tau(predicted_ms, measured_ms),
            kendall_tau_interval=bootstrap_interval(pairs, kendall_tau),
            within_10_percent=sum(error <= _CLOSE for error in errors) / len(errors),
            margin=quantile(errors, _MARGIN_QUANTILE),
        )


class BlockTable(BaseModel):
    """Predicts the latency of an architecture on one device profile at one input size.

    Attributes:
        device: What the latencies belong to.
        input_size: Height and width of the low-resolution input.
        entries_ms: Fastest round of each part, by :attr:`Part.key`.
        overhead_ms: Added to every sum.
        factor: What the sum is multiplied with.
        sums_ms: The least and the greatest sum among the networks that it was fitted and validated on.
        validation: How well it predicts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: DeviceProfile
    input_size: tuple[int, int]
    entries_ms: dict[str, float]
    overhead_ms: float
    factor: float
    sums_ms: tuple[float, float]
    validation: Validation

    def predict_ms(self, architecture: Architecture) -> float:
        """Return the predicted latency in milliseconds.

        Raises:
            InputError: If the table lacks a part of the architecture, or was not tried on networks as small or large.
        """
        total = sum_parts(self.entries_ms, architecture)
        if not self.sums_ms[0] <= total <= self.sums_ms[1]:
            raise InputError(
                f"the parts of a network must add up to {self.sums_ms[0]:.4g} to {self.sums_ms[1]:.4g} ms, which this "
                f"block table was tried on, but those of {architecture} add up to {total:.4g} ms; measure it."
            )
        return self.overhead_ms + self.factor * total

    def covers(self, architecture: Architecture) -> bool:
        """Return whether the table can predict the latency of the architecture."""
        keys = [part.key for part in parts(architecture)]
        low, high = self.sums_ms
        return all(k in self.entries_ms for k in keys) and low <= sum_parts(self.entries_ms, architecture) <= high

    def least_ms(self, architecture: Architecture) -> float:
        """Return the least latency that the prediction leaves likely: nine of ten networks take longer."""
        return self.predict_ms(architecture) / (1 + self.validation.margin)


def sum_parts(entries_ms: Mapping[str, float], architecture: Architecture) -> float:
    """Return the plain sum of the parts in milliseconds.

    Raises:
        InputError: If a part is missing.
    """
    keys = [part.key for part in parts(architecture)]
    missing = sorted({key for key in keys if key not in entries_ms})
    if missing:
        raise InputError(
            f"a block table must hold every part of a network, but this one lacks {', '.join(missing)} of "
            f"{architecture}; make one of a space that holds it, or measure."
        )
    return math.fsum(entries_ms[key] for key in keys)


def space_parts(space: SearchSpace) -> dict[str, Part]:
    """Return every part that a network of ``space`` can have, by key."""
    content = space.content
    genes = ("channels", "stem", "end", "long_skip", "gather", "tail", "colours")
    found: dict[str, Part] = {}
    for choices in itertools.product(*(getattr(content, gene) for gene in genes)):
        host = dict(zip(genes, choices, strict=True))
        for skip in space.skips(host["tail"]):
            found |= {part.key: part for part in parts(Architecture(scale=space.scale, global_skip=skip, **host))}
    for channels in content.channels:
        found |= {part.key: part for part in _of_bodies(space, channels)}
    return found


def _of_bodies(space: SearchSpace, channels: int) -> Iterator[Part]:
    """Yield the parts of each position, and of gather and tail for each width that can be gathered of a body."""
    content = space.content
    for gather in content.gather:
        widths = set()
        depths = range(1, content.positions + 1) if gather == POSITIONS else (1,)
        for position, depth in itertools.product(space.alphabet(channels), depths):
            body = {"scale": space.scale, "channels": channels, "positions": (position,) * depth, "gather": gather}
            chain = Architecture(**body, end=content.end[0])
            yield from (part for part in parts(chain) if part.place.startswith("p"))
            if chain.gathered_channels in widths:
                continue
            widths.add(chain.gathered_channels)
            for end, tail, colours in itertools.product(content.end, content.tail, content.colours):
                skip = space.skips(tail)[0]
                whole = Architecture(**body, end=end, tail=tail, colours=colours, global_skip=skip)
                yield from (part for part in parts(whole) if part.place in ("gather", "tail"))


class _Stage(NamedTuple):
    """What is timed together: modules, with the shapes of their inputs."""

    modules: dict[str, nn.Module]
    shapes: dict[str, InputShape]


def build_table(
    space: SearchSpace,
    input_size: tuple[int, int],
    target: Target,
    *,
    num_calibration: int = 16,
    num_validation: int = 40,
    seed: int = 0,
    protocol: LatencyProtocol | None = None,
    on_stage: Callable[[str, int], None] = lambda _text, _rounds: None,
    on_round: Callable[[int], None] = lambda _: None,
) -> BlockTable:
    """Time every part of a space, calibrate the sum on random networks, and validate it on others.

    Args:
        space: Whose parts are timed.
        input_size: Height and width of the low-resolution input.
        target: What they are timed on.
        num_calibration: Networks that overhead and factor are fitted on.
        num_validation: Other networks, whose errors are reported.
        seed: Seed that the networks are drawn with.
        protocol: Rules of the timing; by default those of the device, with 16 rounds.
        on_stage: Told of each stage in words, and of its number of rounds.
        on_round: Told of each round of a stage.

    Raises:
        InputError: If the space does not hold so many networks, or a runtime cannot run a part.
    """
    limits = {"max_rounds": _ROUNDS, "max_time_s": _PATIENCE_S, "give_up_s": _PATIENCE_S, "interval": 0.0}
    protocol = protocol or replace(default_protocol(target), **limits)  # type: ignore[arg-type]
    found = space_parts(space)
    networks = _draw(space, num_calibration + num_validation, random.Random(seed))
    for network in networks:
        # What is missing is told before anything is timed.
        sum_parts(dict.fromkeys(found, 0.0), network)

    def time(text: str, stage: _Stage) -> tuple[dict[str, float], DeviceProfile]:
        on_stage(f"{text}: preparing {len(stage.modules)}", protocol.max_rounds)
        measured = measure_latency(stage.modules, stage.shapes, target, protocol=protocol, seed=seed, on_round=on_round)
        return {name: latency.fastest_ms for name, latency in measured.latencies.items()}, measured.device

    entries: dict[str, float] = {}
    widest = max(IMAGE_CHANNELS * space.scale**2, *(part.channels for part in found.values()))
    values = widest * math.prod(input_size)
    for keys in _batches([*found], values, target):
        entries |= time("parts", _part_stage({key: found[key] for key in keys}, input_size))[0]
    timed: dict[str, float] = {}
    for together in _batches(networks, values, target):
        of_these, device = time("networks", _network_stage(together, input_size))
        timed |= of_these
    sums = [sum_parts(entries, network) for network in networks]
    measured = [timed[network.key] for network in networks]
    overhead, factor = fit(sums[:num_calibration], measured[:num_calibration])
    predicted = [overhead + factor * value for value in sums[num_calibration:]]
    return BlockTable(
        device=device,
        input_size=input_size,
        entries_ms=entries,
        overhead_ms=overhead,
        factor=factor,
        sums_ms=(min(sums), max(sums)),
        validation=Validation.of(predicted, measured[num_calibration:]),
    )


def fit(sums_ms: Sequence[float], measured_ms: Sequence[float]) -> tuple[float, float]:
    """Return the overhead in milliseconds and the factor that minimise the squared relative error."""
    weights = 1 / np.asarray(measured_ms)
    design = np.stack([weights, np.asarray(sums_ms) * weights], axis=1)
    overhead, factor = np.linalg.lstsq(design, np.ones(len(measured_ms)), rcond=None)[0]
    return float(overhead), float(factor)


def _draw(space: SearchSpace, number: int, rng: random.Random) -> list[Architecture]:
    if space.size < 2 * number:
        raise InputError(
            f"space '{space.name}' must hold at least {2 * number} networks to calibrate and validate a table, but it "
            f"holds {space.size_text}; a space as small is timed as it is."
        )
    drawn: dict[str, Architecture] = {}
    while len(drawn) < number:
        network = space.sample(rng)
        drawn.setdefault(network.key, network)
    return list(drawn.values())


def _batches(every: Sequence[T], values: int, target: Target) -> Iterator[Sequence[T]]:
    """Yield what is timed together: all of it here, and on a board as many as it has room for.

    Args:
        every: Networks or parts.
        values: Number of values of the largest input or output of one.
        target: What they are timed on.
    """
    room = max(1, min(_BOARD_NETWORKS, _BOARD_BYTES // (_FLOAT_BYTES * values)))
    number = room if target.board else len(every)
    for first in range(0, len(every), number):
        yield every[first : first + number]


def _part_stage(found: Mapping[str, Part], size: tuple[int, int]) -> _Stage:
    modules = {key: part.build() for key, part in found.items()}
    return _Stage(modules, {key: (1, part.channels, *size) for key, part in found.items()})


def _network_stage(networks: Sequence[Architecture], size: tuple[int, int]) -> _Stage:
    modules: dict[str, nn.Module] = {network.key: Network(network).deploy() for network in networks}
    return _Stage(modules, dict.fromkeys(modules, (1, 3, *size)))
