"""Judges one candidate: counts it, times it, and trains it if it is within the budgets."""

import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from functools import cached_property

import torch
from torch import nn

from srnas.leaderboard.record.trials import Sizes, State, TrialRecord
from srnas.nas.errors import (
    DiskFullError,
    DivergedError,
    OverBudgetError,
    StoppedError,
    StorageLostError,
    TimedOutError,
)
from srnas.nas.judging.cache import TrainedResult
from srnas.nas.judging.candidate import CandidateTraining, RungGate, put_training_away
from srnas.nas.judging.device_errors import check_device, check_machine
from srnas.nas.judging.draft import Draft
from srnas.nas.judging.materials import Materials
from srnas.nas.judging.proxies import proxies
from srnas.nas.judging.timed_scorer import TimedScorer, draw_calibration
from srnas.nas.study.settings import StudySettings
from srnas.nas.training.loop import build_seeded
from srnas.profiling import (
    BlockTable,
    BoardRefusedError,
    DeviceBusyError,
    LatencyProtocol,
    MeasuredNetwork,
    Measurement,
    Target,
    by_block,
    count,
    cpu_threads,
    default_protocol,
    device_share,
    measure_latency,
    reconcile,
)
from srnas.profiling.memory import is_memory
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.search_space import Architecture

# How a candidate ends that raises one of these.
_STATES: dict[type[Exception], State] = {
    OverBudgetError: "over_budget",
    StoppedError: "stopped",
    DivergedError: "diverged",
    TimedOutError: "timed_out",
}


# A candidate is timed so briefly: its latency decides on budgets and on its neighbours at the rungs, and is trusted
# within the share; the front is timed again at the end.
_BRIEF = {"warmup_min_s": 0.05, "warmup_cap_s": 0.3, "window_calls": 2, "min_rounds": 6, "max_rounds": 6}
_BRIEF_SHARE = 0.1
# What seems to miss the budget by no greater share is timed by the full rules: other work may slow a brief timing.
_LATE_SHARE = 0.5


