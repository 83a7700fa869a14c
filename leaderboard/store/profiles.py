"""Profiles of blocks and networks as MLflow runs."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srnas.leaderboard.store.mlflow_private import MLFLOW_PARENT_RUN_ID
from srnas.leaderboard.store.runs import as_metrics, process_tags
from srnas.leaderboard.store.store import Store

_EXPERIMENT = "sr/blocks"


def write_profiles(
    store: Store, title: str, rows: Sequence[Mapping[str, Any]], files: Mapping[str, str], figures: Iterable[Path]
) -> str:
    """Write profiles of blocks or networks to the experiment ``sr/blocks``, one child run per row.

    Args:
        store: Where they are written.
        title: Name of the parent run.
        rows: Numbers become metrics, texts and flags tags; all of it is kept with the parent as ``profiles.json``.
        files: Texts that are kept with the parent, by file name: raw samples, the state before.
        figures: Images that are kept with the parent.

    Returns:
        The id of the parent run.
    """
    experiment = store.open_experiment(_EXPERIMENT)
    tags = {"srnas.role": "profiles", **process_tags()}
    parent = str(store.client.create_run(experiment, tags=tags, run_name=title).info.run_id)
    for row in rows:
        _write_row(store, experiment, parent, row)
    with tempfile.TemporaryDirectory() as folder:
        for file, text in {**files, "profiles.json": json.dumps(list(rows))}.items():
            Path(folder, file).write_text(text, encoding="utf-8")
        store.client.log_artifacts(parent, folder)
    for figure in figures:
        store.client.log_artifact(parent, str(figure))
    store.client.set_terminated(parent)
    return parent


def _write_row(store: Store, experiment: str, parent: str, row: Mapping[str, Any]) -> None:
    numbers = {k: float(v) for k, v in row.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    # Latency by position is no single value: it is in the parent's file.
    others = {k: v for k, v in row.items() if k not in numbers and k != "places" and v is not None}
    tags = {f"srnas.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in others.items()}
    tags |= {"srnas.role": "profile", MLFLOW_PARENT_RUN_ID: parent}
    name = str(row.get("block") or row["network"])
    run = store.client.create_run(experiment, tags=tags, run_name=name)
    store.client.log_batch(run.info.run_id, as_metrics(numbers))
    store.client.set_terminated(run.info.run_id)
