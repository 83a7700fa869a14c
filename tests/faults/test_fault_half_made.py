"""Whoever makes a store or a file may be killed at any moment: the next command finds nothing, or the whole."""

import contextlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from safetensors.torch import load_file

from srnas.leaderboard.store.files import create_sqlite
from srnas.leaderboard.store.sqlite import made_aside
from srnas.nas.files import write_whole, writing
from srnas.nas.judging.cache import ResultCache
from srnas.nas.study.storage import file_url, open_storage
from srnas.nas.study.stored import StoredStudy
from srnas.search_space import InputError


class KilledError(BaseException):
    """Stands for a process that dies."""


def make_study(folder):
    file = folder / "studies" / "x.db"
    return file, lambda: open_storage(file_url(file))


def assert_whole_at_once(there, least):
    """Whoever is killed at any of these statements leaves no file of this name; the others find it whole."""
    made = there.count(False)
    assert made > least
    assert there == [False] * made + [True] * (len(there) - made)


def test_a_study_is_there_as_soon_as_it_is_whole_and_no_statement_sooner(tmp_path, at_each_statement):
    file, create = make_study(tmp_path)
    there = []
    with at_each_statement(lambda *_: there.append(file.exists())):
        create()
    assert_whole_at_once(there, 40)


def test_the_results_are_there_as_soon_as_they_are_whole_and_no_statement_sooner(migrated):
    assert_whole_at_once(json.loads((migrated.parent / "there.json").read_text()), 300)


@pytest.mark.parametrize("killed_at", [1, 2, 11, 30, 50])
def test_what_a_killed_maker_leaves_is_made_anew(tmp_path, at_each_statement, killed_at):
    file, create = make_study(tmp_path)
    statements = []

    def kill(*_):
        statements.append(0)
        if len(statements) == killed_at:
            raise KilledError

    with at_each_statement(kill), pytest.raises(KilledError):
        create()
    assert not file.exists()
    assert StoredStudy.find(file_url(file), "x") is None
    assert StoredStudy.create(file_url(file), "x").snapshot().trials == ()
    assert [path.name for path in file.parent.iterdir() if "making" in path.name] == []


def test_a_journal_of_a_killed_maker_is_not_applied_to_the_next_file(tmp_path):
    left = [tmp_path / f".x.db.making{end}" for end in ("", "-journal", "-wal", "-shm")]
    for path in left:
        path.write_bytes(b"of another file")
    with made_aside(tmp_path / "x.db") as aside:
        assert not any(path.exists() for path in left)
        aside.write_bytes(b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


@pytest.fixture
def half_made(tmp_path):
    """Return the file of a storage without the index that an earlier version's killed maker left out."""
    file, create = make_study(tmp_path)
    create()
    with closing(sqlite3.connect(file)) as store:
        store.execute("DROP INDEX ix_studies_study_name")
        store.commit()
    return file


def indexes(file):
    with closing(sqlite3.connect(file)) as store:
        return {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}


def test_a_missing_index_is_made(half_made):
    optuna.create_study(storage=file_url(half_made), study_name="x")
    assert "ix_studies_study_name" not in indexes(half_made)
    assert StoredStudy.create(file_url(half_made), "x").name == "x"
    assert "ix_studies_study_name" in indexes(half_made)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(storage=open_storage(file_url(half_made)), study_name="x")


def test_studies_of_one_name_are_named_with_what_to_do(run, half_made, unchanged, tmp_path):
    with closing(sqlite3.connect(half_made)) as store:
        store.executemany("INSERT INTO studies (study_name) VALUES (?)", [("x",), ("x",)])
        store.commit()
    with unchanged(half_made.parent):
        with pytest.raises(InputError, match="must hold each study once, but several have one name"):
            StoredStudy.create(file_url(half_made), "x")
        code, _, err = run("studies", "--workspace", tmp_path)
        assert code == 0
        assert "study 'x' cannot be read" in " ".join(err.split())
    assert run("studies", "rm", "x", "--yes", "--workspace", tmp_path)[0] == 0
    assert StoredStudy.create(file_url(half_made), "x").name == "x"


@pytest.mark.parametrize("table", ["version_info", "alembic_version", "trials"])
def test_a_file_without_a_table_is_no_study_until_it_is_made(tmp_path, table):
    file, create = make_study(tmp_path)
    create()
    with closing(sqlite3.connect(file)) as store:
        store.execute(f"DROP TABLE {table}")
        store.commit()
    assert StoredStudy.find(file_url(file), "x") is None
    assert StoredStudy.create(file_url(file), "x").snapshot().trials == ()


def test_an_empty_file_is_made_anew(tmp_path, copied_stores, migrated):
    (tmp_path / "mlflow.db").touch()
    create_sqlite(tmp_path)
    assert (tmp_path / "mlflow.db").read_bytes() == migrated.read_bytes()


def whole(path):
    write_whole(path, b"new")


def with_aside(path):
    with writing(path) as aside:
        aside.write_bytes(b"new")


def database(path):
    with made_aside(path) as aside:
        aside.write_bytes(b"new")


@pytest.mark.parametrize("write", [whole, with_aside, database])
@pytest.mark.parametrize("killed_in", ["write_bytes", "replace"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_is_as_it_was_or_whole(tmp_path, monkeypatch, write, killed_in, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def kill(self, *_):
        with open(self, "ab") as file:
            file.write(b"ha")
        raise KilledError

    with monkeypatch.context() as context:
        context.setattr(Path, killed_in, kill)
        with pytest.raises(KilledError):
            write(path)
    assert (path.read_bytes() if path.exists() else None) == before
    write(path)
    assert path.read_bytes() == b"new"


def test_results_and_weights_belong_together_wherever_the_writer_is_killed(tmp_path, monkeypatch):
    from handmade import quality
    from trained import TINY

    from srnas.nas.judging.cache import TrainedResult
    from srnas.search_space import Network

    network, result = Network(TINY), TrainedResult(rungs=(), quality=quality(30.0), train_s=1.0)
    replace, done = Path.replace, []

    def kill(self, target):
        if len(done) == killed_at:
            raise KilledError
        done.append(target)
        return replace(self, target)

    for killed_at in range(3):
        cache = ResultCache(tmp_path, f"p{killed_at}")
        done.clear()
        with monkeypatch.context() as context, contextlib.suppress(KilledError):
            context.setattr(Path, "replace", kill)
            cache.save("key", result, network)
        assert cache.load("key") == (result if killed_at == 2 else None)
        if cache.load("key"):
            assert load_file(cache.weights("key")).keys() == network.state_dict().keys()
