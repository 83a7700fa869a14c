"""Trains one candidate from rung to rung; it can be killed at any moment and goes on in another process."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from srnas.leaderboard import Quality, Rung
from srnas.nas.cache import ResultCache, TrainedResult
from srnas.nas.evaluation import Scores, evaluate
from srnas.nas.observer import Observer
from srnas.nas.pairs import Pair, PatchSampler
from srnas.nas.rungs import Decision
from srnas.nas.settings import StudySettings
from srnas.nas.training import DivergedError, Progress, build_seeded, train
from srnas.profiling import cpu_threads, device_share
from srnas.search_space import Architecture

# A batch that is too large for the memory goes through the network in so many parts.
_CHUNKS = 2


class StoppedError(Exception):
    """A candidate does not get beyond a rung."""


class TimedOutError(Exception):
    """A candidate is trained for too long."""


class Gate(Protocol):
    """Decides at a rung whether a candidate goes on."""

    def __call__(self, rung: Rung, latency_ms: float) -> Decision:
        """Return the decision for a candidate of this latency."""


class CandidateTraining:
    """Trains candidates of a study as its settings say.

    Args:
        settings: Of the study.
        patches: Training patches on the device.
        validation: Held-out pairs.
        cache: Where results and unfinished trainings are kept.
        device: What trains.
        observer: Told of every stage.
    """

    def __init__(
        self,
        settings: StudySettings,
        patches: PatchSampler,
        validation: Sequence[Pair],
        cache: ResultCache,
        device: torch.device,
        observer: Observer,
    ) -> None:
        self.settings = settings
        self.patches = patches
        self.validation = validation
        self.cache = cache
        self.device = device
        self.observer = observer

    def run(self, architecture: Architecture, found: dict[str, Any], gate: Gate | None) -> TrainedResult:
        """Train to the end and keep the result; a batch that is too large for the memory is halved once.

        Args:
            architecture: The candidate.
            found: Filled on the way (``rungs``, ``quality``, ``train_s``, ``spared``, ``halved_batch``); with a gate it
                holds ``latency``.
            gate: Asked at every rung but the last.

        Raises:
            StoppedError: If the gate stops it.
            DivergedError: If it diverges.
            TimedOutError: If it takes longer than a candidate may.
        """
        try:
            return self._run(architecture, found, gate)
        except Exception as error:
            if not is_memory(error) or self.settings.training.batch < _CHUNKS:
                raise
        found["halved_batch"] = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._run(architecture, found, gate)

    def _run(self, architecture: Architecture, found: dict[str, Any], gate: Gate | None) -> TrainedResult:
        saved = self.cache.training(architecture.key, self.settings.name)
        notes: dict[str, Any] = {}
        self.observer.on_stage("training")
        try:
            with cpu_threads(self.settings.threads), device_share(self.device) as share:

                def on_step(progress: Progress) -> None:
                    found["train_s"] = progress.train_s
                    self._check_time(progress)
                    self.observer.on_step(progress)
                    share.give_way()

                network, train_s = train(
                    build_seeded(architecture, self.settings.training.seed),
                    self.patches,
                    self.settings.training,
                    self.device,
                    on_step=on_step,
                    on_rung=lambda iteration, network: self._judge(iteration, network, notes, found, gate),
                    saved=saved,
                    notes=notes,
                    chunks=_CHUNKS if found.get("halved_batch") else 1,
                )
        except (StoppedError, DivergedError, TimedOutError):
            saved.unlink(missing_ok=True)
            raise
        if "quality" not in found:  # It was saved after the last step.
            found["quality"] = quality_of(evaluate(network, self.validation, self.settings.scale, self.device))
        found["spared"] = notes.get("spared", False)
        result = TrainedResult(rungs=_rungs(notes), quality=found["quality"], train_s=train_s)
        self.cache.save(architecture.key, result, network)
        saved.unlink(missing_ok=True)
        return result

    def _judge(
        self, iteration: int, network: nn.Module, notes: dict[str, Any], found: dict[str, Any], gate: Gate | None
    ) -> None:
        self.observer.on_stage("judging")
        last = iteration == self.settings.training.iterations
        scores = evaluate(network, self.validation, self.settings.scale, self.device, with_ssim=last)
        if not math.isfinite(scores.mean_psnr_y_db):
            raise DivergedError(f"PSNR is {scores.mean_psnr_y_db} after {iteration} iterations")
        rung = Rung(iteration=iteration, psnr_y_db=scores.mean_psnr_y_db)
        notes["rungs"] = [*notes.get("rungs", ()), rung.model_dump()]
        found["rungs"] = _rungs(notes)
        self.observer.on_rung(rung)
        if last:
            found["quality"] = quality_of(scores)
        elif gate:
            decision = gate(rung, found["latency"].stable_ms)
            notes["spared"] = found["spared"] = notes.get("spared", False) or decision.spared
            if not decision.survives:
                raise StoppedError(decision.reason)
        self.observer.on_stage("training")

    def _check_time(self, progress: Progress) -> None:
        limit = self.settings.max_train_s
        if limit is not None and progress.train_s > limit:
            raise TimedOutError(f"train_s={progress.train_s:.4g} > {limit:g} after {progress.iteration} iterations")


def is_memory(error: Exception) -> bool:
    """Return whether an error is that of a lack of memory."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _rungs(notes: Mapping[str, Any]) -> tuple[Rung, ...]:
    return tuple(Rung(**rung) for rung in notes["rungs"])


def quality_of(scores: Scores) -> Quality:
    """Return scores as they are recorded."""
    return Quality(
        images=scores.names,
        psnr_y_db=scores.psnr_y_db,
        ssim_y=scores.ssim_y,
        mean_psnr_y_db=scores.mean_psnr_y_db,
        mean_ssim_y=scores.mean_ssim_y,
    )