class Judge:
    """Turns architectures into records.

    Args:
        materials: What candidates are trained and judged with.
        table: Predicts latencies on the study's target and input, if there is one.
        proxies: Names of the zero-cost proxies that are computed of every candidate; they decide nothing.
    """

    def __init__(self, materials: Materials, table: BlockTable | None = None, proxies: Collection[str] = ()) -> None:
        self.materials = materials
        self.table = table
        self.proxies = set(proxies)

    def judge(
        self,
        architecture: Architecture,
        number: int,
        design: str = "",
        gate: RungGate | None = None,
        predictions: Mapping[str, float] | None = None,
    ) -> TrialRecord:
        """Return the record of a candidate; whatever goes wrong in it is part of the record.

        Args:
            architecture: The candidate.
            number: The number of its trial.
            design: Name of the human design, if it is one.
            gate: Asked at every rung but the last; without one every candidate is trained to the end.
            predictions: What was expected of it, by predictor.

        Raises:
            BoardRefusedError: If the board that times takes nothing more from this study.
            DeviceBusyError: If another process holds the device for too long.
            DeviceLostError: If the device answers nothing any more.
            DiskFullError: If the workspace cannot be written.
            InputError: If files of this machine cannot be used otherwise.
            StorageLostError: If the gate's storage does not answer.
        """
        started_ms = int(time.time() * 1000)
        draft = Draft(predictions=dict(predictions or {}))
        state, reason = self._attempt(architecture, draft, gate)
        return TrialRecord(
            study=self.materials.settings.name,
            number=number,
            state=state,
            reason=reason,
            architecture=architecture,
            design=design,
            protocol=self.materials.settings.protocol,
            validation=self.materials.validation_name,
            started_ms=started_ms,
            ended_ms=int(time.time() * 1000),
            host=socket.gethostname(),
            pid=os.getpid(),
            **{field.name: getattr(draft, field.name) for field in fields(draft)},
        )

    def _attempt(self, architecture: Architecture, draft: Draft, gate: RungGate | None) -> tuple[State, str]:
        try:
            self._measure(architecture, draft)
            self._train(architecture, draft, gate)
            self._time_again(architecture, draft)
        except (OverBudgetError, StoppedError, DivergedError, TimedOutError) as error:
            return _STATES[type(error)], str(error)
        except (BoardRefusedError, DeviceBusyError, DiskFullError, StorageLostError):
            raise  # Not the candidate's fault: the study stops, and judges it when it goes on.
        except Exception as error:  # A candidate must never end the study; the reason is kept.
            check_device(self.materials.device, error)
            check_machine(error)
            return ("out_of_memory" if is_memory(error) else "failed"), f"{type(error).__name__}: {error}"
        return "complete", ""

    def _measure(self, architecture: Architecture, draft: Draft) -> None:
        settings, observer = self.materials.settings, self.materials.observer
        shape = (1, 3, *settings.latency_input)
        observer.on_stage("counting")
        network = build_seeded(architecture, settings.training.seed).deploy()
        counts = count(network, shape)
        draft.sizes = Sizes.from_counts(counts)
        _refuse(settings.budgets.exceeded(params_k=counts.params / 1e3, macs_g=counts.macs / 1e9))
        self._screen(architecture, draft)
        # The published counters trace the network twice more: a candidate that is refused above is spared that.
        draft.sizes = Sizes.from_counts(counts, reconcile(network, shape))
        draft.sizes_by_block = by_block(counts, architecture)
        observer.on_stage("timing")
        measured = self._time_briefly(network)
        draft.take(measured)
        _refuse(settings.budgets.exceeded(fastest_ms=measured.latency.fastest_ms))

    def _screen(self, architecture: Architecture, draft: Draft) -> None:
        """End a candidate that the block table expects to be too slow, errors of the table allowed for."""
        if self.table is None or not self.table.covers(architecture):
            return
        if self.table.validation.kendall_tau_interval[0] <= 0:  # It has no signal.
            return
        draft.predictions["table"] = self.table.predict_ms(architecture)
        limit = self.materials.settings.budgets.max_latency_ms
        if limit is not None and (least := self.table.least_ms(architecture)) > limit:
            raise OverBudgetError(f"fastest_ms={least:.4g} at least > {limit:g}, by the block table")

    def _time_briefly(self, network: nn.Module) -> MeasuredNetwork:
        """Time a candidate for a short time; as long as ever where that leaves open whether it meets the budget.

        A candidate over the budget is never proposed again, so that a timing that other work slowed must not decide.
        """
        target, limit = self.materials.target, self.materials.settings.budgets.max_latency_ms
        measured = self._time({"candidate": network}, brief_protocol(target)).of("candidate")
        if limit is not None and limit < measured.latency.fastest_ms <= (1 + _LATE_SHARE) * limit:
            return self._time({"candidate": network}, default_protocol(target)).of("candidate")
        return measured

    def _time_again(self, architecture: Architecture, draft: Draft) -> None:
        """Time a trained candidate again if its timing was disturbed, and keep the faster.

        What disturbed it is often gone after the training.
        """
        if draft.latency is None or "disturbed" not in draft.latency.flags:
            return
        self.materials.observer.on_stage("timing")
        network = build_seeded(architecture, self.materials.settings.training.seed).deploy()
        try:
            measured = self._time({"candidate": network}, brief_protocol(self.materials.target)).of("candidate")
        except RuntimeFailedError:  # It is trained, and was timed once.
            return
        if measured.latency.fastest_ms < draft.latency.fastest_ms:
            draft.take(measured)

    def time_together(self, architectures: Mapping[str, Architecture]) -> Measurement:
        """Time networks in the same rounds, each for as long as it would be timed by itself.

        Raises:
            DeviceBusyError: If another process holds the device for too long.
        """
        materials = self.materials
        return time_together(architectures, materials.settings, materials.target, materials.observer.on_note)

    def _time(self, networks: Mapping[str, nn.Module], protocol: LatencyProtocol) -> Measurement:
        """Measure deployed networks at the study's input."""
        materials = self.materials
        shape = (1, 3, *materials.settings.latency_input)
        return measure_latency(networks, shape, materials.target, protocol=protocol, on_note=materials.observer.on_note)

    def _train(self, architecture: Architecture, draft: Draft, gate: RungGate | None) -> None:
        materials = self.materials
        if self.proxies:
            draft.predictions |= self._proxies(architecture)
        result = materials.cache.load(architecture.key)
        # A process of this study may have trained it and died before the study had its record.
        is_own = result is None or result.pending == materials.settings.name
        if result is None:
            result = CandidateTraining(materials, architecture, draft, gate).run()
        else:
            # What this study has begun and another ended is no whole training.
            put_training_away(materials, architecture.key, is_whole=is_own)
        draft.rungs, draft.quality, draft.train_s = result.rungs, result.quality, result.train_s
        draft.halved_batch, draft.spared, draft.reused = result.halved_batch, result.spared and is_own, not is_own

    def settle(self, architecture: Architecture) -> None:
        """Say in the cache that the study has the record of a candidate.

        Raises:
            DiskFullError: If the workspace cannot be written.
        """
        self.materials.cache.settle(architecture.key, self.materials.settings.name)

    def _proxies(self, architecture: Architecture) -> dict[str, float]:
        materials, training = self.materials, self.materials.settings.training
        # A generator and a network of their own: with proxies a candidate is trained as it is without them.
        number = max(training.batch, 2)
        batch = materials.patches.draw(number, torch.Generator().manual_seed(training.seed))
        try:
            with cpu_threads(materials.settings.training_threads), device_share(materials.device):
                network = build_seeded(architecture, training.seed).to(materials.device)
                return proxies(network, *batch, sorted(self.proxies))
        except Exception as error:
            if not is_memory(error):
                raise
            # The training halves its batch then; these decide nothing.
            return {}

    def replicate(self, architecture: Architecture, seed: int) -> TrainedResult:
        """Return what training from another seed gives.

        Raises:
            DeviceLostError: If the device answers nothing any more.
            DivergedError: If it diverges.
            InputError: If files of this machine cannot be used.
            TimedOutError: If it takes longer than a candidate may.
        """
        materials = self.materials.with_settings(self.materials.settings.with_training(seed=seed))
        # A study that was killed after this training has its result here.
        known = materials.cache.load(architecture.key)
        try:
            # Nobody reads this draft: a replicate is no trial and passes no gate.
            return known or CandidateTraining(materials, architecture, Draft()).run()
        except (DeviceBusyError, DiskFullError):
            raise
        except Exception as error:
            check_device(materials.device, error)
            check_machine(error)
            raise

    @cached_property
    def timed_scorer(self) -> TimedScorer:
        """What scores trained networks in the data type that is timed."""
        materials = self.materials
        calibration = draw_calibration(materials.patches)
        return TimedScorer(materials.target, materials.validation, materials.settings.scale, calibration)


def time_together(
    architectures: Mapping[str, Architecture],
    settings: StudySettings,
    target: Target,
    on_note: Callable[[str], None],
) -> Measurement:
    """Time networks at a study's input in the same rounds, each for as long as it would be timed by itself.

    Raises:
        DeviceBusyError: If another process holds the device for too long.
    """
    networks = {name: build_seeded(one, settings.training.seed).deploy() for name, one in architectures.items()}
    return measure_latency(networks, (1, 3, *settings.latency_input), target, on_note=on_note)


def brief_protocol(target: Target, number: int = 1) -> LatencyProtocol:
    """Return the rules by which a candidate is timed before it is trained, or so many of them side by side."""
    usual = default_protocol(target, number)
    shorter = {name: min(value, getattr(usual, name)) for name, value in _BRIEF.items()}
    return replace(usual, **shorter, interval=_BRIEF_SHARE)


def _refuse(exceeded: str) -> None:
    if exceeded:
        raise OverBudgetError(exceeded)
