"""Studies as a whole: what a workspace or a storage holds, and how studies leave it, come back, and move."""

from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from srnas.leaderboard import Store, StudyRecord, TrialRecord, hypervolume, non_dominated
from srnas.nas.output import check_new, writing
from srnas.nas.publishing import Publisher
from srnas.nas.storage import critical, exists, open_storage, shown, storage_url, study_files
from srnas.nas.stored import is_stalled, lives, read_records, read_replicates, stored_study
from srnas.search_space import InputError, unknown_name


@dataclass(frozen=True)
class StudyRow:
    """A study in a list.

    Attributes:
        study: Its name.
        state: ``running`` (workers are alive), ``complete``, ``converged`` (its patience is over), or ``paused``.
        workers: How many are alive, as far as can be told from here.
        trials: Judged trials.
        total: Trials asked for.
        complete: Trials that were trained to the end.
        front: Members of the front.
        hypervolume: Of the front against the study's reference point, in dB times natural log of latency.
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


def list_studies(workspace: Path, storage: str | None = None) -> list[StudyRow]:
    """Return the studies of a workspace, or of a storage, by name."""
    return [study_row(study) for study in find_studies(workspace, storage)]


def find_studies(workspace: Path, storage: str | None = None) -> list[optuna.Study]:
    """Return the studies of a workspace that can be read, or those of a storage, by name.

    Raises:
        InputError: If the storage does not exist or does not answer.
    """
    if storage is None:
        files = sorted((workspace / "studies").glob("*.db"))
        return [study for file in files if (study := stored_study(storage_url(workspace, file.stem), file.stem))]
    url = storage_url(workspace, "", storage)
    if not exists(url):
        raise InputError(f"a storage must exist, but {shown(url)} does not; run 'srnas search --storage' first.")
    try:
        opened = open_storage(url, create=False)
        names = sorted(optuna.get_all_study_names(opened))
    except StorageInternalError as error:
        raise InputError(f"the storage {shown(url)} must answer, but {error}; start it, or give another.") from None
    return [optuna.load_study(study_name=name, storage=opened) for name in names]


def study_row(study: optuna.Study) -> StudyRow:
    """Return what is said of a study in a list."""
    records = read_records(study)
    points = [record.point for record in records if record.point]
    attributes = study.user_attrs
    running = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING and lives(study, t)]
    total = int(attributes.get("total", 0))
    volume = 0.0
    if "study" in attributes:
        reference = StudyRecord.model_validate_json(attributes["study"])
        volume = hypervolume(points, (reference.reference_psnr_y_db, reference.reference_latency_ms))
    return StudyRow(
        study=study.study_name,
        state="running" if running else _rest(study, records),
        workers=len({(t.user_attrs["owner"]["host"], t.user_attrs["owner"]["pid"]) for t in running}),
        trials=len(records),
        total=total,
        complete=len(points),
        front=sum(non_dominated(points)),
        hypervolume=volume,
        ended_ms=max((record.ended_ms for record in records), default=None),
    )


def _rest(study: optuna.Study, records: list[TrialRecord]) -> str:
    """Return the state of a study without workers."""
    if len(records) >= int(study.user_attrs.get("total", 0)):
        return "complete"
    return "converged" if is_stalled(study, records) else "paused"


def remove_study(workspace: Path, name: str, storage: str | None = None) -> None:
    """Delete a study: its trials for good, its MLflow runs so that MLflow can restore them; trained weights are kept.

    Raises:
        InputError: If there is no such study, or workers are alive.
    """
    study, url = _existing(workspace, name, storage), storage_url(workspace, name, storage)
    row = study_row(study)
    if row.workers:
        raise InputError(f"no worker of study '{name}' must be alive, but {row.workers} are; stop them first.")
    if "study" in study.user_attrs and Store.exists(workspace):
        Store(workspace).delete_study(StudyRecord.model_validate_json(study.user_attrs["study"]))
    if storage:
        optuna.delete_study(study_name=name, storage=open_storage(url))
        return
    for file in study_files(url):
        file.unlink(missing_ok=True)


def export_study(workspace: Path, name: str, path: Path, storage: str | None = None) -> None:
    """Write a study (settings, trials, curves, records) to one SQLite file, whole or not at all.

    Raises:
        InputError: If there is no such study, or the file exists or cannot be written.
    """
    _existing(workspace, name, storage)
    check_new([path])
    with writing(path) as aside:
        _copy(storage_url(workspace, name, storage), f"sqlite:///{aside.resolve()}", name)


def import_study(workspace: Path, path: Path, storage: str | None = None) -> str:
    """Take in a study that :func:`export_study` wrote, write it to MLflow, and return its name.

    Raises:
        InputError: If the file holds no study, or there is one of this name.
    """
    names = _names(path)
    if len(names) != 1:
        raise InputError(f"'{path}' must be a file of 'srnas studies export', but it holds {len(names)} studies.")
    [name] = names
    url = storage_url(workspace, name, storage)
    if stored_study(url, name) is not None:
        raise InputError(f"there must be no study '{name}' yet, but there is; remove it by 'srnas studies rm {name}'.")
    with critical(url, f"{name}.claim"):
        _copy(f"sqlite:///{path.resolve()}", url, name)
    study = _existing(workspace, name, storage)
    if "study" in study.user_attrs:
        record = StudyRecord.model_validate_json(study.user_attrs["study"])
        publisher = Publisher(workspace, url, record, lambda _: None)
        publisher.close(read_records(study), read_replicates(study))
    return name


def _names(path: Path) -> list[str]:
    try:
        return optuna.get_all_study_names(open_storage(f"sqlite:///{path.resolve()}", create=False))
    except (StorageInternalError, RuntimeError, SQLAlchemyError):
        return []


def _copy(source: str, target: str, name: str) -> None:
    optuna.copy_study(
        from_study_name=name, from_storage=open_storage(source, create=False), to_storage=open_storage(target)
    )


def _existing(workspace: Path, name: str, storage: str | None) -> optuna.Study:
    found = stored_study(storage_url(workspace, name, storage), name)
    if found is None:
        raise unknown_name("study", name, (row.study for row in list_studies(workspace, storage)))
    return found
