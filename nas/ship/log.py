"""Keeps MLflow in step with a long training: what MLflow misses waits, also while the training is interrupted."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from srnas.leaderboard.record.finals import FinalRecord, FinalResult
from srnas.leaderboard.store.answering import Pause, StoreLostError, answering
from srnas.leaderboard.store.finals import CurveValue, FinalRun
from srnas.nas.training.state import TrainingState
from srnas.nas.workspace.workspace import Workspace


class FinalState(TrainingState):
    """Where a training on the long schedule is.

    Attributes:
        losses: Losses since the last point of their curve.
        logged: The iteration of that point.
        points: Points of curves that MLflow has not taken yet.
    """

    losses: list[float] = Field(default_factory=list)
    logged: int = 0
    points: list[CurveValue] = Field(default_factory=list)


class FinalLog:
    """Writes a training to MLflow.

    Args:
        workspace: Owns the MLflow store and its artifacts.
        record: What is trained.
        state: Saved with the training: points that MLflow has not taken yet are kept there.
        on_note: Told when MLflow does not answer, and when it does again.
        trained: Whether the training has come to its end before.
    """

    def __init__(
        self,
        workspace: Workspace,
        record: FinalRecord,
        state: FinalState,
        on_note: Callable[[str], None],
        *,
        trained: bool = False,
    ) -> None:
        self.workspace = workspace
        self.record = record
        self.state = state
        self.on_note = on_note
        self.trained = trained
        self.lost = ""
        self._pause = Pause()
        self._run: FinalRun | None = None

    def open(self) -> None:
        """Find or make the run."""
        self._try(lambda _: None)

    def add(self, name: str, value: float, step: int) -> None:
        """Keep a point of a curve for the next flush."""
        self.state.points.append(CurveValue(name, value, step, int(time.time() * 1000)))

    def flush(self) -> None:
        """Write the points that are kept, unless MLflow did not answer a moment ago."""
        if self._pause.is_over and self._try(lambda run: run.log(self.state.points)):
            self.state.points = []

    def finish(self, result: FinalResult, files: Sequence[Path]) -> bool:
        """Write the outcome, unless it is there, and return whether MLflow has it."""

        def write(run: FinalRun) -> None:
            # A command that is given again finds the run finished.
            if not run.finished:
                run.finish(result, files)

        return self._try(write)

    def fail(self, reason: str, *, killed: bool = False) -> None:
        """Write why the training ended before its end."""
        self._try(lambda run: run.fail(reason, killed=killed))

    def _try(self, write: Callable[[FinalRun], None]) -> bool:
        try:
            with answering():
                if self._run is None:
                    self._run = FinalRun(self.workspace.store, self.record, trained=self.trained)
                write(self._run)
        except StoreLostError as error:
            if not self.lost:
                self.on_note(f"MLflow does not answer ({error}); the missing results will be written when it does")
            self.lost = str(error)
            self._pause.lengthen()
            return False
        self._pause.end()
        if self.lost:
            self.on_note("MLflow answers again; the missing results are written")
            self.lost = ""
        return True
