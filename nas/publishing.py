"""Keeps MLflow what the study is: what a lost write left out is written as soon as MLflow answers again."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from optuna.exceptions import StorageInternalError

from srnas.leaderboard import Board, Replicate, Store, StoreLostError, StudyRecord, TrialRecord, answering, hypervolume
from srnas.nas.storage import critical

# A search does not wait minutes for a tracking server: what it misses is written later.
_HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
# From so many trials on, one question about all is faster than one about each.
_MANY = 20


def ask_briefly() -> None:
    """Let MLflow's client give up soon, unless the user has said when it shall."""
    for name, value in _HTTP.items():
        os.environ.setdefault(name, value)


class Publisher:
    """Writes the records of a study to MLflow, each once, whichever of its workers has it.

    The study's storage holds every record, so it is the spool: what MLflow lacks is written at the next call.

    Args:
        workspace: Folder of the MLflow store and its artifacts.
        url: Of the study's storage, through which the workers take turns.
        study: The study.
        on_note: Told when MLflow does not answer, and when it does again.
    """

    def __init__(self, workspace: Path, url: str, study: StudyRecord, on_note: Callable[[str], None]) -> None:
        self.workspace = workspace
        self.url = url
        self.study = study
        self.on_note = on_note
        self.lost = ""
        self._store: Store | None = None
        self._parent = ""
        self._written: set[int] = set()

    def publish(self, records: Sequence[TrialRecord]) -> None:
        """Write the records that MLflow lacks; if it does not answer, they wait."""
        if any(record.number not in self._written for record in records):
            self._in_turn(lambda store: self._write_trials(store, records))

    def close(
        self,
        records: Sequence[TrialRecord],
        replicates: Sequence[Replicate] = (),
        metrics: Mapping[str, float] | None = None,
        files: Sequence[Path] = (),
        weights: Mapping[int, Path] | None = None,
        board: Board | None = None,
        *,
        killed: bool = False,
    ) -> None:
        """Write what is left, and how the study ended.

        Args:
            records: All of the study.
            replicates: All of the study.
            metrics: Of the outcome.
            files: Figures and reports.
            weights: By trial.
            board: All ranked, with their doubt.
            killed: Whether it was interrupted.
        """

        def write(store: Store) -> None:
            self._write_trials(store, records)
            for replicate in replicates:
                store.write_replicate(self._parent, self.study, replicate)
            if board is not None:
                store.write_confidence(board)
            store.add_weights(self.study, {number: path for number, path in (weights or {}).items() if path.is_file()})
            store.close_study(self._parent, metrics or {}, files, killed=killed)

        self._in_turn(write)

    def _write_trials(self, store: Store, records: Sequence[TrialRecord]) -> None:
        missing = [record for record in records if record.number not in self._written]
        if len(missing) > _MANY:
            self._written |= store.written_trials(self.study)
        for record in missing:
            if record.number not in self._written and store.write_trial(self._parent, self.study, record):
                step, metrics = self._progress(record, records)
                store.log_progress(self._parent, step, metrics, record.ended_ms)
            self._written.add(record.number)

    def _in_turn(self, write: Callable[[Store], None]) -> None:
        """Let this worker alone write; if MLflow does not answer, say so once."""
        ask_briefly()
        try:
            with answering(), critical(self.url, f"{self.study.name}.mlflow"):
                write(self._open())
        except (StoreLostError, StorageInternalError) as error:
            if not self.lost:
                self.on_note(f"MLflow does not answer ({error}); what it lacks is written when it does again")
            self.lost = str(error)
            return
        if self.lost:
            self.on_note("MLflow answers again; what it missed is written")
            self.lost = ""

    def _open(self) -> Store:
        if self._store is None:
            store = Store(self.workspace)
            self._parent = store.open_study(self.study)
            store.reopen(self._parent)
            self._store = store
        return self._store

    def _progress(self, record: TrialRecord, records: Sequence[TrialRecord]) -> tuple[int, dict[str, float]]:
        """Return how many trials had ended when this one had, and their hypervolume."""
        before = [r for r in records if (r.ended_ms, r.number) <= (record.ended_ms, record.number)]
        reference = (self.study.reference_psnr_y_db, self.study.reference_latency_ms)
        return len(before), {"hypervolume": hypervolume([r.point for r in before if r.point], reference)}
