"""The schedule of a training: its steps, its learning rate, and where the network is judged on the way."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from srnas.search_space import InputError

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
        iterations: Optimiser steps.
        patch: Side of an LR patch in pixels.
        batch: Patches per step.
        learning_rate: Peak of the schedule, for what AdamW trains.
        optimizer: ``muon`` trains the convolutions of the body with Muon and the rest with AdamW; ``adamw``, which
            studies had that were started before there was a choice, trains all with AdamW.
        warmup: Share of the steps with a linearly rising rate.
        weight_decay: Weight decay of AdamW.
        clip_norm: Gradients are scaled down to this norm.
        ema_share: Horizon of the moving average as a share of the steps.
        rungs: Shares of the schedule at which the network is judged; the last is 1.
        seed: Seed of weights and patches; equal seeds show every network the same patches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(ge=1)
    patch: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    optimizer: Literal["muon", "adamw"] = "adamw"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema_share: float = Field(default=0.02, gt=0)
    rungs: tuple[float, ...] = (1 / 3, 1.0)
    seed: int = 0

    @field_validator("rungs")
    @classmethod
    def _check_rungs(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if not rungs or min(rungs) <= 0 or max(rungs) != 1:
            raise InputError(f"rungs must be shares of the schedule of which the greatest is 1, but got rungs={rungs}.")
        return rungs

    def rate(self, iteration: int) -> float:
        """Return the learning rate's share of its peak at a step, 0-based."""
        rise = max(1, round(self.warmup * self.iterations))
        if iteration < rise:
            return (iteration + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (iteration - rise) / max(1, self.iterations - rise)))

    @property
    def rung_iterations(self) -> tuple[int, ...]:
        """The steps after which the network is judged."""
        return tuple(sorted({max(1, round(share * self.iterations)) for share in self.rungs}))
