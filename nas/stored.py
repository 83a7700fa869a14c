"""What a study's storage tells: its records, how far it is, and which of its workers live. Nothing is written."""

import os
import socket
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial

from srnas.leaderboard import Replicate, StudyRecord, TrialRecord, hypervolume_curve, non_dominated
from srnas.nas.settings import StudySettings
from srnas.nas.storage import exists, open_storage, storage_url
from srnas.search_space import InputError


def is_stalled(study: optuna.Study, records: list[TrialRecord]) -> bool:
    """Return whether the hypervolume has not risen for as many trials as is a study's patience."""
    patience = study.user_attrs.get("patience")
    if patience is None or "study" not in study.user_attrs:
        return False
    return since_rise(StudyRecord.model_validate_json(study.user_attrs["study"]), records) >= int(patience)


def lives(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Return whether a worker judges a running trial, as far as can be told from here."""
    storage: Any = study._storage
    stale = getattr(storage, "_backend", storage)._get_stale_trial_ids(study._study_id)
    return trial._trial_id not in stale and has_live_owner(trial)


def since_rise(study: StudyRecord, records: list[TrialRecord]) -> int:
    """Return how many trials have ended since the hypervolume rose last."""
    volumes = [point.hypervolume for point in hypervolume_curve(study, records)]
    best = max(volumes, default=0.0)
    return len(volumes) - 1 - volumes.index(best) if best > 0 else len(volumes)


def is_on_front(record: TrialRecord, records: list[TrialRecord]) -> bool:
    """Return whether a record is on the front of all."""
    ranked = [other for other in records if other.point]
    front = non_dominated([other.point for other in ranked if other.point])
    return any(kept and other.number == record.number for other, kept in zip(ranked, front, strict=True))


def stored_study(url: str, name: str) -> optuna.Study | None:
    """Return an existing study; writes nothing."""
    if not exists(url):
        return None
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url, create=False))
    except (KeyError, StorageInternalError):  # Another process is about to create it, or was killed before it did.
        return None


def stored_records(
    workspace: Path, name: str, storage: str | None = None
) -> tuple[StudySettings, StudyRecord, list[TrialRecord]]:
    """Return settings, record and judged trials of an existing study; writes nothing.

    Raises:
        InputError: If the workspace holds no such study, or it has not started yet.
    """
    study = stored_study(storage_url(workspace, name, storage), name)
    if study is None:
        raise InputError(f"workspace '{workspace}' must hold the file of study '{name}', but it does not.")
    if "study" not in study.user_attrs:
        raise InputError(f"study '{name}' must have judged a trial, but it has not started yet.")
    settings = StudySettings.model_validate_json(study.user_attrs["settings"])
    return settings, StudyRecord.model_validate_json(study.user_attrs["study"]), read_records(study)


def read_records(study: optuna.Study) -> list[TrialRecord]:
    """Return the judged trials of a study, in order."""
    trials = study.get_trials(deepcopy=False)
    return [TrialRecord.model_validate_json(t.user_attrs["record"]) for t in trials if "record" in t.user_attrs]


def read_replicates(study: optuna.Study) -> list[Replicate]:
    """Return what was trained again with other seeds."""
    return [Replicate.model_validate_json(v) for k, v in study.user_attrs.items() if k.startswith("replicate ")]


def owner() -> dict[str, Any]:
    """Return what tells this process from every other."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": psutil.Process().create_time()}


def has_live_owner(trial: FrozenTrial) -> bool:
    """Return whether a worker of this host lives; of another host only its silence tells."""
    held = trial.user_attrs.get("owner")
    if held is None or held["host"] != socket.gethostname():
        return held is not None
    try:
        return bool(abs(psutil.Process(held["pid"]).create_time() - held["since"]) <= 1)
    except psutil.NoSuchProcess:
        return False
