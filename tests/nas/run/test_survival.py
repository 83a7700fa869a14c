"""Workers are killed at random moments, in SQLite and in PostgreSQL: nothing is lost and nothing is done twice."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import optuna
import psutil
import psycopg
import pytest
from simulated import nursery, open_simulated
from sqlalchemy import event
from sqlalchemy.engine import Engine

from srnas.leaderboard.rank.front import non_dominated
from srnas.leaderboard.store.store import Store
from srnas.nas.study.storage import critical, given_url, open_storage
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.workspace import Workspace

ROUNDS = 20
WHOLE = 62
TRIAL_S = 0.4

SPACE = """
channels = [4, 8]
positions = 2
trunk = ["none", "conv"]
attention = ["none", "pa", "aab"]
order = ["after"]
tail = ["pixelshuffle"]
"""


class Server:
    """A PostgreSQL server of its own, on loopback."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        self.user = {}
        if os.geteuid() == 0:  # The server refuses to be run by root.
            account = pwd.getpwnam("nobody")
            os.chown(folder, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://srnas@127.0.0.1:{self.port}/postgres"
        self._call("initdb", "-U", "srnas", "-A", "trust", "--no-sync")

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories="
        self._call("pg_ctl", "-o", options, "-l", self.folder / "log", "-w", "start")

    def stop(self):
        self._call("pg_ctl", "-m", "immediate", "stop")

    def _call(self, program, *arguments):
        command = [self.programs / program, "-D", self.folder / "data", *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=60, **self.user)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a running server that holds nothing."""
    try:
        asked = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("needs PostgreSQL's server programs")
    programs = Path(asked.stdout.strip())
    if not (programs / "initdb").is_file():
        pytest.skip("needs PostgreSQL's server programs")
    folder = Path(shutil.copytree(tmp_path_factory.mktemp("server"), f"/tmp/srnas-pg-{os.getpid()}"))
    found = Server(programs, folder)
    found.start()
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, workspace):
    """Return the URL of a study's storage."""
    given = request.getfixturevalue("server").url if request.param == "postgresql" else None
    return Workspace(workspace).study_url("disturbed", given)


@pytest.fixture
def space_file(tmp_path):
    """Return a space of 62 networks."""
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


class KilledError(BaseException):
    """Stands for a process that dies."""


@pytest.fixture
def database(server):
    """Return a function that runs a statement for the whole server, of which the databases of this test are dropped."""
    with contextlib.closing(psycopg.connect(server.url, autocommit=True)) as connection:
        yield connection.execute
        made = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'killed%'").fetchall()
        for (name,) in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_who_does_not_wait_is_told(url, workspace):
    with critical(url, "once", waits=False) as first, critical(url, "once", waits=False) as second:
        assert (first, second) == (True, False)
    assert not list(workspace.rglob("*once*"))
    with critical(url, "once", waits=False) as again:
        assert again


def test_a_maker_killed_before_any_commit_is_no_fault_in_postgresql(server, database):
    """What is not committed is gone with its process, so that only commits count."""
    commits = []

    def kill(_connection):
        commits.append(0)
        if len(commits) == killed_at:
            raise KilledError

    for killed_at in range(1, 20):
        # A database for each: sessions of another may be open, and would be waited for.
        database(f"CREATE DATABASE killed{killed_at}")
        url = given_url(server.url.replace("/postgres", f"/killed{killed_at}"))
        commits.clear()
        event.listen(Engine, "commit", kill)
        try:
            with contextlib.suppress(KilledError):
                open_storage(url)
        finally:
            event.remove(Engine, "commit", kill)
        # With a process its sessions end, and what they had not committed.
        database(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'killed{killed_at}'")
        for _ in range(2):
            assert StoredStudy.create(url, "one").snapshot().trials == ()
        assert optuna.get_all_study_names(open_storage(url)) == ["one"]
        with pytest.raises(optuna.exceptions.DuplicatedStudyError):
            optuna.create_study(study_name="one", storage=open_storage(url))
        if len(commits) < killed_at:
            break
    # It was killed before each of its commits, and then not at all.
    assert 2 < killed_at < 19


def judged(url, name):
    stored = StoredStudy.find(url, name)
    return stored.snapshot().records if stored else ()


def front_of(records):
    points = [record.point for record in records]
    return {(r.architecture.key, r.point) for r, kept in zip(records, non_dominated(points), strict=True) if kept}


@pytest.fixture(scope="module")
def calm(tmp_path_factory, _migrated):
    """Return the front of the whole space, of which every network is judged without a study."""
    folder = tmp_path_factory.mktemp("calm")
    shutil.copy(_migrated, folder)
    (folder / "space.toml").write_text(SPACE)
    url = Workspace(folder).study_url("undisturbed")
    session = open_simulated(url, folder, "undisturbed", folder / "space.toml", WHOLE, 0)
    space, rng, found = session.search.space, random.Random(0), {}
    assert space.size == WHOLE
    while len(found) < WHOLE:
        drawn = space.sample(rng)
        found[drawn.key] = drawn
    return front_of(
        [session.judge.judge(one, number, gate=lambda *_: None) for number, one in enumerate(found.values())]
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_workers_lose_nothing(url, workspace, space_file, calm):
    rng = random.Random(1)
    total, kills = WHOLE, 0
    with nursery(url, workspace, "disturbed", space_file, total, TRIAL_S) as start:
        workers = [start() for _ in range(3)]
        for _ in range(ROUNDS):
            time.sleep(rng.uniform(0.1, 1.0))
            # On a fast machine all are judged before.
            if len(judged(url, "disturbed")) > total - 5:
                break
            victim = rng.randrange(3)
            os.kill(workers[victim], signal.SIGKILL)
            workers[victim] = start()
            kills += 1
        while any(map(psutil.pid_exists, workers)):
            time.sleep(0.1)
    records = judged(url, "disturbed")
    assert kills
    assert len(records) == total
    assert max(Counter(record.architecture.key for record in records).values()) == 1
    trials = optuna.load_study(study_name="disturbed", storage=open_storage(url)).get_trials(deepcopy=False)
    finished = [t for t in trials if t.state.name == "COMPLETE"]
    assert {t.number for t in finished} == {record.number for record in records}
    assert not [t for t in trials if t.state.name == "RUNNING"]

    store = Store(workspace)
    rows = store.rows(store.studies()[0])
    assert sorted(rows["trial"]) == [record.number for record in records]

    assert calm == front_of(records)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_server_that_stops_and_comes_back(server, workspace, space_file):
    name = "interrupted"
    url = Workspace(workspace).study_url(name, server.url)

    with nursery(url, workspace, name, space_file, 12, TRIAL_S) as start:
        workers = [start() for _ in range(2)]
        deadline = time.monotonic() + 120
        while name not in optuna.get_all_study_names(open_storage(url)) or not judged(url, name):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.stop()
        try:
            time.sleep(5 * TRIAL_S)
            assert all(map(psutil.pid_exists, workers))
        finally:
            server.start()
        assert len(judged(url, name)) < 12
        while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)
    keys = [record.architecture.key for record in judged(url, name)]
    assert len(keys) == len(set(keys)) == 12
    store = Store(workspace)
    assert len(store.rows(store.studies()[0])) == 12
