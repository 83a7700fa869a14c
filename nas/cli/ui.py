"""``srnas ui``: MLflow's own page on the workspace."""

import os
import signal
import subprocess
import sys
from typing import Annotated

import typer

from srnas.nas.cli.options import DEFAULT_WORKSPACE, Workspace


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Serve MLflow's page on the workspace, on this machine only, until Ctrl-C."""
    from srnas.leaderboard import Store
    from srnas.search_space import InputError

    if not workspace.is_dir():
        raise InputError(f"a workspace must exist, but got '{workspace}'; run 'srnas search' first.")
    store = Store(workspace)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", store.uri]
    command += ["--default-artifact-root", (store.workspace / "artifacts").as_uri()]
    typer.echo(f"http://127.0.0.1:{port} (Ctrl-C stops it)", err=True)
    # One server process: MLflow's job runner starts ten more.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)
    try:
        raise typer.Exit(server.wait())
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        typer.echo("stopped", err=True)
