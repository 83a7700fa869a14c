"""Studies as a whole: the list of a workspace or storage; removing, exporting and importing them."""

import contextlib
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from pydantic import ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from srnas.leaderboard.rank.front import hypervolume, non_dominated
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.sqlite import has_content, made_aside
from srnas.nas.files import check_new, writing
from srnas.nas.optuna_private import rename_study
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

# How the name of a study begins in a database until all of it is there.
_IMPORTING = ".importing "


@dataclass(frozen=True)
class StudyRow:
    """A study in a list.

    Attributes:
        study: Name of the study.
        state: ``running`` (workers are alive), ``complete``, ``converged`` (its patience is over), ``paused``,
            ``not started``, ``damaged`` (it cannot be read, only be removed), or ``held`` (another program holds its
            file).
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
        url = given_url(storage)
        return [study_row(study, study.snapshot(), url) for study in find_studies(storage)]
    return [_row(file.stem, file_url(file)) for file in workspace.study_files]


def _row(name: str, url: str) -> StudyRow:
    state = "damaged"
    try:
        if (study := find_stored(url, name)) is not None:
            return study_row(study, study.snapshot(), url)
    except (StorageInternalError, SQLAlchemyError) as error:
        state = "held" if is_held(error) else state
    return StudyRow(name, state, 0, 0, 0, 0, 0, 0.0, None)


def find_studies(storage: str) -> list[StoredStudy]:
    """Return the studies of a storage by name, without those that are being imported.

    Raises:
        InputError: If the storage does not exist or does not answer.
    """
    url = given_url(storage)
    if not exists(url):
        raise InputError(f"a storage must exist, but {shown(url)} does not; run 'srnas search --storage' first.")
    try:
        opened = open_storage(url, create=False)
        names = sorted(name for name in optuna.get_all_study_names(opened) if not name.startswith(_IMPORTING))
    except StorageInternalError as error:
        raise InputError(f"the storage {shown(url)} must answer, but {error}; start it, or give another.") from None
    return [StoredStudy(optuna.load_study(study_name=name, storage=opened)) for name in names]


def find_stored(url: str, name: str) -> StoredStudy | None:
    """Return an existing study, if it is of this version of Optuna.

    Raises:
        StorageInternalError: If its storage does not answer, or another program holds its file.
    """
    with contextlib.suppress(InputError):
        return StoredStudy.find(url, name)
    return None


def study_row(stored: StoredStudy, known: Snapshot, url: str) -> StudyRow:
    """Return the row in the list of studies of a study that holds this, in a storage of this URL."""
    points = [record.point for record in known.ranked if record.point]
    workers = len(_living(stored, known)) + _num_trained_again(url, known.name)
    volume = 0.0
    if known.study is not None:
        volume = hypervolume(points, (known.study.reference_psnr_y_db, known.study.reference_fastest_ms))
    return StudyRow(
        study=known.name,
        state="running" if workers else _rest(known),
        workers=workers,
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
    return {
        owner
        for trial in running
        if (owner := trial.owner) and not owner.is_dead and (owner.is_here or trial.number not in silent)
    }


def _num_trained_again(url: str, name: str) -> int:
    """Return how many networks of a study in a file are being trained with other seeds, by the locks that are held."""
    if make_url(url).get_backend_name() != "sqlite":
        return 0
    file, *others = study_files(url)
    lock = re.compile(rf"{re.escape(f'{file.name}.{name}')}\.\d+\.\d+\.lock")
    return sum(_is_taken(other) for other in others if lock.fullmatch(other.name))


def _is_taken(lock: Path) -> bool:
    try:
        with FileLock(lock, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:  # A folder that cannot be written.
        return False


def _rest(known: Snapshot) -> str:
    """Return the state of a study without workers."""
    if known.damaged:
        return "damaged"
    if known.study is None or not known.total:
        return "not started"
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
    if storage or not exists(url):
        _existing(workspace, name, storage)
    row = _row(name, url)
    if row.state == "held":
        raise InputError(f"no other program must hold study '{name}', but one does; close it first.")
    if row.workers:
        raise InputError(f"no worker of study '{name}' must be alive, but {row.workers} are; stop them first.")
    study = find_stored(url, name) if row.state != "damaged" else None
    record = study.snapshot().study if study else None
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
    # SQLite would make it.
    if not path.is_file():
        raise InputError(f"the file of a study must exist, but got '{path}'.")
    names = _names(path)
    if len(names) != 1:
        raise InputError(f"'{path}' must be a file of 'srnas studies export', but it holds {len(names)} studies.")
    [name] = names
    url = workspace.study_url(name, storage)
    if StoredStudy.find(url, name) is not None:
        raise InputError(f"there must be no study '{name}' yet, but there is; remove it by 'srnas studies rm {name}'.")
    check_bundle(bundle_of(path))
    given = StoredStudy.find(file_url(path), name)
    assert given is not None
    # First, since weights without a study do no harm, and a study that is there would not be imported again.
    taken = take_bundle(workspace, given.snapshot(), bundle_of(path))
    with critical(url, f"{name}.claim"):
        if storage:
            _copy_aside(file_url(path), url, name)
        elif has_content(study_files(url)[0]):
            raise InputError(f"'{study_files(url)[0]}' must not exist yet, but it does, and holds no study '{name}'.")
        else:
            # Trial by trial: whoever is killed would leave a part of it, which would pass for the study.
            with made_aside(study_files(url)[0]) as aside:
                _copy_into(aside, file_url(path), name)
    return name, taken


def _names(path: Path) -> list[str]:
    try:
        return optuna.get_all_study_names(open_storage(file_url(path), create=False))
    except (StorageInternalError, RuntimeError, SQLAlchemyError):
        return []


def _copy_aside(source: str, target: str, name: str) -> None:
    """Copy a study to a database under another name, and rename it when all of it is there."""
    storage, aside = open_storage(target), f"{_IMPORTING}{name}"

    def drop() -> None:
        with contextlib.suppress(KeyError, StorageInternalError):
            optuna.delete_study(study_name=aside, storage=storage)

    drop()  # Whoever was killed left it.
    try:
        _copy(source, target, name, aside)
        rename_study(storage, aside, name)
    finally:
        drop()


def _copy(source: str, target: str, name: str, new: str) -> None:
    optuna.copy_study(
        from_study_name=name,
        from_storage=open_storage(source, create=False),
        to_storage=open_storage(target),
        to_study_name=new,
    )
    copied = StoredStudy.find(target, new)
    assert copied is not None
    # What was drawn and written of it is elsewhere.
    copied.keep_concluded("")
    for trial in copied.trials():
        # Who judges it judges it in the original.
        if trial.trial.state == TrialState.RUNNING:
            copied.give_back(trial, trial.deaths)


def _copy_into(file: Path, source: str, name: str) -> None:
    """Copy a study to a file that is renamed afterwards, and leave no lock beside it."""
    _copy(source, file_url(file), name, name)
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
