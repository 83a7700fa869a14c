"""Repairing a store: a damaged file, incomplete runs, and runs whose trial is gone."""

import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

from mlflow.entities import Run

from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.store.files import STORE_FILE, is_local
from srnas.leaderboard.store.mlflow_private import MLFLOW_PARENT_RUN_ID, files_of
from srnas.leaderboard.store.runs import WHOLE
from srnas.leaderboard.store.store import Store

# What SQLite keeps beside a file: applied to another one, it would damage that too.
_COMPANIONS = ("-journal", "-wal", "-shm")
_BUSY_S = 20.0
# The file that is written last, by the role of a run.
_RECORDS = {"trial": "trial.json", "replicate": "replicate.json"}


def set_damaged_aside(workspace: Path) -> Path | None:
    """Rename the workspace's own store if SQLite cannot read it.

    Returns:
        Where it is now, or ``None`` if it can be read, is missing, or a server is used in its place.
    """
    path = workspace / STORE_FILE
    if not is_local() or not path.is_file() or _is_sound(path):
        return None
    aside = next(p for n in range(1, 1000) if not (p := path.with_name(f"{path.name}.damaged{n}")).exists())
    path.rename(aside)
    for end in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    return aside


def _is_sound(path: Path) -> bool:
    """Return whether every page of a file can be read, and runs are among what it holds."""
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
            # A sound file of something else is no store either: MLflow's runs must be in it.
            return bool(verdict == ("ok",)) and bool(connection.execute("SELECT count(*) FROM runs").fetchone())
    except sqlite3.DatabaseError as error:
        # A file that another program holds is sound.
        if "is locked" in str(error):
            raise
        return False


class RepairStore(Store):
    """A store whose runs are looked through one by one, files included."""

    def files(self, run_id: str) -> set[str]:
        """Return the names of the files that lie with a run, outside of folders."""
        return set(files_of(self.client, run_id))

    def strays(self, study: StudyRecord, numbers: Collection[int]) -> tuple[int, ...]:
        """Return the numbers of trials that have a run but are none of these."""
        return tuple(sorted({int(run.data.tags["srnas.trial"]) for run in self._runs(study, "trial")} - {*numbers}))

    def drop_partial(self, parent: str, study: StudyRecord, numbers: Collection[int]) -> int:
        """Delete the runs of trials and replicates that are not whole, and return how many they were.

        Whole is what has ended, lies below ``parent``, and has its record with it.

        Args:
            parent: Id of the study's run.
            study: The study.
            numbers: Numbers of the trials that can be written again; the runs of others are left.
        """
        dropped = 0
        for role in _RECORDS:
            for run in self._runs(study, role):
                if int(run.data.tags["srnas.trial"]) in numbers and not self._is_whole(run, parent, role):
                    self.client.delete_run(run.info.run_id)
                    dropped += 1
        return dropped

    def _is_whole(self, run: Run, parent: str, role: str) -> bool:
        below = run.data.tags.get(MLFLOW_PARENT_RUN_ID) == parent
        return run.info.status in WHOLE and below and _RECORDS[role] in self.files(run.info.run_id)

    def _runs(self, study: StudyRecord, role: str) -> list[Run]:
        filters = f"tags.`srnas.study` = '{study.name}' and tags.`srnas.role` = '{role}'"
        return self.search_runs(self.open_experiment(study.experiment), filters)
