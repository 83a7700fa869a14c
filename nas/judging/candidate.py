"""Trains one candidate from rung to rung; if it is killed, another process can continue."""

import math
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from srnas.leaderboard.record.trials import Quality, Rung
from srnas.nas.errors import DivergedError, StoppedError, TimedOutError
from srnas.nas.files import write_whole
from srnas.nas.images.evaluation import evaluate
from srnas.nas.judging.cache import TrainedResult
from srnas.nas.judging.draft import Draft
from srnas.nas.judging.materials import Materials
from srnas.nas.strategy.rungs import Decision
from srnas.nas.training.loop import Compute, TrainingProgress, build_seeded, train
from srnas.nas.training.state import TrainingState
from srnas.profiling import cpu_threads, device_share
from srnas.profiling.lease import Share
from srnas.profiling.memory import is_memory
from srnas.search_space import Architecture

# A batch that is too large for the memory goes through the network in so many parts.
_CHUNKS = 2


class RungGate(Protocol):
    """Decides at a rung whether a candidate continues."""

    def __call__(self, rung: Rung, fastest_ms: float) -> Decision:
        """Return the decision for a candidate with this fastest round in milliseconds."""


class CandidateState(TrainingState):
    """Where the training of a candidate is.

    Attributes:
        rungs: PSNR at the rungs that the training has reached so far.
        spared: Whether a rung would have stopped the candidate, which went on nevertheless.
    """

    rungs: tuple[Rung, ...] = ()
    spared: bool = False


class CandidateTraining:
    """The training of one candidate of a study.

    Args:
        materials: What candidates are trained with.
        architecture: The candidate.
        draft: Filled on the way (``rungs``, ``quality``, ``train_s``, ``spared``, ``halved_batch``); with a gate it
            holds ``latency``.
        gate: Asked at every rung but the last; without one the candidate is trained to the end.
    """

    def __init__(
        self, materials: Materials, architecture: Architecture, draft: Draft, gate: RungGate | None = None
    ) -> None:
        self._materials = materials
        self._architecture = architecture
        self._draft = draft
        self._gate = gate

    def run(self) -> TrainedResult:
        """Train to the end and keep the result; a batch that is too large for the memory is halved once.

        Raises:
            StoppedError: If the gate stops it.
            DivergedError: If it diverges.
            TimedOutError: If it takes longer than a candidate may.
        """
        try:
            return self._run(chunks=1)
        except Exception as error:
            if not is_memory(error) or self._materials.settings.training.batch < _CHUNKS:
                raise
        # After the except clause: the error in it keeps the tensors of the first attempt alive.
        self._draft.halved_batch = True
        if self._materials.device.type == "cuda":
            # What the allocator keeps of the first attempt is cut for whole batches.
            with torch.cuda.device(self._materials.device):
                torch.cuda.empty_cache()
        return self._run(chunks=_CHUNKS)

    def _run(self, chunks: int) -> TrainedResult:
        materials, key = self._materials, self._architecture.key
        settings, observer, device = materials.settings, materials.observer, materials.device
        # Studies of one protocol share results, but two must not write one unfinished training.
        saved = materials.cache.training(key, settings.name)
        self._go_on(saved)
        state = CandidateState()
        observer.on_stage("training")
        try:
            with cpu_threads(settings.training_threads), device_share(device) as share:

                def on_step(progress: TrainingProgress) -> None:
                    self._draft.train_s = progress.train_s
                    self._check_time(progress)
                    observer.on_step(progress)
                    # Another process may be waiting to measure, and no step may run beside a measurement.
                    share.give_way()

                network, train_s = train(
                    build_seeded(self._architecture, settings.training.seed),
                    materials.patches,
                    settings.training,
                    Compute(device, chunks=chunks),
                    state=state,
                    saved=saved,
                    on_step=on_step,
                    on_rung=lambda iteration, network: self._judge(iteration, network, state, share),
                )
                # A training that was saved after its last step is judged here.
                quality = self._draft.quality or self._evaluate(network, share)
        except (StoppedError, DivergedError, TimedOutError):
            # How it ended is the candidate's result: nobody goes on with its training.
            saved.unlink(missing_ok=True)
            raise
        finally:
            # Also of what an earlier process had reached.
            self._draft.rungs = state.rungs
            # What was spared on the way to a shorter length was spared in the study of that.
            self._draft.spared = state.spared and not settings.training.annealed
        result = TrainedResult(
            rungs=state.rungs,
            quality=quality,
            train_s=train_s,
            spared=self._draft.spared,
            halved_batch=self._draft.halved_batch,
            # Of another seed no trial has a record.
            pending=settings.name if settings.training.seed == settings.seed else "",
        )
        materials.cache.save(key, result, network)
        put_training_away(materials, key)
        return result

    def _go_on(self, saved: Path) -> None:
        """Begin where the next shorter training has ended, unless this one has begun."""
        materials, key = self._materials, self._architecture.key
        below = materials.settings.training.below
        if below is None or saved.is_file():
            return
        shorter = materials.settings.model_copy(update={"training": below})
        ended = materials.cache.of(shorter.protocol).ended(key)
        if ended.is_file():
            write_whole(saved, ended.read_bytes())
        # Other seeds are trained at the longest length only.
        elif materials.settings.training.seed == materials.settings.seed:
            materials.observer.on_note(f"{self._architecture}: no saved training to continue from, so it starts again")

    def _judge(self, iteration: int, network: nn.Module, state: CandidateState, share: Share) -> None:
        observer, draft = self._materials.observer, self._draft
        observer.on_stage("judging")
        last = iteration == self._materials.settings.training.iterations
        # SSIM takes longer than PSNR, and no rung compares it.
        scores = self._evaluate(network, share, with_ssim=last)
        if not math.isfinite(scores.mean_psnr_y_db):
            raise DivergedError(f"PSNR is {scores.mean_psnr_y_db} after {iteration} iterations")
        rung = Rung(iteration=iteration, psnr_y_db=scores.mean_psnr_y_db)
        state.rungs = (*state.rungs, rung)
        observer.on_rung(rung)
        if last:
            draft.quality = scores
        elif self._gate:
            assert draft.latency is not None
            decision = self._gate(rung, draft.latency.fastest_ms)
            state.spared = state.spared or decision.spared
            if not decision.survives:
                raise StoppedError(decision.reason)
        observer.on_stage("training")

    def _evaluate(self, network: nn.Module, share: Share, *, with_ssim: bool = True) -> Quality:
        materials = self._materials
        scale, device = materials.settings.scale, materials.device
        return evaluate(network, materials.validation, scale, device, with_ssim=with_ssim, between=share.give_way)

    def _check_time(self, progress: TrainingProgress) -> None:
        limit = self._materials.settings.max_train_s
        if limit is not None and progress.train_s > limit:
            raise TimedOutError(f"train_s={progress.train_s:.4g} > {limit:g} after {progress.iteration} iterations")


def put_training_away(materials: Materials, key: str, *, is_whole: bool = True) -> None:
    """Keep the whole training of a candidate whose result is kept, if a longer one goes on from it; else remove it."""
    saved = materials.cache.training(key, materials.settings.name)
    if materials.keeps_trainings and is_whole and saved.is_file():
        saved.replace(materials.cache.ended(key))
    else:
        saved.unlink(missing_ok=True)
