"""The schedule of a training: its steps, its learning rate, and where the network is judged on the way."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from srnas.search_space import InputError

# The rule by which Muon's rate falls with the depth, raised when it changes what a network's PSNR is.
_RULE = 2
# What a new training is optimised with.
MUON: Mapping[str, object] = {"optimizer": "muon", "depth_rule": _RULE}
# A peak for AdamW that suits a length, measured on space `tiny`.
_MEASURED_RATE, _MEASURED_ITERATIONS = 4e-3, 400


def scaled_rate(iterations: int, rate: float = _MEASURED_RATE, at_iterations: int = _MEASURED_ITERATIONS) -> float:
    """Return the peak that suits a length, from one that suits another: it falls with the root of the length.

    Args:
        iterations: Optimiser steps.
        rate: A peak that suits ``at_iterations``.
        at_iterations: Optimiser steps that ``rate`` is for.
    """
    return rate * math.sqrt(at_iterations / iterations)


class TrainingConfig(BaseModel):
    """A training schedule.

    Attributes:
        iterations: Optimiser steps, those of the lengths in ``annealed`` included.
        annealed: Shorter lengths at whose end the rate has fallen to 0; after each it rises again, to a peak that suits
            the next length. A training that ended at one of them goes on from there.
        patch: Side of an LR patch in pixels.
        batch: Patches per step.
        learning_rate: Peak on the way to the first length, for what AdamW trains.
        optimizer: ``muon`` trains the convolutions of the body with Muon and the rest with AdamW; ``adamw``, which
            studies had that were started before there was a choice, trains all with AdamW.
        depth_rule: Version of the rule that sets Muon's rate; 1 where a study was started before there was a second.
        warmup: Share of the steps to the next length with a linearly rising rate.
        weight_decay: Decoupled weight decay of AdamW and Muon.
        clip_norm: Gradients are scaled down to this norm.
        ema_share: Horizon of the moving average as a share of the first length.
        rungs: Shares of the first length at which the network is judged, beside the end of every length; the last is 1.
        seed: Seed of weights and patches; equal seeds show every network the same patches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(ge=1)
    annealed: tuple[int, ...] = ()
    patch: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    optimizer: Literal["muon", "adamw"] = "adamw"
    depth_rule: int = 1
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema_share: float = Field(default=0.02, gt=0)
    rungs: tuple[float, ...] = (1 / 3, 1.0)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)

    @field_validator("rungs")
    @classmethod
    def _check_rungs(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if not rungs or min(rungs) <= 0 or max(rungs) != 1:
            raise InputError(f"rungs must be shares of the schedule of which the greatest is 1, but got rungs={rungs}.")
        return rungs

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if not all(shorter < longer for shorter, longer in pairwise((0, *self.lengths))):
            raise InputError(
                f"lengths must be positive and increase, but got annealed={self.annealed} and "
                f"iterations={self.iterations}."
            )
        return self

    def check_rule(self) -> None:
        """Raise ``InputError`` if no training can go on by this schedule's rule of Muon's rate."""
        if self.optimizer == "muon" and self.depth_rule != _RULE:
            raise InputError(
                f"a training must use rule {_RULE} of Muon's rate, but this study was started with rule "
                f"{self.depth_rule}, whose results cannot be compared; start another with --study."
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """Every length at whose end the rate is 0, in order."""
        return *self.annealed, self.iterations

    @property
    def below(self) -> Self | None:
        """The schedule that ends one length before this one; ``None`` of a schedule with one length."""
        if not self.annealed:
            return None
        return self.model_copy(update={"iterations": self.annealed[-1], "annealed": self.annealed[:-1]})

    def longer(self, multiple: int) -> Self:
        """Return the schedule that continues to a multiple of the first length."""
        changes = {"iterations": multiple * self.lengths[0], "annealed": self.lengths}
        return type(self).model_validate(self.model_dump() | changes)

    def rate(self, iteration: int) -> float:
        """Return the learning rate as a multiple of ``learning_rate`` at a step, 0-based."""
        number = bisect_right(self.annealed, iteration)
        begun, length = (0, *self.annealed)[number], self.lengths[number]
        step, steps = iteration - begun, length - begun
        peak = scaled_rate(length, 1.0, self.lengths[0])
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return peak * (step + 1) / rise
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    @property
    def rung_iterations(self) -> tuple[int, ...]:
        """The steps after which the network is judged."""
        return tuple(sorted({*self.lengths, *(max(1, round(share * self.lengths[0])) for share in self.rungs)}))
