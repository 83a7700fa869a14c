"""Studies as a whole: the list of a workspace or storage; removing, exporting and importing them."""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from srnas.leaderboard.rank.front import hypervolume, non_dominated
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.sqlite import has_content, made_aside
from srnas.nas.files import check_new, writing
from srnas.nas.revisit.bundle import bundle_of, check_bundle, take_bundle, write_bundle
from srnas.nas.run.request import SearchRequest
from srnas.nas.study.owner import Owner
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.storage import (
    critical,
    exists,
    file_url,
    given_url,
    is_held,
    open_storage,
    shown,
    study_files,
)
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError, unknown_name


@dataclass(frozen=True)
class StudyRow:
    """A study in a list.

    Attributes:
        study: Name of the study.
        state: ``running`` (workers are alive), ``complete``, ``converged`` (its patience is over), ``paused``,
            ``damaged`` (it cannot be read, only be removed), or ``held`` (another program holds its file).
        workers: Number of workers that are alive, as far as this machine can tell.
        trials: Number of judged trials.
        total: Number of trials that were asked for.
        complete: Number of trials that were trained to the end.
        front: Number of members of the front.
        hypervolume: Hypervolume of the front against the study's reference point, in dB times natural log of latency.
        ended_ms: Unix time in milliseconds at which the last trial ended, or none.
    """

    study: str
    state: str
    workers: int
    trials: int
    total: int
    complete: int
    front: int
    hypervolume: float
    ended_ms: int | None


def list_studies(workspace: Workspace, storage: str | None = None) -> list[StudyRow]:
    """Return the studies of a workspace, or of a storage, by name, those that cannot be read among them.

    Raises:
        InputError: If the storage does not exist or does not answer.
    """
    if storage:
        return [study_row(study) for study in find_studies(workspace, storage)]
    return [_row(file.stem, partial(_found, workspace, file.stem)) for file in workspace.study_files]


def _row(name: str, find: Callable[[], StoredStudy | None]) -> StudyRow:
    state = "damaged"
    try:
        if (study := find()) is not None:
            return study_row(study)
    except (StorageInternalError, SQLAlchemyError) as error:
        state = "held" if is_held(error) else state
    return StudyRow(name, state, 0, 0, 0, 0, 0, 0.0, None)


def find_studies(workspace: Workspace, storage: str | None = None) -> list[StoredStudy]:
    """Return the studies of a workspace that can be read, or those of a storage, by name.

    Raises:
        InputError: If the storage does not exist or does not answer.
    """
    if storage is None:
        found = []
        for file in workspace.study_files:
            with contextlib.suppress(StorageInternalError):
                found.append(_found(workspace, file.stem))
        return [study for study in found if study is not None]
    url = given_url(storage)
    if not exists(url):
        raise InputError(f"a storage must exist, but {shown(url)} does not; run 'srnas search --storage' first.")
    try:
        opened = open_storage(url, create=False)
        names = sorted(optuna.get_all_study_names(opened))
    except StorageInternalError as error:
        raise InputError(f"the storage {shown(url)} must answer, but {error}; start it, or give another.") from None
    return [StoredStudy(optuna.load_study(study_name=name, storage=opened)) for name in names]


def _found(workspace: Workspace, name: str) -> StoredStudy | None:
    with contextlib.suppress(InputError):  # It is of another version of Optuna.
        return StoredStudy.find(workspace.study_url(name), name)
    return None


def study_row(stored: StoredStudy) -> StudyRow:
    """Return a study's row in the list of studies."""
    known = stored.snapshot()
    points = [record.point for record in known.ranked if record.point]
    owners = _living(stored, known)
    volume = 0.0
    if known.study is not None:
        volume = hypervolume(points, (known.study.reference_psnr_y_db, known.study.reference_fastest_ms))
    return StudyRow(
        study=known.name,
        state="running" if owners else _rest(known),
        workers=len(owners),
        trials=len(known.records),
        total=known.total,
        complete=sum(record.point is not None for record in known.records),
        front=sum(non_dominated(points)),
        hypervolume=volume,
        ended_ms=max((record.ended_ms for record in known.records), default=None),
    )


def _living(stored: StoredStudy, known: Snapshot) -> set[Owner]:
    """Return the processes that judge trials of a study, as far as can be told from here."""
    running = [trial for trial in known.trials if trial.trial.state == TrialState.RUNNING]
    silent = stored.silent(running)
    owners = [trial.owner for trial in running if trial.number not in silent]
    return {owner for owner in owners if owner is not None and not owner.is_dead}


def _rest(known: Snapshot) -> str:
    """Return the state of a study without workers."""
    if known.damaged:
        return "damaged"
    if len(known.records) >= known.total:
        return "complete"
    return "converged" if known.is_stalled else "paused"


