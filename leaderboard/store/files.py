"""Where a workspace keeps MLflow's data: one SQLite file, which appears whole, and a folder of artifacts."""

import os
from pathlib import Path

from filelock import FileLock

from srnas.leaderboard.store.mlflow_private import create_database
from srnas.search_space import InputError

STORE_FILE = "mlflow.db"


def is_local() -> bool:
    """Return whether results go to the workspace's own file, and not to a tracking server."""
    return "MLFLOW_TRACKING_URI" not in os.environ


def store_lock(workspace: Path) -> FileLock:
    """Return the lock under which processes create what is in the store but once."""
    return FileLock(workspace / f"{STORE_FILE}.lock")


def artifacts_uri(workspace: Path) -> str:
    """Return the URI of the folder that holds the files of runs."""
    return (workspace / "artifacts").as_uri()


def create_sqlite(workspace: Path) -> str:
    """Return the URI of the workspace's store; a missing one is migrated aside and renamed into place.

    Raises:
        InputError: If the workspace cannot be written.
    """
    path = workspace / STORE_FILE
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        with store_lock(workspace):
            if not path.exists():
                # Aside, since the tables are made one after another and a kill would leave some of them out.
                aside = path.with_suffix(".creating")
                aside.unlink(missing_ok=True)
                create_database(f"sqlite:///{aside}", artifacts_uri(workspace))
                aside.replace(path)
    except OSError as error:
        raise InputError(f"workspace '{workspace}' must be writable, but {error}; give another --workspace.") from None
    return f"sqlite:///{path}"
