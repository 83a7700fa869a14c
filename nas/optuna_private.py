"""Private names of Optuna that this package needs; tests/nas/test_optuna_private.py holds each to its contract.

Optuna's public interface writes a trial's parameters one by one and takes no heartbeat of a trial that was asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Index, inspect, update


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a value is one of a distribution's."""
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def begin_trial(study: optuna.Study, template: FrozenTrial) -> optuna.Trial:
    """Write a trial with all its parameters and attributes in one transaction, and return it."""
    return optuna.Trial(study, study._storage.create_new_trial(study._study_id, template))


def set_attributes(study: optuna.Study, trial: FrozenTrial | optuna.Trial, values: Mapping[str, Any]) -> None:
    """Write user attributes of a trial that another object, or another process, began."""
    for key, value in values.items():
        study._storage.set_trial_user_attr(trial._trial_id, key, value)


def beat(study: optuna.Study, trial: FrozenTrial | optuna.Trial) -> None:
    """Tell the storage that whoever judges a trial lives."""
    _database(study).record_heartbeat(trial._trial_id)


def silent(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return which of these running trials have had no heartbeat for the storage's grace period."""
    stale = set(_database(study)._get_stale_trial_ids(study._study_id)) if trials else set()
    return [trial for trial in trials if trial._trial_id in stale]


def rename_study(storage: RDBStorage, name: str, new: str) -> None:
    """Give a study another name."""
    renamed = update(models.StudyModel).where(models.StudyModel.study_name == name).values(study_name=new)
    with storage.engine.begin() as connection:
        connection.execute(renamed)


def missing_indexes(storage: RDBStorage) -> list[Index]:
    """Return the indexes that a storage's tables must have and have not."""
    found = inspect(storage.engine)
    return [
        index
        for table in models.BaseModel.metadata.sorted_tables
        if table.indexes
        for index in {index.name: index for index in table.indexes}.values()
        if index.name not in {there["name"] for there in found.get_indexes(table.name)}
    ]


def _database(study: optuna.Study) -> RDBStorage:
    """Return the database behind the cache that Optuna puts before it."""
    storage: Any = study._storage
    database: RDBStorage = getattr(storage, "_backend", storage)
    return database
