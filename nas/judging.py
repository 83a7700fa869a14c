"""Judges one candidate: counts it, times it, and trains it if it is within the budgets."""

import math
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from srnas.leaderboard import Quality, Rung, Sizes, State, TrialRecord
from srnas.nas.cache import ResultCache, TrainedResult
from srnas.nas.evaluation import Scores, evaluate
from srnas.nas.pairs import Pair, PatchSampler
from srnas.nas.settings import StudySettings
from srnas.nas.training import DivergedError, Progress, build_seeded, train
from srnas.profiling import (
    BlockTable,
    DeviceBusyError,
    Measurement,
    by_block,
    count,
    cpu_threads,
    device_share,
    measure_latency,
    reconcile,
)
from srnas.search_space import Architecture


class OverBudgetError(Exception):
    """A candidate exceeds a budget."""


class Observer:
    """What a search tells about itself; every method may be overridden."""

    def on_note(self, text: str) -> None:
        """Say something once."""

    def on_start(self, judged: int, iterations: int) -> None:
        """The search begins with so many judged trials; a candidate is trained for so many iterations."""

    def on_trial(self, number: int, architecture: Architecture, design: str) -> None:
        """A candidate is about to be judged."""

    def on_stage(self, stage: str) -> None:
        """A candidate enters ``counting``, ``timing``, ``training`` or ``judging``."""

    def on_step(self, progress: Progress) -> None:
        """Training went on."""

    def on_rung(self, rung: Rung) -> None:
        """The candidate was judged during training."""

    def on_record(self, record: TrialRecord, on_front: bool) -> None:
        """A candidate was judged."""


class Judge:
    """Turns architectures into records.

    Args:
        settings: Of the study.
        patches: Training patches on the device.
        validation: Held-out pairs.
        validation_name: Name of the held-out set.
        cache: Results of earlier trainings.
        observer: Told of every stage.
        table: Predicts latencies of the study's target and input, if there is one.
    """

    def __init__(
        self,
        settings: StudySettings,
        patches: PatchSampler,
        validation: Sequence[Pair],
        validation_name: str,
        cache: ResultCache,
        observer: Observer,
        table: BlockTable | None = None,
    ) -> None:
        self.settings = settings
        self.patches = patches
        self.validation = validation
        self.validation_name = validation_name
        self.cache = cache
        self.observer = observer
        self.table = table
        self.device = torch.device(settings.device)

    def judge(self, architecture: Architecture, number: int, design: str = "") -> TrialRecord:
        """Return the record of a candidate; whatever goes wrong in it is part of the record.

        Raises:
            DeviceBusyError: If another process holds the device for too long.
        """
        started_ms = int(time.time() * 1000)
        found: dict[str, Any] = {}
        state, reason = self._attempt(architecture, found)
        return TrialRecord(
            study=self.settings.name,
            number=number,
            state=state,
            reason=reason,
            architecture=architecture.to_dict(),
            design=design,
            protocol=self.settings.protocol,
            validation=self.validation_name,
            started_ms=started_ms,
            ended_ms=int(time.time() * 1000),
            host=socket.gethostname(),
            pid=os.getpid(),
            **found,
        )

    def _attempt(self, architecture: Architecture, found: dict[str, Any]) -> tuple[State, str]:
        try:
            self._measure(architecture, found)
            self._train(architecture, found)
        except OverBudgetError as error:
            return "over_budget", str(error)
        except DivergedError as error:
            return "diverged", str(error)
        except DeviceBusyError:  # Not the candidate's fault: the study stops, and judges it when it goes on.
            raise
        except Exception as error:  # A candidate must never end the study; the reason is kept.
            text = f"{type(error).__name__}: {error}"
            memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text
            return ("out_of_memory" if memory else "failed"), text
        return "complete", ""

    def _measure(self, architecture: Architecture, found: dict[str, Any]) -> None:
        shape = (1, 3, *self.settings.latency_input)
        self.observer.on_stage("counting")
        network = build_seeded(architecture, self.settings.training.seed).deploy()
        counts = count(network, shape)
        found["sizes"] = Sizes.from_counts(counts)
        self._check_budgets({"params_k": counts.params / 1e3, "macs_g": counts.macs / 1e9})
        self._screen(architecture)
        found["sizes"] = Sizes.from_counts(counts, reconcile(network, shape))
        found["sizes_by_block"] = by_block(counts, architecture)
        self.observer.on_stage("timing")
        found |= self.time({"candidate": network}).record_of("candidate")
        self._check_budgets({"latency_ms": found["latency"].stable_ms})

    def _screen(self, architecture: Architecture) -> None:
        """End a candidate that the block table expects to be too slow, errors of the table allowed for."""
        limit = self.settings.budgets.max_latency_ms
        if self.table is None or limit is None or not self.table.covers(architecture):
            return
        if (least := self.table.least_ms(architecture)) > limit:
            raise OverBudgetError(f"latency_ms={least:.4g} at least > {limit:g}, by the block table")

    def time(self, networks: dict[str, nn.Module]) -> Measurement:
        """Measure deployed networks at the study's input."""
        return measure_latency(networks, (1, 3, *self.settings.latency_input), self.settings.target)

    def _check_budgets(self, values: dict[str, float]) -> None:
        exceeded = self.settings.budgets.exceeded(values)
        if exceeded:
            raise OverBudgetError(exceeded)

    def _train(self, architecture: Architecture, found: dict[str, Any]) -> None:
        result = self.cache.load(architecture.key)
        found["reused"] = result is not None
        if result is None:
            result = self._train_anew(architecture)
        found |= {"rungs": result.rungs, "quality": result.quality, "train_s": result.train_s}

    def _train_anew(self, architecture: Architecture) -> TrainedResult:
        config, scale = self.settings.training, self.settings.scale
        rungs: list[Rung] = []
        final: list[Scores] = []

        def on_rung(iteration: int, network: nn.Module) -> None:
            self.observer.on_stage("judging")
            last = iteration == config.iterations
            scores = evaluate(network, self.validation, scale, self.device, with_ssim=last)
            if not math.isfinite(scores.mean_psnr_y_db):
                raise DivergedError(f"PSNR is {scores.mean_psnr_y_db} after {iteration} iterations")
            rungs.append(Rung(iteration=iteration, psnr_y_db=scores.mean_psnr_y_db))
            final[:] = [scores]
            self.observer.on_rung(rungs[-1])
            self.observer.on_stage("training")

        self.observer.on_stage("training")
        with cpu_threads(self.settings.threads), device_share(self.device) as share:

            def on_step(progress: Progress) -> None:
                self.observer.on_step(progress)
                share.give_way()

            network, train_s = train(
                build_seeded(architecture, config.seed),
                self.patches,
                config,
                self.device,
                on_step=on_step,
                on_rung=on_rung,
            )
        result = TrainedResult(rungs=tuple(rungs), quality=_quality(final[0]), train_s=train_s)
        self.cache.save(architecture.key, result, network)
        return result


def _quality(scores: Scores) -> Quality:
    return Quality(
        images=scores.names,
        psnr_y_db=scores.psnr_y_db,
        ssim_y=scores.ssim_y,
        mean_psnr_y_db=scores.mean_psnr_y_db,
        mean_ssim_y=scores.mean_ssim_y,
    )
