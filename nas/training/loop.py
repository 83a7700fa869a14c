"""Trains one network: L1, Muon and AdamW, warm-up then cosine, gradient clipping, an exponential moving average."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from srnas.nas.errors import DivergedError
from srnas.nas.images.patches import PatchSampler
from srnas.nas.training.average import MovingAverage
from srnas.nas.training.optimizers import make_optimizers
from srnas.nas.training.schedule import TrainingConfig
from srnas.nas.training.state import Trained, TrainingState, load_training, save_training
from srnas.nas.training.team import Team
from srnas.profiling.precision import true_float32
from srnas.search_space import Architecture, Network

# How often the loss is read back (and checked): every read waits for the device. Long steps are reported sooner: who
# is told gives way to measurements.
_REPORT_EVERY, _REPORT_EVERY_S = 10, 5.0
# A killed training loses at most about so much of its steps.
_SAVE_EVERY_S = 120.0


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training is: steps done, the mean L1 loss since the last report, the time spent in steps, the rate."""

    iteration: int
    loss: float
    train_s: float
    learning_rate: float


@dataclass(frozen=True)
class Compute:
    """What a training runs on, and how.

    Attributes:
        device: Where the network and the patches are.
        dtype: Data type of the forward pass under autocast. The default is bfloat16 on GPUs that have it; elsewhere it
            is float32, which means no autocast.
        chunks: Number of parts in which a batch goes through the network. More parts need less memory for the same
            step; only the statistics of a batch norm differ.
        team: The processes that share every batch; only the first calls ``on_rung`` and saves.
    """

    device: torch.device
    dtype: torch.dtype | None = None
    chunks: int = 1
    team: Team = field(default_factory=Team)

    @property
    def autocast(self) -> torch.dtype:
        """The data type of the forward pass."""
        if self.dtype or self.device.type != "cuda":
            return self.dtype or torch.float32
        # Torch asks the present device, and GPUs of a machine may differ.
        with torch.cuda.device(self.device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32


def build_seeded(architecture: Architecture, seed: int) -> Network:
    """Return the network with weights drawn from ``seed``; the global random state is left as it was."""
    # Weights are drawn on the CPU; to fork the generators of GPUs would start CUDA.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(architecture)


@true_float32()
def train(
    network: nn.Module,
    patches: PatchSampler,
    config: TrainingConfig,
    compute: Compute,
    *,
    state: TrainingState | None = None,
    saved: Path | None = None,
    on_step: Callable[[TrainingProgress], None] = lambda _: None,
    on_rung: Callable[[int, nn.Module], None] = lambda _iteration, _network: None,
) -> tuple[nn.Module, float]:
    """Train ``network`` in place and return its moving average in eval mode, and the seconds spent in steps.

    On a CPU equal seeds and threads give equal weights, also of a training that was interrupted.

    Args:
        network: Freshly built.
        patches: Where batches come from.
        config: The schedule.
        compute: What the training runs on, and how.
        state: Where the training is, with what the caller keeps; filled from ``saved``, and saved with it.
        saved: File that the training is saved to at each rung and every two minutes, and goes on from if it exists.
        on_step: Called every few steps; of one process at least every few seconds, unless a step takes longer.
        on_rung: Called at each rung with the step and the moving average in eval mode.

    Raises:
        DivergedError: If the loss is not finite.
        DiskFullError: If it cannot be saved.
    """
    device, team = compute.device, compute.team
    network = network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    decay = math.exp(-1 / (config.ema_share * config.lengths[0]))
    average = MovingAverage(network, decay)
    optimizers = make_optimizers(network, config)
    peaks = {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}
    # On the CPU whatever the device is, so that all devices see the same batches.
    generator = torch.Generator().manual_seed(config.seed)
    state = TrainingState() if state is None else state
    whole = Trained({"network": network, "average": average}, optimizers, generator)
    if saved:
        load_training(saved, whole, state)
    runner, share, rungs = team.wrap(network), team.share(config.batch), frozenset(config.rung_iterations)
    losses: list[torch.Tensor] = []
    train_s, started = state.train_s, time.perf_counter()
    saved_s = time.monotonic()
    for iteration in range(state.iteration + 1, config.iterations + 1):
        rate = config.rate(iteration - 1)
        for name, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = peaks[name] * rate
            optimizer.zero_grad()
        batch = patches.draw(config.batch, generator, share)
        losses.append(_backward(runner, *batch, compute.chunks, compute.autocast))
        nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm, foreach=True)
        for optimizer in optimizers.values():
            optimizer.step()
        average.update_parameters(network)
        is_late = team.size == 1 and time.perf_counter() - started > _REPORT_EVERY_S
        if iteration % _REPORT_EVERY == 0 or is_late or iteration == config.iterations or iteration in rungs:
            # Reading the loss waits for the device, so the time that is taken next is that of steps that have ended.
            mean_loss = _mean_loss(losses, iteration, team)
            losses.clear()
            train_s += time.perf_counter() - started
            on_step(TrainingProgress(iteration, mean_loss, train_s, config.learning_rate * rate))
            if iteration in rungs:
                team.lead(partial(on_rung, iteration, average.module))
            # The first process decides for all: clocks differ, and saving is done together.
            if saved and (iteration in rungs or team.agreed(time.monotonic() - saved_s > _SAVE_EVERY_S)):
                state.iteration, state.train_s = iteration, train_s
                team.lead(partial(save_training, saved, whole, state))
                saved_s = time.monotonic()
            # What judging and saving took is no part of the time in steps.
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
