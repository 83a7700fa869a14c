"""A contract with MLflow: each name that it does not document is there, and can be called as it is called here."""

import inspect
from pathlib import Path

import pytest
from flask import Flask
from mlflow import MlflowClient

from srnas.leaderboard.store import mlflow_private


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_the_tags():
    # As they stand in every store that was written.
    assert mlflow_private.MLFLOW_PARENT_RUN_ID == "mlflow.parentRunId"
    assert mlflow_private.MLFLOW_RUN_NAME == "mlflow.runName"
    assert mlflow_private.MLFLOW_RUN_NOTE == "mlflow.note.content"


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("SqlRun", {"run_uuid", "experiment_id", "status", "start_time", "end_time", "lifecycle_stage"}),
        ("SqlTag", {"run_uuid", "key", "value"}),
        ("SqlLatestMetric", {"run_uuid", "key", "value", "is_nan"}),
    ],
)
def test_the_tables(table, columns):
    assert columns <= set(getattr(mlflow_private, table).__table__.columns.keys())


def test_the_store_of_a_client(workspace):
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    assert mlflow_private.is_database(client)
    assert not mlflow_private.is_database(MlflowClient(tracking_uri="http://127.0.0.1:9"))
    with mlflow_private.database_session(client) as session:
        assert session.query(mlflow_private.SqlRun).count() == 0


def test_files_of_runs_lie_where_they_are_redirected(workspace, tmp_path):
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    run_id = client.create_run("0").info.run_id
    given = []
    mlflow_private.redirect_artifacts(client, lambda uri: given.append(uri) or (tmp_path / "there").as_uri())
    client.log_text(run_id, "text", "deep/a.txt")
    assert (tmp_path / "there" / "deep" / "a.txt").read_text() == "text"
    assert mlflow_private.files_of(client, run_id, "deep") == ["a.txt"]
    assert mlflow_private.files_of(client, run_id) == []
    (tmp_path / "copy").mkdir()
    copied = mlflow_private.download(client, run_id, "deep/a.txt", str(tmp_path / "copy"))
    assert copied.read_text() == "text"
    assert all(run_id in uri for uri in given)


def test_a_database_is_created_with_an_uri_and_a_folder():
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    assert parameters(SqlAlchemyStore)[:2] == ["db_uri", "default_artifact_root"]


@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")
def test_the_server(monkeypatch):
    from mlflow.server import handlers
    from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
    from mlflow.server.fastapi_app import create_fastapi_app

    assert isinstance(mlflow_private.mlflow_app(), Flask)
    assert parameters(handlers._add_static_prefix) == ["route"]
    assert parameters(create_fastapi_app)[:1] == ["flask_app"]
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, "sqlite:///x")
    assert mlflow_private.tracking_uri() == "sqlite:///x"
    monkeypatch.delenv("_MLFLOW_STATIC_PREFIX", raising=False)
    assert mlflow_private.mounted("/leaderboard") == "/leaderboard"
    for served, expected in (("uvicorn", True), ("gunicorn", False)):
        monkeypatch.setenv("_MLFLOW_SGI_NAME", served)
        assert mlflow_private.is_served_by_uvicorn() is expected


@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")
def test_the_authentication():
    from mlflow.server import auth

    assert parameters(auth._get_experiment_permission)[:2] == ["experiment_id", "username"]
    assert parameters(auth.sender_is_admin) == []
    assert parameters(auth.create_app)[:1] == ["app"]
    path, method = next(iter(auth.BEFORE_REQUEST_VALIDATORS))
    assert path.startswith("/")
    assert method in ("GET", "POST", "PATCH", "PUT", "DELETE")
    mlflow_private.permit_route("/of-a-test", "GET", lambda: True)
    assert auth.BEFORE_REQUEST_VALIDATORS.pop(("/of-a-test", "GET"))()


def test_nothing_else_imports_what_mlflow_does_not_document():
    """One file names it all: whoever raises the bound of MLflow has one file to look at."""
    room = Path(mlflow_private.__file__).parents[1]
    private = ("mlflow.utils", "mlflow.store.", "mlflow.server", "_tracking_client", "ManagedSessionMaker", "_MLFLOW")
    for path in room.rglob("*.py"):
        if path.name != "mlflow_private.py":
            assert not [name for name in private if name in path.read_text(encoding="utf-8")], path