def remove_study(workspace: Workspace, name: str, storage: str | None = None) -> None:
    """Delete a study: its trials for good, its MLflow runs so that MLflow can restore them; trained weights are kept.

    Raises:
        InputError: If there is no such study, or workers are alive.
    """
    url = workspace.study_url(name, storage)
    # What is no study is removed as well, if it lies where one would.
    study = _found(workspace, name) if not storage and exists(url) else _existing(workspace, name, storage)
    row = _row(name, lambda: study)
    if row.state == "held":
        raise InputError(f"no other program must hold study '{name}', but one does; close it first.")
    if row.workers:
        raise InputError(f"no worker of study '{name}' must be alive, but {row.workers} are; stop them first.")
    record = study.snapshot().study if study and row.state != "damaged" else None
    # MLflow first: if it does not answer, the study is still there for another try.
    if workspace.has_store and record is not None:
        workspace.store.delete_study(record)
    elif workspace.has_store and row.state == "damaged":
        workspace.store.delete_named(name)
    if storage:
        optuna.delete_study(study_name=name, storage=open_storage(url))
        return
    for file in study_files(url):
        file.unlink(missing_ok=True)


def export_study(
    workspace: Workspace,
    name: str,
    path: Path,
    storage: str | None = None,
    *,
    weights: bool = False,
    overwrite: bool = False,
) -> list[TrialRecord]:
    """Write a study (settings, trials, curves, records) to one SQLite file, whole or not at all.

    Folders and storage of this machine are left out. With ``weights`` those of the front and of the human designs are
    written beside it.

    Returns:
        The trials whose weights were written.

    Raises:
        InputError: If there is no such study, or a file cannot be written, or exists and shall not be overwritten.
    """
    known = _existing(workspace, name, storage).snapshot()
    bundle = bundle_of(path)
    if not overwrite:
        check_new([path, bundle] if weights else [path])
    kept = write_bundle(workspace, known, bundle) if weights else []
    with writing(path) as aside:
        _copy_into(aside, workspace.study_url(name, storage), name)
        _leave_machine_out(aside, known)
    return kept


def import_study(workspace: Workspace, path: Path, storage: str | None = None) -> tuple[str, int]:
    """Take in a study that :func:`export_study` wrote, with the weights beside it.

    :func:`srnas.nas.revisit.resync.write_study` writes it to MLflow.

    Returns:
        The study's name, and of how many trials weights were taken in.

    Raises:
        InputError: If the file holds no study, there is one of this name, or the weights cannot be read.
    """
    names = _names(path)
    if len(names) != 1:
        raise InputError(f"'{path}' must be a file of 'srnas studies export', but it holds {len(names)} studies.")
    [name] = names
    url = workspace.study_url(name, storage)
    if StoredStudy.find(url, name) is not None:
        raise InputError(f"there must be no study '{name}' yet, but there is; remove it by 'srnas studies rm {name}'.")
    check_bundle(bundle_of(path))
    with critical(url, f"{name}.claim"):
        if storage:
            _copy(file_url(path), url, name)
        elif has_content(study_files(url)[0]):
            raise InputError(f"'{study_files(url)[0]}' must not exist yet, but it does, and holds no study '{name}'.")
        else:
            # Trial by trial: whoever is killed would leave a part of it, which would pass for the study.
            with made_aside(study_files(url)[0]) as aside:
                _copy_into(aside, file_url(path), name)
    known = _existing(workspace, name, storage).snapshot()
    return name, take_bundle(workspace, known, bundle_of(path))


def _names(path: Path) -> list[str]:
    try:
        return optuna.get_all_study_names(open_storage(file_url(path), create=False))
    except (StorageInternalError, RuntimeError, SQLAlchemyError):
        return []


def _copy(source: str, target: str, name: str) -> None:
    optuna.copy_study(
        from_study_name=name, from_storage=open_storage(source, create=False), to_storage=open_storage(target)
    )
    copied = StoredStudy.find(target, name)
    assert copied is not None
    # What was drawn and written of it is elsewhere.
    copied.keep_concluded("")
    for trial in copied.trials():
        # Who judges it judges it in the original.
        if trial.trial.state == TrialState.RUNNING:
            copied.give_back(trial, trial.deaths)


def _copy_into(file: Path, source: str, name: str) -> None:
    """Copy a study to a file that is renamed afterwards, and leave no lock beside it."""
    _copy(source, file_url(file), name)
    for lock in study_files(file_url(file))[1:]:
        lock.unlink(missing_ok=True)


def _leave_machine_out(file: Path, known: Snapshot) -> None:
    """Replace what the user asked for by what of it means the same elsewhere."""
    if not known.request:
        return
    stored = StoredStudy.find(file_url(file), known.name)
    assert stored is not None
    try:
        request = SearchRequest.model_validate_json(known.request).portable().model_dump_json()
    except ValidationError:  # It is of another version.
        request = ""
    stored.keep_wishes(total=known.total, patience=known.patience, request=request)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM")  # Else what was replaced would still be in free parts of the file.


def _existing(workspace: Workspace, name: str, storage: str | None) -> StoredStudy:
    stored = StoredStudy.find(workspace.study_url(name, storage), name)
    if stored is None:
        raise unknown_name("study", name, (row.study for row in list_studies(workspace, storage)))
    return stored
