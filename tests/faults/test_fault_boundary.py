"""Errors of other libraries: one message that says what to do, and a store that nobody waits for."""

import os
import socket
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from handmade import study, trial
from mlflow import MlflowException
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from srnas.leaderboard.store.answering import Pause, Sounding, ask_briefly
from srnas.leaderboard.store.store import Store
from srnas.nas.cli.boundary import message_of
from srnas.nas.run.publishing import Publisher
from srnas.nas.study.storage import file_url
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError

READING = [
    ("leaderboard",),
    ("pick", "--latency-ms", "1"),
    ("leaderboard", "compare", "0", "1"),
    ("evaluate", "--trial", "1", "--data", "held"),
    ("export", "5b15eba89af9", "--format", "safetensors", "--out", "x.safetensors"),
]


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_a_store_of_another_mlflow_is_one_message(run, ws, edit, unchanged, words):
    edit(ws / "mlflow.db", "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with unchanged(ws):
        code, out, err = run(*words, "--workspace", "ws")
    assert (code, out) == (2, "")
    assert "srnas: error: MLflow's store must answer, but Detected out-of-date database schema" in err
    assert "another version of MLflow wrote it: install that version" in err
    assert "Traceback" not in err


def test_a_store_that_another_program_holds_is_one_message(run, ws, unchanged, monkeypatch):
    # MLflow waits for 20 s, here not at all.
    monkeypatch.setattr("mlflow.store.db.utils.SQLITE", "no such database")
    connect = lambda connection, _: connection.execute("PRAGMA busy_timeout = 0")  # noqa: E731
    event.listen(Engine, "connect", connect)
    with unchanged(ws), closing(sqlite3.connect(ws / "mlflow.db")) as browser:
        browser.execute("BEGIN EXCLUSIVE")
        code, _, err = run("leaderboard", "--workspace", "ws")
    event.remove(Engine, "connect", connect)
    assert code == 2
    assert "but database is locked; another program holds the file: close it" in err


def test_what_another_program_holds_is_not_taken_for_damaged(run, ws, unchanged, monkeypatch):
    monkeypatch.setattr("srnas.nas.study.storage._BUSY_READING_S", 0)
    monkeypatch.setattr("srnas.leaderboard.store.repair._BUSY_S", 0)
    study = ws / "studies" / "small-x2.db"
    with unchanged(ws), closing(sqlite3.connect(study)) as browser:
        browser.execute("BEGIN EXCLUSIVE")
        code, out, err = run("studies", "--workspace", "ws")
        assert code == 0
        assert "small-x2 │ held" in out
        assert "is held by another program: close it" in err
        code, _, err = run("studies", "rm", "small-x2", "--yes", "--workspace", "ws")
        assert (code, "no other program must hold study 'small-x2', but one does; close it" in err) == (2, True)
        code, _, err = run("leaderboard", "resync", "--workspace", "ws")
        assert (code, "another program holds the file: close it" in err) == (2, True)
    with unchanged(ws), closing(sqlite3.connect(ws / "mlflow.db")) as browser:
        browser.execute("BEGIN EXCLUSIVE")
        code, _, err = run("leaderboard", "resync", "--workspace", "ws")
        assert (code, "another program holds the file" in err) == (2, True)


def test_a_study_of_another_optuna_is_named_and_does_not_lock_the_list(run, ws, edit, unchanged):
    edit(ws / "studies" / "small-x2.db", "UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    with unchanged(ws):
        code, _, err = run("studies", "--workspace", "ws")
        assert code == 0
        assert "study 'small-x2' cannot be read" in " ".join(err.split())
        code, _, err = run("studies", "export", "small-x2", "x.db", "--workspace", "ws")
    assert code == 2
    assert "must be of this version of Optuna" in err


def test_the_traceback_is_shown_when_asked_for(run, ws, edit, monkeypatch):
    edit(ws / "mlflow.db", "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    monkeypatch.setenv("SRNAS_DEBUG", "1")
    with pytest.raises(MlflowException):
        run("leaderboard", "--workspace", "ws")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("x must hold."), "x must hold."),
        (
            OSError(28, "No space left on device", "a.json"),
            "'a.json' must be usable, but No space left on device; free",
        ),
        (PermissionError(13, "Permission denied", "a"), "the workspace must be writable for this"),
        (
            OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error")),
            "but disk I/O error; correct that",
        ),
        (sqlite3.DatabaseError("database disk image is malformed"), "the file is damaged, or another program wrote it"),
        (
            MlflowException("API request failed with Max retries exceeded"),
            "start the server or set MLFLOW_TRACKING_URI",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 4000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "but can't allocate memory: you tried to allocate 4000 bytes; give a smaller input, batch or network",
        ),
        (MemoryError(), "the device must have enough memory for this, but MemoryError; give a smaller input"),
    ],
)
def test_what_a_user_can_mend_is_one_message(error, message):
    assert message in message_of(error)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), TypeError("x"), AssertionError(), RuntimeError("x")])
def test_a_fault_of_this_program_keeps_its_traceback(error):
    assert message_of(error) is None


def test_a_store_that_does_not_answer_is_asked_seldom(workspace, monkeypatch):
    asked, notes, now = [], [], [0.0]

    def lost(*_):
        asked.append(now[0])
        raise ConnectionError("silence")

    monkeypatch.setattr(Store, "write_trial", lost)
    publisher = Publisher(Workspace(workspace), file_url(workspace / "studies" / "x.db"), study(), notes.append)
    publisher._pause = Pause(lambda: now[0])
    for second in range(600):  # A trial a second.
        now[0] = float(second)
        publisher.publish([trial(0, 30.0)], None)
    assert asked == [0, 30, 90, 210, 450]
    assert notes == ["MLflow does not answer (silence); the missing results will be written when it does"]
    monkeypatch.undo()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # At the end it is asked in any case.
    publisher.close([trial(0, 30.0)])
    assert notes[1:] == ["the missing results are written now"]


def test_a_search_does_not_wait_for_a_silent_server(workspace, monkeypatch):
    notes, written = [], []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        publisher = Publisher(Workspace(workspace), file_url(workspace / "studies" / "x.db"), study(), notes.append)
        # To open it would wait for seconds.
        monkeypatch.setattr(publisher, "_in_turn", written.append)
        publisher.publish([trial(0, 30.0)])
        assert notes == []
        publisher._sounding = Sounding(server, timeout_s=0.01)
        assert publisher._sounding.wait() is False
        publisher.publish([trial(0, 30.0)])
    assert notes == ["MLflow does not answer (the server is silent); the missing results will be written when it does"]
    assert written == []
    # After the pause it is asked again, and until it is known whether it answers, nobody waits.
    publisher._pause.end()
    publisher._sounding = Sounding("sqlite:///x.db")
    publisher._sounding.answers = None
    publisher.publish([trial(0, 30.0)])
    assert written == []
    publisher._sounding.answers = True
    publisher.publish([trial(0, 30.0)])
    assert len(written) == 1


@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_says_anything_answers(status):
    class Says(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert Sounding(f"http://127.0.0.1:{server.server_port}/").wait() is True
        thread.join()
    assert Sounding("sqlite:///x.db").answers is True


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_speaks_otherwise_answers(said, scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = threading.Thread(target=speak)
        thread.start()
        assert Sounding(f"{scheme}://127.0.0.1:{server.getsockname()[1]}").wait() is True
        thread.join()


def test_a_silent_server_costs_seconds_once(monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)
    ask_briefly()
    assert (1 + int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])) * int(
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    ) <= 5
