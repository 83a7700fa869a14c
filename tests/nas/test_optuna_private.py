"""Private names of Optuna, each held to what this package takes it for."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from srnas.nas import optuna_private
from srnas.nas.study.storage import open_storage


@pytest.fixture
def study(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'one.db'}")
    return optuna.create_study(storage=storage, study_name="one")


def test_indexes_that_tables_lack_are_found(study):
    storage = optuna_private._database(study)
    assert optuna_private.missing_indexes(storage) == []
    with storage.engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_studies_study_name"))
    [missing] = optuna_private.missing_indexes(storage)
    assert (missing.name, missing.unique, missing.table.name) == ("ix_studies_study_name", True, "studies")


def test_a_study_gets_another_name(study):
    storage = optuna_private._database(study)
    study.enqueue_trial({})
    optuna_private.rename_study(storage, "one", "two")
    assert optuna.get_all_study_names(storage) == ["two"]
    assert len(optuna.load_study(study_name="two", storage=storage).trials) == 1


def test_a_distribution_contains_its_values():
    assert optuna_private.contains(IntDistribution(0, 4, step=2), 2)
    assert not optuna_private.contains(IntDistribution(0, 4, step=2), 6)
    assert optuna_private.contains(CategoricalDistribution(("a", "b")), "b")


def test_a_trial_is_begun_whole(study):
    choices = CategoricalDistribution(("a", "b"))
    template = create_trial(
        state=TrialState.RUNNING, params={"x": "b"}, distributions={"x": choices}, user_attrs={"key": "k"}
    )
    trial = optuna_private.begin_trial(study, template)
    assert trial.number == 0
    assert (trial.params, trial.user_attrs) == ({"x": "b"}, {"key": "k"})
    [stored] = study.get_trials()
    assert (stored.state, stored.params, stored.user_attrs) == (TrialState.RUNNING, {"x": "b"}, {"key": "k"})
    study.tell(trial, 1.0)
    assert study.best_value == 1.0


def test_attributes_of_a_trial_that_another_object_began(study):
    trial = optuna_private.begin_trial(study, create_trial(state=TrialState.RUNNING))
    optuna_private.set_attributes(study, study.get_trials()[0], {"owner": {"pid": 1}})
    assert study.get_trials()[trial.number].user_attrs == {"owner": {"pid": 1}}


def test_a_trial_is_silent_once_its_heartbeat_is_older_than_the_grace_period(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'two.db'}")
    storage.grace_period = 1
    study = optuna.create_study(storage=storage, study_name="two")
    optuna_private.begin_trial(study, create_trial(state=TrialState.RUNNING))
    [trial] = study.get_trials()
    optuna_private.beat(study, trial)
    assert optuna_private.silent(study, [trial]) == []
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2001-01-01 00:00:00'")
    assert optuna_private.silent(study, [trial]) == [trial]
