"""Where a workspace keeps MLflow's data: one SQLite file, which appears whole, and a folder of artifacts.

MLflow stores where artifacts lie as absolute paths. A workspace may be moved, copied or mounted elsewhere, so that they
are put right before anything is written or served, and read where the workspace is in any case.
"""

import contextlib
import os
import re
import sqlite3
from pathlib import Path

from filelock import FileLock

from srnas.leaderboard.store.mlflow_private import create_database
from srnas.leaderboard.store.sqlite import has_content, made_aside, sqlite_url
from srnas.search_space import InputError

STORE_FILE = "mlflow.db"

# Where MLflow keeps URIs of artifacts.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_OF_EXPERIMENT = re.compile(r"((?:file://)?/.*/artifacts)(?:/\d+)?")
_OF_RUN = re.compile(r"(?:file://)?/.*/artifacts(/(?:\d+/)?[0-9a-f]{32}/artifacts)")
# What another process writes takes less; if it takes longer, the URIs are put right another time.
_BUSY_S = 0.5


def tracking_server() -> str:
    """Return the URI that replaces the workspace's own file, or nothing: an empty variable is none."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip()


def is_local() -> bool:
    """Return whether results go to the workspace's own file, and not to a tracking server."""
    return not tracking_server()


def store_lock(workspace: Path) -> FileLock:
    """Return the lock under which processes create what is in the store but once."""
    return FileLock(workspace / f"{STORE_FILE}.lock")


def artifacts_uri(workspace: Path) -> str:
    """Return the URI of the folder that holds the files of runs."""
    return (workspace / "artifacts").as_uri()


def create_sqlite(workspace: Path) -> str:
    """Return the URI of the workspace's store; a missing one is migrated aside and renamed into place.

    One that is there may be read-only.

    Raises:
        InputError: If it is missing, and the workspace cannot be written.
    """
    path = workspace / STORE_FILE
    if has_content(path):
        return sqlite_url(path)
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        with store_lock(workspace):
            if not has_content(path):
                with made_aside(path) as aside:
                    create_database(sqlite_url(aside), artifacts_uri(workspace))
    except OSError as error:
        raise InputError(f"workspace '{workspace}' must be writable, but {error}; give another --workspace.") from None
    return sqlite_url(path)


def artifacts_here(uri: str, workspace: Path) -> str:
    """Return the URI of a run's artifacts in this workspace, wherever that was when the run was made.

    What does not lie in a workspace is left as it is.
    """
    found = _OF_RUN.fullmatch(uri)
    return artifacts_uri(workspace) + found[1] if found else uri


def put_locations_right(workspace: Path) -> None:
    """Let what MLflow shows by itself lie where the workspace is now, unless the file cannot be written."""
    path, here = workspace / STORE_FILE, artifacts_uri(workspace)
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S)) as store, store:
        known = [_OF_EXPERIMENT.fullmatch(uri) for (uri,) in store.execute("SELECT artifact_location FROM experiments")]
        for old in {found[1] for found in known if found} - {here}:
            for table, column in _LOCATIONS:
                start, rest = f"substr({column}, 1, length(?))", f"substr({column}, length(?) + 1)"
                store.execute(
                    f"UPDATE {table} SET {column} = ? || {rest} WHERE {start} = ? AND {rest} GLOB '/*' OR {column} = ?",
                    (here, old, old, old, old, old),
                )
