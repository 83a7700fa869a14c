"""Undocumented names of MLflow that this package uses; a contract test tries each of them.

Its names may change with any release; ``pyproject.toml`` keeps MLflow below the next major one.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from flask import Flask
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlRun, SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from sqlalchemy.orm import Session

__all__ = [
    "MLFLOW_PARENT_RUN_ID",
    "MLFLOW_RUN_NAME",
    "MLFLOW_RUN_NOTE",
    "SqlLatestMetric",
    "SqlRun",
    "SqlTag",
    "create_database",
    "database_session",
    "download",
    "files_of",
    "is_database",
    "is_served_by_uvicorn",
    "mlflow_app",
    "mounted",
    "permit_route",
    "quieten",
    "redirect_artifacts",
    "tracking_uri",
    "user_may_read",
    "with_authentication",
    "with_fastapi",
]


def quieten() -> None:
    """Let MLflow and its migrations say only what is wrong."""
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It prints the trace of every error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def create_database(uri: str, artifacts: str) -> None:
    """Create the tables of a tracking store.

    Args:
        uri: SQLAlchemy's URL of the database.
        artifacts: URI of the folder that holds the files of runs.
    """
    SqlAlchemyStore(uri, artifacts).engine.dispose()


def is_database(client: MlflowClient) -> bool:
    """Return whether a client reads a database itself, and not through a server."""
    return isinstance(client._tracking_client.store, SqlAlchemyStore)


def redirect_artifacts(client: MlflowClient, redirect: Callable[[str], str]) -> None:
    """Let a client read and write the files of runs where ``redirect`` says, given the URI that MLflow knows."""
    tracking = client._tracking_client

    def repository(run_id: str, *, resource: Literal["run", "logged_model"] = "run") -> ArtifactRepository:
        if resource != "run":
            return type(tracking)._get_artifact_repo(tracking, run_id, resource=resource)
        return get_artifact_repository(redirect(tracking.get_run(run_id).info.artifact_uri))

    tracking._get_artifact_repo = repository  # type: ignore[method-assign, assignment]


def files_of(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    """Return the names of the files that lie with a run, or in a folder of its files."""
    found = client._tracking_client._get_artifact_repo(run_id).list_artifacts(folder)
    return [Path(file.path).name for file in found if not file.is_dir]


def download(client: MlflowClient, run_id: str, path: str, folder: str) -> Path:
    """Copy a file of a run, or with an empty path all of them, into a folder; return where it is."""
    return Path(client._tracking_client._get_artifact_repo(run_id).download_artifacts(path, folder))


@contextlib.contextmanager
def database_session(client: MlflowClient) -> Iterator[Session]:
    """Open a session on the database that a client reads."""
    with client._tracking_client.store.ManagedSessionMaker() as session:
        yield session


# The server is loaded where it is asked for: a search needs none.


def mlflow_app() -> Flask:
    """Return the app of MLflow's server."""
    from mlflow.server import app

    return app


def tracking_uri() -> str:
    """Return the URI of the store of the server that this process is."""
    from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR

    return os.environ[BACKEND_STORE_URI_ENV_VAR]


def mounted(path: str) -> str:
    """Return a path below the prefix that the server was started with."""
    from mlflow.server.handlers import _add_static_prefix

    return str(_add_static_prefix(path))


def is_served_by_uvicorn() -> bool:
    """Return whether the server asks for an ASGI app."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME

    return bool(_MLFLOW_SGI_NAME.get() == "uvicorn")


def with_fastapi(app: Flask) -> Any:
    """Return an app as ASGI, with those routes of MLflow that are ASGI's only."""
    from mlflow.server.fastapi_app import create_fastapi_app

    return create_fastapi_app(app)


def with_authentication(app: Flask) -> Any:
    """Return an app behind MLflow's basic authentication."""
    from mlflow.server import auth

    return auth.create_app(app)


def user_may_read(experiment_id: str) -> bool:
    """Return whether the user of the request that is answered may read an experiment."""
    from flask import g
    from mlflow.server import auth

    if auth.sender_is_admin():
        return True
    return bool(auth._get_experiment_permission(experiment_id, g.mlflow_authenticated_user).can_read)


def permit_route(path: str, method: str, allowed: Callable[[], bool]) -> None:
    """Let the authentication ask ``allowed`` about a route that is not MLflow's own, which it refuses otherwise."""
    from mlflow.server import auth

    auth.BEFORE_REQUEST_VALIDATORS[path, method] = allowed
