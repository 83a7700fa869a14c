"""Keeps MLflow in step with the study: what a lost write missed is written as soon as MLflow answers again."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from optuna.exceptions import StorageInternalError

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.rank.front import hypervolume
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.leaderboard.store.answering import Pause, Sounding, StoreLostError, answering, ask_briefly
from srnas.leaderboard.store.files import tracking_server
from srnas.leaderboard.store.store import Store
from srnas.leaderboard.store.timing import write_timing
from srnas.nas.study.storage import critical
from srnas.nas.workspace.workspace import Workspace

# From so many trials on, one question about all is faster than one about each.
_MANY = 20


class Rest(NamedTuple):
    """How many trials' timings, replicates, trials' doubts and trials' files were written."""

    timings: int
    replicates: int
    confidence: int
    members: int


@contextlib.contextmanager
def in_turn(url: str, name: str) -> Iterator[None]:
    """Let this process alone write a study to MLflow.

    Raises:
        StoreLostError: If MLflow does not answer.
        StorageInternalError: If the study's storage does not.
    """
    ask_briefly()
    with answering(), critical(url, f"{name}.mlflow"):
        yield


def write_trials(
    store: Store,
    parent: str,
    study: StudyRecord,
    due: Sequence[TrialRecord],
    records: Sequence[TrialRecord],
    known: set[int],
    on_trial: Callable[[], None] = lambda: None,
) -> int:
    """Write the trials that MLflow lacks.

    Args:
        store: Where to.
        parent: Run of the study.
        study: The study.
        due: What is to be written.
        records: All records of the study.
        known: Numbers of trials that are there for sure; those that are there now are added.
        on_trial: Called for each that is there now.

    Returns:
        How many were written.
    """
    missing = [record for record in due if record.number not in known]
    if len(missing) > _MANY:
        known |= store.written_trials(study)
    written = 0
    for record in missing:
        if record.number not in known and store.write_trial(parent, study, record):
            step, metrics = _progress(study, record, records)
            store.log_progress(parent, step, metrics, record.ended_ms)
            written += 1
        known.add(record.number)
        on_trial()
    return written


def write_rest(
    store: Store,
    parent: str,
    study: StudyRecord,
    records: Sequence[TrialRecord],
    replicates: Sequence[Replicate],
    board: Board | None,
    trial_files: Mapping[int, Mapping[str, Sequence[Path]]],
) -> Rest:
    """Write what MLflow lacks beside the trials."""
    return Rest(
        write_timing(store, study, records),
        sum(store.write_replicate(parent, study, replicate) for replicate in replicates),
        store.write_confidence(board) if board is not None else 0,
        store.add_files(study, trial_files),
    )


def _progress(study: StudyRecord, record: TrialRecord, records: Sequence[TrialRecord]) -> tuple[int, dict[str, float]]:
    """Return how many trials had ended when this one had, and their hypervolume."""
    before = [r for r in records if (r.ended_ms, r.number) <= (record.ended_ms, record.number)]
    reference = (study.reference_psnr_y_db, study.reference_fastest_ms)
    return len(before), {"hypervolume_so_far": hypervolume([r.point for r in before if r.point], reference)}


class Publisher:
    """Writes the records of a study to MLflow, each once, whichever of its workers has it.

    The study's storage holds every record, so it is the spool: what MLflow lacks is written later. A search does not
    wait for a server that is silent: it is asked in the background, again after pauses that grow, and at the end.

    Args:
        workspace: Owns the MLflow store and its artifacts.
        url: URL of the study's storage, through which the workers take turns.
        study: The study.
        on_note: Told when MLflow does not answer, and when it does again.
    """

    def __init__(self, workspace: Workspace, url: str, study: StudyRecord, on_note: Callable[[str], None]) -> None:
        self.workspace = workspace
        self.url = url
        self.study = study
        self.on_note = on_note
        self.lost = ""
        self._pause = Pause()
        self._sounding = Sounding(tracking_server())
        self._store: Store | None = None
        self._parent = ""
        self._written: set[int] = set()

    def publish(self, records: Sequence[TrialRecord], numbers: Collection[int] | None = None) -> None:
        """Write the records that MLflow lacks, of all trials or of those numbered; if it does not answer, they wait.

        Args:
            records: All records of the study.
            numbers: Numbers of the trials to write; ``None`` writes all.
        """
        due = [r for r in records if r.number not in self._written and (numbers is None or r.number in numbers)]
        if not due or not self._pause.is_over:
            return
        if self._sounding.answers is False:
            self._lose("MLflow does not answer (the server is silent)")
            self._sounding.answers = None
            return
        if self._sounding.answers:
            self._in_turn(lambda store: self._write_trials(store, due, records))
        self._sounding.ask()

    def close(
        self,
        records: Sequence[TrialRecord],
        replicates: Sequence[Replicate] = (),
        metrics: Mapping[str, float] | None = None,
        files: Sequence[Path] = (),
        trial_files: Mapping[int, Mapping[str, Sequence[Path]]] | None = None,
        board: Board | None = None,
        *,
        killed: bool = False,
    ) -> None:
        """Write what is left, and how the study ended.

        Args:
            records: All records of the study.
            replicates: All replicates of the study.
            metrics: Metrics of the outcome, by name.
            files: Figures and reports.
            trial_files: Files of trials, by number of the trial and folder.
            board: All trials, ranked, with their columns of doubt.
            killed: Whether the study was interrupted.
        """

        def write(store: Store) -> None:
            self._write_trials(store, records, records)
            write_rest(store, self._parent, self.study, records, replicates, board, trial_files or {})
            store.close_study(self._parent, metrics or {}, files, killed=killed)

        self._in_turn(write)

    def add_files(self, trial_files: Mapping[int, Mapping[str, Sequence[Path]]]) -> None:
        """Write files of trials, by number and folder, that MLflow lacks; not before it has the trials."""
        if not self.lost:
            self._in_turn(lambda store: store.add_files(self.study, trial_files))

    def _write_trials(self, store: Store, due: Sequence[TrialRecord], records: Sequence[TrialRecord]) -> None:
        write_trials(store, self._parent, self.study, due, records, self._written)

    def _in_turn(self, write: Callable[[Store], object]) -> None:
        """Let this worker alone write; if MLflow does not answer, say so once."""
        try:
            with in_turn(self.url, self.study.name):
                write(self._open())
        except StoreLostError as error:
            self._lose(f"MLflow does not answer ({error})")
            return
        except StorageInternalError as error:
            self._lose(f"the study's storage does not answer ({error})")
            return
        self._pause.end()
        if self.lost:
            self.on_note("the missing results are written now")
            self.lost = ""

    def _lose(self, why: str) -> None:
        if not self.lost:
            self.on_note(f"{why}; the missing results will be written when it does")
        self.lost = why
        self._pause.lengthen()

    def _open(self) -> Store:
        if self._store is None:
            store = self.workspace.store
            self._parent = store.open_study(self.study)
            store.reopen(self._parent)
            self._store = store
        return self._store
