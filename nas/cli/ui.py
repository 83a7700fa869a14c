"""``srnas ui``: MLflow's server on the workspace, with the leaderboard page in it."""

import configparser
import contextlib
import io
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, WorkspacePath

_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"
# What MLflow takes.
_LEAST_PASSWORD = 12


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default can be reached from this machine only.")
    ] = ("127.0.0.1"),
    auth: Annotated[
        bool, typer.Option("--auth", help="Ask for user and password, with the accounts of MLflow.")
    ] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Serve the leaderboard page and MLflow's own pages until Ctrl-C."""
    from rich.console import Console

    from srnas.leaderboard.store.files import tracking_server
    from srnas.nas.workspace.workspace import Workspace
    from srnas.search_space import InputError

    place = Workspace(workspace)
    place.check_exists()
    if (uri := tracking_server()).startswith("http"):
        raise InputError(
            f"MLFLOW_TRACKING_URI must be a database to be served from here, but got the server {uri}; start that one "
            "with 'mlflow server --app-name srnas'."
        )
    if _answers(host, port):
        raise InputError(f"port {port} must be free, but something answers there; give another --port.")
    if not _is_loopback(host) and not auth:
        typer.echo(
            f"warning: anyone who can reach {host}:{port} can read, change and delete every result; --auth asks for a "
            "password.",
            err=True,
        )
    store = place.store
    store.put_right()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "srnas-auth" if auth else "srnas"]
    command += ["--host", host, "--port", str(port), "--workers", "1", "--backend-store-uri", store.uri]
    command += ["--default-artifact-root", (store.workspace / "artifacts").as_uri()]
    # One server process: MLflow's job runner starts ten more.
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings["SRNAS_UI_WORKSPACE"] = "" if workspace == DEFAULT_WORKSPACE else str(workspace)
    if auth:
        settings |= _auth_settings(store.workspace)
    shown = f"[{host}]" if ":" in host else host
    # In a group of its own: MLflow starts more processes, which are stopped with it.
    server = subprocess.Popen(command, env={**os.environ, **settings}, start_new_session=True)
    try:
        with Console(stderr=True).status("starting"):
            while not (started := _answers(host, port)) and server.poll() is None:
                time.sleep(0.2)
        if started:
            typer.echo(f"http://{shown}:{port}/leaderboard/ (Ctrl-C stops it)", err=True)
        code = server.wait()
        raise typer.Exit(code if started else code or 1)
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        typer.echo("stopped", err=True)


def _answers(host: str, port: int) -> bool:
    # Every address is reached by the loopback's.
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    with contextlib.suppress(OSError), socket.create_connection((near, port), timeout=1):
        return True
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _auth_settings(workspace: Path) -> dict[str, str]:
    """Return what MLflow's authentication needs; its users are kept in the workspace.

    Raises:
        InputError: If it is not installed, or the first user has no password.
    """
    from importlib.util import find_spec

    from srnas.leaderboard.store.sqlite import sqlite_url
    from srnas.nas.files import write_whole
    from srnas.search_space import InputError

    if find_spec("flask_wtf") is None:
        raise InputError("--auth needs the extra 'auth', but it is not installed; run pip install 'srnas[auth]'.")
    users, config = workspace / "users.db", workspace / "auth.ini"
    password = os.environ.get(_PASSWORD, "")
    if not users.exists() and len(password) < _LEAST_PASSWORD:
        raise InputError(
            f"{_PASSWORD} must hold a password of {_LEAST_PASSWORD} or more characters for the first user, 'admin', "
            f"but it holds {len(password)}; set it and start again."
        )
    settings = configparser.RawConfigParser()
    settings["mlflow"] = {
        "default_permission": "READ",
        "admin_username": "admin",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    settings.read(config, encoding="utf-8")
    # The workspace may have moved; MLflow reads a single % as more than that.
    settings["mlflow"]["database_uri"] = sqlite_url(users).replace("%", "%%")
    written = io.StringIO()
    settings.write(written)
    write_whole(config, written.getvalue().encode())
    variables = {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32)}
    return {name: os.environ.get(name, value) for name, value in variables.items()}
