"""Trains a chosen architecture on the long schedule, to ship it; a killed training continues where it was saved."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from srnas.leaderboard.record.finals import FinalResult
from srnas.leaderboard.record.trials import Quality
from srnas.nas.errors import DivergedError, LeaderFailedError
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.patches import PatchSampler
from srnas.nas.judging.observer import Observer
from srnas.nas.ship.log import FinalLog, FinalState
from srnas.nas.ship.plan import FinalPlan, FinalRequest, plan_final
from srnas.nas.training.loop import Compute, TrainingProgress, train
from srnas.nas.training.state import saved_iteration
from srnas.nas.training.team import Team
from srnas.nas.workspace.finals import FinalFolder
from srnas.profiling import cpu_threads, device_share
from srnas.profiling.memory import is_memory
from srnas.search_space import InputError

# A curve has about so many points.
_POINTS = 1000


@dataclass(frozen=True)
class Final:
    """The outcome of a training.

    Attributes:
        folder: Where architecture and weights are.
        result: Record, quality and time of the training.
        anew: Whether anything was trained.
        unwritten: Why MLflow has not taken everything, if it has not.
    """

    folder: FinalFolder
    result: FinalResult
    anew: bool
    unwritten: str = ""


def train_final(request: FinalRequest, observer: Observer, team: Team) -> Final | None:
    """Start or continue the training, or return what was trained before.

    The result is the moving average of the last iteration: no validation chooses among them.

    Args:
        request: What a user asks for.
        observer: Told of every stage, in the first process.
        team: The processes that train together.

    Returns:
        The outcome in the first process, ``None`` in the others.

    Raises:
        InputError: If what was given cannot be used, the training diverges, or memory or disk do not suffice.
        DeviceBusyError: If another process measures on the device for too long.
    """
    plan = plan_final(request, team, observer.on_note)
    done = plan.folder.load()
    if done is not None:
        return _found(plan, done, observer) if team.leads else None
    with team.joined(plan.device), contextlib.ExitStack() as stack:
        team.lead(lambda: stack.enter_context(plan.folder.held()))
        training = _FinalTraining(plan, observer, team)
        with training.ending():
            return training.run()


def _found(plan: FinalPlan, done: FinalResult, observer: Observer) -> Final:
    log = FinalLog(plan.request.workspace, done.record, FinalState(), observer.on_note, trained=True)
    if log.finish(done, (plan.folder.weights,)):
        plan.folder.training.unlink(missing_ok=True)
    missing = [name for name in plan.sets if name not in done.quality]
    if missing:
        observer.on_note(f"it was not validated on {', '.join(missing)}: 'srnas evaluate' judges it there")
    return Final(plan.folder, done, False, log.lost)


class _FinalTraining:
    """One training of a plan.

    Args:
        plan: What is trained.
        observer: Told of every stage.
        team: The processes that train together.
    """

    def __init__(self, plan: FinalPlan, observer: Observer, team: Team) -> None:
        self.plan = plan
        self.observer = observer
        self.team = team
        self.state = FinalState()
        self.quality: dict[str, Quality] = {}
        self.log = FinalLog(plan.request.workspace, plan.record, self.state, observer.on_note)
        self._every = max(1, plan.config.iterations // _POINTS)

    def run(self) -> Final | None:
        plan, team = self.plan, self.team
        team.lead(self._begin)
        patches = PatchSampler(plan.train, plan.architecture.scale, plan.config.patch, plan.device)
        # Processes on one CPU have one lease: a second share would keep from measuring whoever the first lets go first.
        holds = plan.device.type == "cuda" or team.local_rank == 0
        share = device_share(plan.device) if holds else contextlib.nullcontext()
        with cpu_threads(plan.threads), share as held:
            give_way: Callable[[], None] = (lambda: None) if held is None else held.give_way

            def on_step(progress: TrainingProgress) -> None:
                self._on_step(progress)
                give_way()

            network, train_s = train(
                plan.network,
                patches,
                plan.config,
                Compute(plan.device, plan.dtype, team=team),
                state=self.state,
                saved=plan.folder.training,
                on_step=on_step,
                on_rung=partial(self._validate, give_way),
            )
            kept: list[Final] = []
            team.lead(lambda: kept.append(self._keep(network, train_s, give_way)))
        return kept[0] if kept else None

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """End the run in MLflow as the training ends, and say what a user can do about an error."""
        try:
            yield
        except KeyboardInterrupt:
            self._fail("interrupted", killed=True)
            raise
        except Exception as error:
            if self.team.lost(error):
                self._fail("another process of the training ended")
                raise LeaderFailedError(
                    "all processes must go on, but one ended; mend what it said and run the same command again."
                ) from None
            self._fail(str(error) or type(error).__name__)
            if isinstance(error, (DivergedError, LeaderFailedError)):
                self.team.await_leader()
            if isinstance(error, DivergedError):
                raise self._diverged(error) from None
            if is_memory(error):
                raise InputError(
                    f"a training step and a validation must fit into the memory of {self.plan.device}, but they do "
                    "not; lower --batch or --patch, or give smaller photographs to validate on."
                ) from None
            raise

    def _diverged(self, error: DivergedError) -> InputError:
        if not self.team.leads:
            return LeaderFailedError(str(error))
        advice = "" if self.plan.dtype == torch.float32 else ", or give --precision float32"
        return InputError(f"a training must stay finite, but {error}; lower --learning-rate{advice}.")

    def _begin(self) -> None:
        """Open folder and run, and say where the training starts."""
        plan = self.plan
        plan.folder.begin(plan.record)
        self.log.open()
        done, total = saved_iteration(plan.folder.training), plan.config.iterations
        if done:
            self.observer.on_note(f"continuing from iteration {done:,} of {total:,}")
        self.observer.on_start(done, total)
        self.observer.on_stage("training")

    def _on_step(self, progress: TrainingProgress) -> None:
        if not self.team.leads:
            return
        self.observer.on_step(progress)
        state = self.state
        state.losses.append(progress.loss)
        if progress.iteration - state.logged >= self._every or progress.iteration == self.plan.config.iterations:
            self.log.add("loss", statistics.fmean(state.losses), progress.iteration)
            self.log.add("learning_rate", progress.learning_rate, progress.iteration)
            state.losses, state.logged = [], progress.iteration

    def _validate(self, give_way: Callable[[], None], iteration: int, network: nn.Module) -> None:
        """Judge the moving average on every set; at the end with SSIM, which takes longer."""
        self.observer.on_stage("validating")
        last = iteration == self.plan.config.iterations
        scores = {}
        for name, pairs in self.plan.sets.items():
            scale, device = self.plan.architecture.scale, self.plan.device
            scores[name] = evaluate(network, pairs, scale, device, with_ssim=last, between=give_way)
            if not last:
                self.log.add(f"psnr_y_db.{name}", scores[name].mean_psnr_y_db, iteration)
        if last:
            self.quality = scores
        self.observer.on_validation(iteration, {name: quality.mean_psnr_y_db for name, quality in scores.items()})
        self.log.flush()
        self.observer.on_stage("training")

    def _keep(self, network: nn.Module, train_s: float, give_way: Callable[[], None]) -> Final:
        if not self.quality:  # It was saved after the last step.
            self._validate(give_way, self.plan.config.iterations, network)
        folder = self.plan.folder
        result = FinalResult(
            record=self.plan.record, quality=self.quality, train_s=train_s, ended_ms=int(time.time() * 1000)
        )
        folder.save(result, network)
        if self.log.finish(result, (folder.weights,)):
            folder.training.unlink(missing_ok=True)
        return Final(folder, result, True, self.log.lost)

    def _fail(self, reason: str, *, killed: bool = False) -> None:
        if self.team.leads:
            with contextlib.suppress(InputError):  # The workspace cannot be written: that is what is said.
                self.log.fail(reason, killed=killed)
