"""A storage is made whole or not at all, and is waited for while it is busy or does not answer."""

import contextlib

import optuna
import pytest
import tenacity
from optuna.exceptions import StorageInternalError
from sqlalchemy import event
from sqlalchemy.engine import Engine

from srnas.nas.errors import StorageLostError
from srnas.nas.judging.observer import Observer
from srnas.nas.run.join import join
from srnas.nas.run.plan import plan_search
from srnas.nas.study import storage
from srnas.nas.study.storage import critical, file_url, open_storage, patiently, shown
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError


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


def test_a_storage_that_comes_back_is_waited_for(monkeypatch):
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _: None)
    failures, notes = [StorageInternalError("gone")] * 3, []

    def action():
        if failures:
            raise failures.pop()
        return 7

    url = "postgresql://me:secret@host/db"
    assert patiently(action, url, notes.append) == 7
    assert len(notes) == 1
    assert "the storage 'postgresql://me:***@host/db' does not answer (gone)" in notes[0]
    monkeypatch.setattr(storage, "_PATIENCE_S", 0.0)

    def lost():
        raise StorageInternalError("gone")

    with pytest.raises(StorageLostError, match="for 0 s it did not: gone. Every finished trial is kept"):
        patiently(lost, url, notes.append)


@pytest.mark.parametrize(("create", "waits_ms"), [(True, 60_000), (False, 10_000)])
def test_a_busy_database_is_waited_for(tmp_path, create, waits_ms):
    url = file_url(tmp_path / "study.db")
    open_storage(url)
    with open_storage(url, create=create).engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == waits_ms


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "a storage must be a URL"),
        ("mysql://me@host/db", "must be postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE"),
        ("postgresql://me:secret@host", r"but got 'postgresql://me:\*\*\*@host'"),
    ],
)
def test_urls_that_are_no_storage(workspace, given, message):
    with pytest.raises(InputError, match=message):
        Workspace(workspace).study_url("x", given)


def test_a_server_that_does_not_answer(workspace):
    url = Workspace(workspace).study_url("x", "postgresql://srnas@127.0.0.1:1/none")
    assert shown(url) == "'postgresql+psycopg://srnas@127.0.0.1:1/none'"
    with pytest.raises(StorageInternalError, match="connection"), critical(url, "part"):
        pass
    with pytest.raises(StorageInternalError):
        open_storage(url)
    with pytest.raises(StorageInternalError):
        StoredStudy.find(url, "x")


def test_who_asks_a_server_that_does_not_answer_for_a_study_waits(search_request, monkeypatch):
    monkeypatch.setattr(storage, "_PATIENCE_S", 0.0)
    silent = "postgresql://srnas@127.0.0.1:1/none"
    with pytest.raises(StorageLostError):
        join(Workspace(search_request.workspace), "small-x2", Observer(), storage=silent)
    with pytest.raises(StorageLostError):
        plan_search(search_request.changed(storage=silent))
