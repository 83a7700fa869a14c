"""Trainings on the long schedule that take a second, and a study of simulated trials."""

import shutil

import pytest
from simulated import open_simulated
from trained import TINY

from srnas.nas.ship.plan import FinalRequest
from srnas.nas.workspace.workspace import Workspace


@pytest.fixture
def final_request(tmp_path, workspace, photo_folder, held_out_folder):
    """Return a training of 24 iterations that is validated on two sets after every 10."""
    path = tmp_path / "tiny.json"
    path.write_text(TINY.to_json())
    return FinalRequest(
        network=str(path),
        iterations=24,
        workspace=Workspace(workspace),
        data=photo_folder,
        validation=(f"held={held_out_folder}", f"other={held_out_folder}"),
        batch=4,
        patch=8,
        learning_rate=1e-2,
        validate_every=10,
        device="cpu",
    )


@pytest.fixture
def train_command(final_request):
    """Return the arguments of the same training."""
    return (
        *(
            "train",
            final_request.network,
            "--iterations",
            24,
            "--workspace",
            final_request.workspace,
            "--data",
            final_request.data,
        ),
        *("--val", final_request.validation[0], "--val", final_request.validation[1], "--batch", 4, "--patch", 8),
        *("--learning-rate", 1e-2, "--validate-every", 10, "--device", "cpu"),
    )


@pytest.fixture
def elsewhere(workspace, tmp_path):
    """Return another workspace."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(workspace / "mlflow.db", folder)
    return Workspace(folder)


@pytest.fixture
def simulated(workspace, space_file, few_draws):
    """Return a function that opens the simulated study once more."""
    url = Workspace(workspace).study_url("shared")
    return lambda total=6, sampler="random": open_simulated(url, workspace, "shared", space_file, total, 0, sampler)
