"""A storage is made whole or not at all."""

import contextlib

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from srnas.nas.study import storage
from srnas.nas.study.storage import file_url, open_storage


class KilledError(BaseException):
    """Stands for a process that dies."""


def test_a_maker_that_is_killed_after_any_statement_leaves_nothing_that_is_used(tmp_path):
    file = tmp_path / "study.db"
    killed_after, statements = 0, 0

    def kill(*_):
        nonlocal statements
        statements += 1
        if statements > killed_after:
            raise KilledError

    event.listen(Engine, "before_cursor_execute", kill)
    try:
        while not file.exists():
            statements = 0
            with contextlib.suppress(KilledError):
                open_storage(file_url(file))
            killed_after += 5
    finally:
        event.remove(Engine, "before_cursor_execute", kill)
    # The file is there as soon as it is whole: what is opened after that is killed too, and changes nothing.
    assert killed_after > 50
    for _ in range(2):
        study = optuna.create_study(study_name="one", storage=open_storage(file_url(file)), load_if_exists=True)
    assert optuna.get_all_study_names(open_storage(file_url(file))) == ["one"]
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(study_name="one", storage=open_storage(file_url(file)))
    assert study.study_name == "one"


def test_who_waits_for_a_storage_is_not_taken_for_dead():
    # All heartbeats are so old when a storage comes back at the last moment.
    silent_s = storage._PATIENCE_S + storage._LONGEST_PAUSE_S + storage.HEARTBEAT_S
    assert silent_s < storage.GRACE_S
