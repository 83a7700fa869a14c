"""Networks in MLflow's model registry: ONNX models that take an image of any size, without a line of our code."""

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

from srnas.leaderboard.runs import process_tags
from srnas.leaderboard.store import Store
from srnas.search_space import Architecture

_FOLDER = "model"
_IMAGES = Schema([TensorSpec(np.dtype(np.float32), (1, 3, -1, -1))])
# What a server of the model needs beside MLflow.
_REQUIREMENTS = ("onnx", "onnxruntime", "numpy")


def register(store: Store, name: str, model: Any, architecture: Architecture, card: str) -> int:
    """Make a version of a registered model, below the run that trained the network.

    Input and output are float32 RGB in 0 to 1, ``(1, 3, H, W)`` and ``(1, 3, sH, sW)``.

    Args:
        store: Where.
        name: Of the registered model; made if it is new.
        model: The network, as ``onnx.ModelProto`` of free height and width.
        architecture: Of the network.
        card: What there is to say about it, in Markdown.

    Returns:
        The number of the version.

    Raises:
        MlflowException: If MLflow refuses the name, or does not answer.
    """
    run_id = _training_run(store, architecture.key) or _own_run(store, architecture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, _FOLDER)
        signature = ModelSignature(_IMAGES, _IMAGES)
        needed = [f"{package}=={version(package)}" for package in _REQUIREMENTS]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of MLflow's own type hints.
            from mlflow.onnx import save_model

            save_model(model, path, signature=signature, pip_requirements=needed, save_as_external_data=False)
        versions = _versions(store, name)
        place = f"{_FOLDER}/{name}-{len(versions) + 1}"
        store.client.log_artifacts(run_id, str(path), place)
    source = f"{store.client.get_run(run_id).info.artifact_uri}/{place}"
    if not versions:
        store.client.create_registered_model(name)
    tags = {"srnas.key": architecture.key}
    made = store.client.create_model_version(name, source, run_id, tags=tags, description=card)
    return int(made.version)


def _versions(store: Store, name: str) -> list[Any]:
    return list(store.client.search_model_versions(f"name = '{name}'"))


def _training_run(store: Store, key: str) -> str | None:
    """Return the newest run of a training on the long schedule, else of a trial that trained the architecture."""
    found = store.client.search_experiments(filter_string="name LIKE 'sr-x%/final'")
    for experiment in found:
        filters = f"tags.`srnas.key` = '{key}' and tags.`srnas.role` = 'final' and attributes.status = 'FINISHED'"
        for run in store.client.search_runs([experiment.experiment_id], filters, max_results=1):
            return str(run.info.run_id)
    return next((row["run_id"] for row in store.trained(key)), None)


def _own_run(store: Store, architecture: Architecture) -> str:
    experiment = store._experiment(f"sr-x{architecture.scale}/final")
    name = f"{architecture.key}-registered"
    tags = {"srnas.role": "registered", "srnas.key": architecture.key, MLFLOW_RUN_NAME: name, **process_tags()}
    run = store.client.create_run(experiment, tags=tags, run_name=name)
    store.client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
