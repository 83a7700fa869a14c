"""Judges one candidate: counts it, times it, and trains it if it is within the budgets."""

import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from srnas.leaderboard import Sizes, State, TrialRecord
from srnas.nas.cache import ResultCache, TrainedResult
from srnas.nas.candidates import CandidateTraining, Gate, StoppedError, TimedOutError, is_memory
from srnas.nas.observer import Observer
from srnas.nas.pairs import Pair, PatchSampler
from srnas.nas.proxies import proxies
from srnas.nas.resuming import DiskFullError
from srnas.nas.settings import StudySettings
from srnas.nas.storage import StorageLostError
from srnas.nas.training import DivergedError, build_seeded
from srnas.profiling import (
    BlockTable,
    DeviceBusyError,
    Measurement,
    by_block,
    count,
    measure_latency,
    reconcile,
)
from srnas.search_space import Architecture


class OverBudgetError(Exception):
    """A candidate exceeds a budget."""


_STATES: dict[type[Exception], State] = {
    OverBudgetError: "over_budget",
    StoppedError: "stopped",
    DivergedError: "diverged",
    TimedOutError: "timed_out",
}


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
        proxies: Names of the zero-cost proxies that are computed of every candidate; they decide nothing.
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
        proxies: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self.patches = patches
        self.validation = validation
        self.validation_name = validation_name
        self.cache = cache
        self.observer = observer
        self.table = table
        self.proxies = set(proxies)
        self.device = torch.device(settings.device)

    def judge(
        self,
        architecture: Architecture,
        number: int,
        design: str = "",
        gate: Gate | None = None,
        predictions: Mapping[str, float] | None = None,
    ) -> TrialRecord:
        """Return the record of a candidate; whatever goes wrong in it is part of the record.

        Args:
            architecture: The candidate.
            number: Of its trial.
            design: Name of the human design, if it is one.
            gate: Asked at every rung but the last; without one every candidate is trained to the end.
            predictions: What was expected of it.

        Raises:
            DeviceBusyError: If another process holds the device for too long.
            DiskFullError: If the workspace cannot be written.
            StorageLostError: If the gate's storage does not answer.
        """
        started_ms = int(time.time() * 1000)
        found: dict[str, Any] = {"predictions": dict(predictions or {})}
        state, reason = self._attempt(architecture, found, gate)
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

    def _attempt(self, architecture: Architecture, found: dict[str, Any], gate: Gate | None) -> tuple[State, str]:
        try:
            self._measure(architecture, found)
            self._train(architecture, found, gate)
        except (OverBudgetError, StoppedError, DivergedError, TimedOutError) as error:
            return _STATES[type(error)], str(error)
        except (DeviceBusyError, DiskFullError, StorageLostError):
            raise  # Not the candidate's fault: the study stops, and judges it when it goes on.
        except Exception as error:  # A candidate must never end the study; the reason is kept.
            return ("out_of_memory" if is_memory(error) else "failed"), f"{type(error).__name__}: {error}"
        return "complete", ""

    def _measure(self, architecture: Architecture, found: dict[str, Any]) -> None:
        shape = (1, 3, *self.settings.latency_input)
        self.observer.on_stage("counting")
        network = build_seeded(architecture, self.settings.training.seed).deploy()
        counts = count(network, shape)
        found["sizes"] = Sizes.from_counts(counts)
        self._check_budgets({"params_k": counts.params / 1e3, "macs_g": counts.macs / 1e9})
        self._screen(architecture, found)
        found["sizes"] = Sizes.from_counts(counts, reconcile(network, shape))
        found["sizes_by_block"] = by_block(counts, architecture)
        self.observer.on_stage("timing")
        found |= self.time({"candidate": network}).record_of("candidate")
        self._check_budgets({"latency_ms": found["latency"].stable_ms})

    def _screen(self, architecture: Architecture, found: dict[str, Any]) -> None:
        """End a candidate that the block table expects to be too slow, errors of the table allowed for."""
        if self.table is None or not self.table.covers(architecture):
            return
        if self.table.validation.kendall_tau_interval[0] <= 0:  # It has no signal.
            return
        found["predictions"]["table"] = self.table.predict_ms(architecture)
        limit = self.settings.budgets.max_latency_ms
        if limit is not None and (least := self.table.least_ms(architecture)) > limit:
            raise OverBudgetError(f"latency_ms={least:.4g} at least > {limit:g}, by the block table")

    def time(self, networks: dict[str, nn.Module]) -> Measurement:
        """Measure deployed networks at the study's input."""
        return measure_latency(networks, (1, 3, *self.settings.latency_input), self.settings.target)

    def _check_budgets(self, values: dict[str, float]) -> None:
        exceeded = self.settings.budgets.exceeded(values)
        if exceeded:
            raise OverBudgetError(exceeded)

    def _train(self, architecture: Architecture, found: dict[str, Any], gate: Gate | None) -> None:
        if self.proxies:
            generator = torch.Generator().manual_seed(self.settings.training.seed)
            batch = self.patches.draw(self.settings.training.batch, generator)
            network = build_seeded(architecture, self.settings.training.seed).to(self.device)
            found["predictions"] |= proxies(network, *batch, sorted(self.proxies))
        result = self.cache.load(architecture.key)
        found["reused"] = result is not None
        if result is None:
            result = self._training(self.settings, self.cache).run(architecture, found, gate)
        found |= {"rungs": result.rungs, "quality": result.quality, "train_s": result.train_s}

    def replicate(self, architecture: Architecture, seed: int) -> TrainedResult:
        """Return what training from another seed gives.

        Raises:
            DivergedError: If it diverges.
            TimedOutError: If it takes longer than a candidate may.
        """
        settings = self.settings.with_seed(seed)
        cache = self.cache.of(settings.protocol)
        return cache.load(architecture.key) or self._training(settings, cache).run(architecture, {}, None)

    def _training(self, settings: StudySettings, cache: ResultCache) -> CandidateTraining:
        return CandidateTraining(settings, self.patches, self.validation, cache, self.device, self.observer)
