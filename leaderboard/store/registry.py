"""Networks in MLflow's model registry: ONNX models for images of any size, which need no code of this package."""

import tempfile
import uuid
import warnings
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from srnas.leaderboard.record.finals import FinalRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.finals import find_final_run
from srnas.leaderboard.store.mlflow_private import MLFLOW_RUN_NAME
from srnas.leaderboard.store.runs import process_tags
from srnas.leaderboard.store.store import Store
from srnas.search_space import Architecture

_IMAGES = Schema([TensorSpec(np.dtype(np.float32), (1, 3, -1, -1))])
# What a server of the model needs beside MLflow.
_REQUIREMENTS = ("onnx", "numpy")
# The same package for a CPU and for CUDA.
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def register(
    store: Store, name: str, model: Any, architecture: Architecture, card: str, run_id: str | None = None
) -> int:
    """Make a version of a registered model.

    Input and output are float32 RGB in 0 to 1, ``(1, 3, H, W)`` and ``(1, 3, sH, sW)``.

    Args:
        store: Where it is registered.
        name: Name of the registered model, which is made if it is new.
        model: The network, as ``onnx.ModelProto`` of free height and width.
        architecture: What the network was built from.
        card: What there is to say about it, in Markdown.
        run_id: The run that trained the network, with which the model is kept; without one it gets a run of its own.

    Returns:
        The number of the version.

    Raises:
        MlflowException: If MLflow refuses the name, or does not answer.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own type hints.
        from mlflow.onnx import save_model

        installed = {package.name for package in distributions()}
        packages = (*_REQUIREMENTS, *(package for package in _RUNTIMES if package in installed))
        needed = [f"{package}=={version(package)}" for package in packages]
        signature, path = ModelSignature(_IMAGES, _IMAGES), Path(folder, "model")
        save_model(model, path, signature=signature, pip_requirements=needed, save_as_external_data=False)
        try:
            store.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        store.put_right()
        run_id = run_id or _own_run(store, architecture)
        # The files of a version are never written again.
        place = f"model-{uuid.uuid4().hex[:12]}"
        store.client.log_artifacts(run_id, str(path), place)
    source = f"{store.client.get_run(run_id).info.artifact_uri}/{place}"
    tags = {"srnas.key": architecture.key}
    made = store.client.create_model_version(name, source, run_id, tags=tags, description=card)
    return int(made.version)


def training_run(store: Store, final: FinalRecord | None, trial: TrialRecord | None) -> str | None:
    """Return the run of a training on the long schedule, else that of a trial, if MLflow has it."""
    if final is not None:
        return find_final_run(store, final)
    if trial is None:
        return None
    rows = store.trained(trial.architecture.key)
    return next((row["run_id"] for row in rows if (row["study"], row["trial"]) == (trial.study, trial.number)), None)


def _own_run(store: Store, architecture: Architecture) -> str:
    experiment = store.open_experiment(f"sr-x{architecture.scale}/final")
    name = f"{architecture.key}-registered"
    tags = {"srnas.role": "registered", "srnas.key": architecture.key, MLFLOW_RUN_NAME: name, **process_tags()}
    run = store.client.create_run(experiment, tags=tags, run_name=name)
    store.client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
