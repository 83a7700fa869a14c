"""Trains one network: L1, AdamW, warm-up then cosine, gradient clipping, an exponential moving average."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srnas.nas.pairs import PatchSampler
from srnas.nas.resuming import load_training, save_training
from srnas.nas.team import Team
from srnas.search_space import Architecture, InputError, Network

# How often the loss is read back (and checked): every read waits for the device.
_REPORT_EVERY = 10
# A killed training loses at most about so much.
_SAVE_EVERY_S = 120.0
_ALONE = Team()


class DivergedError(ArithmeticError):
    """The loss or the result of a training is not finite."""


class TrainingConfig(BaseModel):
    """A training schedule.

    Attributes:
        iterations: Optimiser steps.
        patch: Side of an LR patch in pixels.
        batch: Patches per step.
        learning_rate: Peak of the schedule.
        warmup: Share of the steps with a linearly rising rate.
        weight_decay: Of AdamW.
        clip_norm: Gradients are scaled down to this norm.
        ema_share: Horizon of the moving average as a share of the steps.
        rungs: Shares of the schedule at which the network is judged; the last is 1.
        seed: Of initialisation and patches: equal seeds show every network the same patches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(ge=1)
    patch: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
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


@dataclass(frozen=True)
class Progress:
    """Where a training is: steps done, the mean L1 loss since the last report, the time spent in steps, the rate."""

    iteration: int
    loss: float
    train_s: float
    learning_rate: float


def build_seeded(architecture: Architecture, seed: int) -> Network:
    """Return the network with weights drawn from ``seed``; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.build()


def train(
    network: nn.Module,
    patches: PatchSampler,
    config: TrainingConfig,
    device: torch.device,
    *,
    on_step: Callable[[Progress], None] = lambda _: None,
    on_rung: Callable[[int, nn.Module], None] = lambda _iteration, _network: None,
    saved: Path | None = None,
    notes: dict[str, Any] | None = None,
    chunks: int = 1,
    dtype: torch.dtype | None = None,
    team: Team = _ALONE,
) -> tuple[nn.Module, float]:
    """Train ``network`` in place and return its moving average in eval mode, and the seconds spent in steps.

    On a CPU equal seeds and threads give equal weights, also of a training that was interrupted.

    Args:
        network: Freshly built.
        patches: Where batches come from.
        config: The schedule.
        device: Where to train.
        on_step: Called every few steps.
        on_rung: Called at each rung with the step and the moving average in eval mode.
        saved: Where the training is saved at each rung and every two minutes, and goes on from if it exists.
        notes: JSON that is saved with it, and filled with what was saved.
        chunks: A step goes through the network in so many parts: less memory for the same step, but for
            the statistics of a batch norm.
        dtype: Of the autocast of the forward pass; by default bfloat16 on CUDA, and float32, which is none, elsewhere.
        team: The processes that share every batch; only the first calls ``on_rung`` and saves.

    Raises:
        DivergedError: If the loss is not finite.
        DiskFullError: If it cannot be saved.
    """
    network = network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    decay = math.exp(-1 / (config.ema_share * config.iterations))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True).eval()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    generator = torch.Generator().manual_seed(config.seed)
    state = ({"network": network, "average": average}, optimizer, generator)
    notes = {} if notes is None else notes
    notes |= (load_training(saved, *state) if saved else None) or {}
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    runner, share, rungs = team.wrap(network), team.share(config.batch), frozenset(config.rung_iterations)
    losses: list[torch.Tensor] = []
    train_s, started = notes.get("train_s", 0.0), time.perf_counter()
    saved_s = time.monotonic()
    for iteration in range(notes.get("iteration", 0) + 1, config.iterations + 1):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * config.rate(iteration - 1)
        optimizer.zero_grad()
        losses.append(_backward(runner, *patches.draw(config.batch, generator, share), chunks, dtype))
        nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm, foreach=True)
        optimizer.step()
        average.update_parameters(network)
        if iteration % _REPORT_EVERY == 0 or iteration == config.iterations or iteration in rungs:
            mean_loss = _mean_loss(losses, iteration, team)
            losses.clear()
            train_s += time.perf_counter() - started
            on_step(Progress(iteration, mean_loss, train_s, group["lr"]))
            if iteration in rungs:
                team.lead(partial(on_rung, iteration, average.module))
            if saved and (iteration in rungs or team.agreed(time.monotonic() - saved_s > _SAVE_EVERY_S)):
                notes |= {"iteration": iteration, "train_s": train_s}
                team.lead(partial(save_training, saved, *state, notes))
                saved_s = time.monotonic()
            started = time.perf_counter()
    return average.module, train_s


def _backward(
    network: nn.Module, lr: torch.Tensor, hr: torch.Tensor, chunks: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Add the gradients of a batch, and return its loss."""
    losses = []
    for lr_part, hr_part in zip(lr.chunk(chunks), hr.chunk(chunks), strict=True):
        with torch.autocast(lr.device.type, dtype, enabled=dtype != torch.float32):
            loss = F.l1_loss(network(lr_part), hr_part) * (len(lr_part) / len(lr))
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def _mean_loss(losses: Sequence[torch.Tensor], iteration: int, team: Team) -> float:
    mean = float(team.mean(torch.stack(list(losses)).mean()))
    if not math.isfinite(mean):
        raise DivergedError(f"the loss is {mean} after {iteration} iterations")
    return mean
