"""Restores MLflow from the files of the studies: missing runs are written, incomplete ones replaced."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from optuna.exceptions import StorageInternalError
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from srnas.leaderboard.store.answering import StoreLostError
from srnas.leaderboard.store.repair import RepairStore, set_damaged_aside
from srnas.nas.revisit.archive import StudyRow, find_stored, find_studies, study_row
from srnas.nas.run.outcome import FILE_ENDS, Outcome, summarise, write_files
from srnas.nas.run.publishing import in_turn, write_rest, write_trials
from srnas.nas.study.storage import is_held, shown, study_files
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError, unknown_name

# States in which a study has ended; its run in MLflow says so.
_ENDED = ("complete", "converged")


@dataclass(frozen=True)
class Resynced:
    """What was done about a study in MLflow.

    Attributes:
        study: Name of the study.
        trials: Judged trials of the study.
        present: Trials of it whose run was there, whole.
        partial: Runs of trials and replicates that were half there; they are deleted, as MLflow deletes, and written.
        written: Trials that were written.
        timings: Trials whose latency was another one there.
        replicates: Replicates that were written.
        confidence: Trials whose columns of doubt were written.
        members: Members of the front whose weights, crops or latency by position were written.
        files: Figures and reports that were written.
        strays: Numbers of trials that have a run, but are not in the study any more; their runs are left.
        skipped: Why nothing was done, or nothing.
    """

    study: str
    trials: int
    present: int = 0
    partial: int = 0
    written: int = 0
    timings: int = 0
    replicates: int = 0
    confidence: int = 0
    members: int = 0
    files: int = 0
    strays: tuple[int, ...] = ()
    skipped: str = ""


def resync(
    workspace: Workspace,
    name: str | None = None,
    storage: str | None = None,
    *,
    on_note: Callable[[str], None] = lambda _: None,
    on_study: Callable[[str, int], None] = lambda _, __: None,
    on_trial: Callable[[], None] = lambda: None,
) -> list[Resynced]:
    """Write to MLflow what it lacks of the studies of a workspace, or of one; what is there already is left.

    A store that is missing or damaged is made anew: everything but retimed fronts and profiles, which live there only,
    is in the files of the studies and in the cache.

    Args:
        workspace: Owns the studies, the cache, and MLflow's store unless that is a server.
        name: Name of the only study to look at.
        storage: Where the studies lie, if not in the workspace.
        on_note: Told what became of the store.
        on_study: Told of each study, with the number of its trials.
        on_trial: Called for each trial that is in MLflow now.

    Raises:
        InputError: If there is no such study or its file is damaged, before anything is written; or if MLflow does not
            answer.
    """
    workspace.check_exists()
    contents = _contents(workspace, name, storage)
    _report_store(workspace, on_note)
    done = []
    for row, outcome in contents:
        on_study(row.study, row.trials)
        if outcome is None or row.workers:
            why = "its workers are alive and write it" if row.workers else "it has not started yet"
            done.append(Resynced(row.study, row.trials, skipped=why))
        else:
            with _answered():
                done.append(_write(workspace, row, outcome, workspace.study_url(row.study, storage), on_trial))
    return done


def write_study(workspace: Workspace, name: str, storage: str | None = None) -> None:
    """Write to MLflow what it lacks of a study.

    Raises:
        InputError: If there is no such study, its file is damaged, or MLflow does not answer.
    """
    [(row, outcome)] = _contents(workspace, name, storage)
    if outcome is not None:
        with _answered():
            _write(workspace, row, outcome, workspace.study_url(name, storage))


def _contents(workspace: Workspace, name: str | None, storage: str | None) -> list[tuple[StudyRow, Outcome | None]]:
    """Return all that is in the studies, read before anything is written."""
    found = {study.name: study for study in find_studies(storage)} if storage else {}
    known = sorted(found if storage else (file.stem for file in workspace.study_files))
    if not known:
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    if name is not None and name not in known:
        raise unknown_name("study", name, known)
    return [_content(workspace, one, storage, found.get(one)) for one in ([name] if name else known)]


def _content(
    workspace: Workspace, name: str, storage: str | None, study: StoredStudy | None
) -> tuple[StudyRow, Outcome | None]:
    url = workspace.study_url(name, storage)
    try:
        study = study or find_stored(url, name)
        if study is not None:
            known = study.snapshot()
            return study_row(study, known, url), summarise(known) if known.study is not None else None
    except (StorageInternalError, SQLAlchemyError, ValidationError) as error:
        if is_held(error):
            raise
    where = shown(url) if storage else f"'{study_files(url)[0]}'"
    raise InputError(
        f"{where} must hold study '{name}', but it cannot be read: it is damaged, renamed, or was never "
        "finished; put a copy in its place or remove it, or name another study by --study."
    )


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (StoreLostError, StorageInternalError) as error:
        raise InputError(
            f"MLflow must answer, but {error}; what is written is kept; run 'srnas leaderboard resync' when it does."
        ) from None


def _report_store(workspace: Workspace, on_note: Callable[[str], None]) -> None:
    aside = set_damaged_aside(workspace.path)
    if aside is not None:
        on_note(f"MLflow's file was damaged; it is now '{aside}'")
    if not workspace.has_store:
        on_note(
            "MLflow's file is rebuilt; fronts of 'srnas retime', profiles and registered models were in the old one "
            "only, and the runs of 'srnas train', which come back when the same command is given again"
        )


def _write(
    workspace: Workspace, row: StudyRow, outcome: Outcome, url: str, on_trial: Callable[[], None] = lambda: None
) -> Resynced:
    study, numbers = outcome.board.study, {record.number for record in outcome.records}
    with in_turn(url, study.name):
        store = RepairStore(workspace.path)
        existed = store.find_study(study) is not None
        parent = store.open_study(study)
        partial = store.drop_partial(parent, study, numbers)
        written = write_trials(store, parent, study, outcome.records, outcome.records, set(), on_trial)
        members = outcome.member_files(workspace)
        rest = write_rest(store, parent, study, outcome.records, outcome.replicates, outcome.board, members)
        lacking = {f"{study.name}{end}" for end in FILE_ENDS} - store.files(parent)
        files = write_files(outcome, workspace) if lacking or written or any(rest) else ()
        # Closing says when the study ended: where nothing was lacking, that stays as it is.
        if files or not existed:
            store.close_study(parent, outcome.metrics, files, killed=row.state not in _ENDED)
        return Resynced(
            study=study.name,
            trials=len(numbers),
            present=len(numbers) - written,
            partial=partial,
            written=written,
            timings=rest.timings,
            replicates=rest.replicates,
            confidence=rest.confidence,
            members=rest.members,
            files=len(files),
            strays=store.strays(study, numbers),
        )
