"""Which worker judges what: each claims a candidate, reports that it is alive, and submits or returns it.

Claims are made one at a time, proposals before them. Whatever a worker held when it died is claimed again.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FixedTrial, TrialState

from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.study.proposer import Proposer
from srnas.nas.study.settings import StudySettings
from srnas.nas.study.snapshot import StoredTrial
from srnas.nas.study.storage import HEARTBEAT_S, critical
from srnas.nas.study.stored import StoredStudy
from srnas.search_space import Architecture, SearchSpace

# A candidate that ends so many workers without a word, or takes their device from them, is recorded as failed.
MAX_DEATHS = 3
DIED = "processes died or lost their device while they judged it"


@dataclass(frozen=True)
class Claim:
    """A candidate that this process judges.

    Attributes:
        number: The number of its trial.
        architecture: The candidate.
        design: Name of the human design, if it is one.
        predictions: What was expected of it, by predictor.
        trial: The trial in Optuna.
    """

    number: int
    architecture: Architecture
    design: str
    predictions: dict[str, float]
    trial: optuna.Trial


class Standing(Enum):
    """Why there is nothing to claim: others judge what is left, the study has its total, or the space has no more."""

    WAIT = "wait"
    DONE = "done"
    EXHAUSTED = "exhausted"


class Claims:
    """Claims candidates of a study for this process, one at a time.

    Args:
        url: URL of the storage.
        stored: The study.
        settings: Settings that the study was started with.
        proposer: Proposes what is claimed.
        space: Where candidates come from.
        designs: Names of the human designs, by key.
    """

    def __init__(
        self,
        url: str,
        stored: StoredStudy,
        settings: StudySettings,
        proposer: Proposer,
        space: SearchSpace,
        designs: Mapping[str, str],
    ) -> None:
        self._url = url
        self._stored = stored
        self._settings = settings
        self._proposer = proposer
        self._space = space
        self._designs = designs

    def claim(self) -> Claim | Standing:
        """Return a candidate that no process has judged or judges, or why there is none."""
        # Before the lock is taken: to model and propose takes far longer than to claim, and the others would wait.
        ahead = self._proposer.ahead(self._stored.snapshot())
        with self._alone():
            self._reap()
            # Read again under the lock: others may have claimed since the proposal was made.
            snapshot = self._stored.snapshot()
            if snapshot.is_full:
                return Standing.WAIT if snapshot.running else Standing.DONE
            begun = self._proposer.begin(snapshot, ahead)
            if begun is None:
                return Standing.WAIT if snapshot.running else Standing.EXHAUSTED
            trial, architecture = begun
            # Optuna takes a trial for abandoned only after a first heartbeat.
            self._stored.beat(trial)
        predicted = self._stored.trials()[trial.number].predicted
        predictions = {f"surrogate.{name}": float(value) for name, value in predicted.items()}
        return Claim(trial.number, architecture, self._designs.get(architecture.key, ""), predictions, trial)

    def finish(self, claim: Claim, record: TrialRecord) -> bool:
        """Hand in a record; ``False`` if the trial was taken from this worker meanwhile."""
        with suppress(UpdateFinishedTrialError):
            self._stored.finish(claim.trial, record)
        # If another worker has ended the trial meanwhile, it may be without this record.
        return self._stored.trials()[claim.number].record is not None

    def release(self, claim: Claim, *, is_death: bool = False) -> None:
        """Give a candidate back that was not judged.

        Args:
            claim: What this process had claimed.
            is_death: Whether the candidate has made this process useless, as if it had died.
        """
        with self._alone():
            self._bury(claim.number, is_death=is_death)

    @contextmanager
    def heartbeat(self, claim: Claim) -> Iterator[None]:
        """Tell the storage that this process lives, as long as it judges a candidate."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_S):
                with suppress(StorageInternalError):  # Whoever needs the storage next says so.
                    self._stored.beat(claim.trial)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with critical(self._url, f"{self._settings.name}.claim"):
            yield

    def _reap(self) -> None:
        """End the trials of dead workers: what was judged is told, what was not is queued again."""
        running = [trial for trial in self._stored.trials() if trial.trial.state == TrialState.RUNNING]
        silent = self._stored.silent(running)
        for trial in running:
            owner = trial.owner
            # Without an owner, its worker died while it asked; this process judges nothing while it claims.
            if owner is None or owner.is_this:
                self._bury(trial.number)
            elif owner.is_dead or (trial.number in silent and not owner.is_here):
                self._bury(trial.number, is_death=True)

    def _bury(self, number: int, *, is_death: bool = False) -> None:
        # Read again: its worker may have handed its record in since it was found dead, or another have taken it.
        trial = self._stored.trials()[number]
        if trial.trial.state.is_finished():
            return
        deaths = trial.deaths + is_death
        if trial.record is None and deaths >= MAX_DEATHS:
            with suppress(UpdateFinishedTrialError):
                self._stored.bury(trial, self._lost(trial, f"{deaths} {DIED}"))
        else:
            self._stored.give_back(trial, deaths)

    def _lost(self, trial: StoredTrial, reason: str) -> TrialRecord:
        architecture = self._space.suggest(FixedTrial(trial.trial.params))
        study, begun, owner = self._stored.snapshot().study, trial.trial.datetime_start, trial.owner
        assert study
        assert begun
        assert owner
        return TrialRecord(
            study=self._settings.name,
            number=trial.number,
            state="failed",
            reason=reason,
            architecture=architecture,
            design=self._designs.get(architecture.key, ""),
            protocol=self._settings.protocol,
            validation=study.validation,
            started_ms=int(begun.timestamp() * 1000),
            ended_ms=int(time.time() * 1000),
            host=owner.host,
            pid=owner.pid,
        )
