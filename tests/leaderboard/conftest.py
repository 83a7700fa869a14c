"""The page of a filled store, served by MLflow."""

import os
import shutil

import pytest
from filled import store_of
from serving import serving


@pytest.fixture(scope="session")
def served(tmp_path_factory, _migrated):
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    folder = tmp_path_factory.mktemp("page") / "runs"
    folder.mkdir()
    shutil.copy(_migrated, folder / "mlflow.db")
    filled = store_of(folder)
    with serving(folder) as address:
        yield address, *filled
