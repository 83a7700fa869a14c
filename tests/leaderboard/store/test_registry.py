"""A network in MLflow's model registry, and what a server of it answers."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from serving import free_port

from srnas.leaderboard.store.store import Store
from srnas.search_space import Architecture, Network, Position


@pytest.fixture
def network(tmp_path):
    """Return a network, and the options that name it."""
    architecture = Architecture(scale=2, channels=6, positions=(Position(trunk="conv"),))
    torch.manual_seed(0)
    network = Network(architecture)
    (tmp_path / "network.json").write_text(architecture.to_json())
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    options = ("--network", tmp_path / "network.json", "--checkpoint", tmp_path / "network.safetensors")
    return network.deploy(), options


@pytest.mark.slow
def test_a_registered_network_is_served_at_any_size(run, workspace, tmp_path, monkeypatch, network):
    monkeypatch.chdir(tmp_path)
    built, options = network
    given = ("export", *options, "--register", "sr-demo", "--workspace", workspace, "--overwrite", "--licence", "MIT")
    for version in (1, 2):
        code, out, _ = run(*given)
        assert code == 0
        assert f"models:/sr-demo/{version}" in out
    store = Store(workspace)
    made = store.client.get_model_version("sr-demo", "2")
    # The files of a version stay as they are, whatever is removed and registered.
    store.client.delete_model_version("sr-demo", "1")
    assert "models:/sr-demo/3" in run(*given)[1]
    sources = {store.client.get_model_version("sr-demo", number).source for number in ("2", "3")}
    assert len(sources) == 2
    assert made.tags["srnas.key"] == built.architecture.key
    assert 'license: "MIT"' in made.description
    port, folder = free_port(), Path(sys.executable).parent
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/sr-demo/2", "--port", str(port)]
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--env-manager", "local"],
        env={**os.environ, "MLFLOW_TRACKING_URI": store.uri, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for size in ((24, 40), (33, 17)):
            lr = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
            found = np.array(_ask(server, port, {"inputs": lr.tolist()})["predictions"]["sr"], dtype=np.float32)
            with torch.no_grad():
                expected = built(torch.from_numpy(lr)).numpy()
            assert found.shape == (1, 3, 2 * size[0], 2 * size[1])
            assert np.abs(found - expected).max() < 1e-3
    finally:
        server.terminate()
        server.wait(30)


def _ask(server, port, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    for _ in range(300):
        with contextlib.suppress(ConnectionError, urllib.error.URLError), urllib.request.urlopen(request) as answer:
            return json.load(answer)
        assert server.poll() is None
        time.sleep(0.2)
    raise TimeoutError


def test_what_cannot_be_registered(run, workspace, tmp_path, monkeypatch, network):
    monkeypatch.chdir(tmp_path)
    common = ("export", *network[1], "--workspace", workspace)
    for options in (("--format", "pt2"), ("--dtype", "float16"), ("--size", "24x24")):
        code, _, said = run(*common, *options, "--register", "sr-demo")
        assert code == 2
        assert "--register needs --format onnx, float32 and any size" in said
    assert list(tmp_path.glob("*.onnx")) == []
    code, _, said = run(*common, "--register", "no/name")
    assert code == 2
    assert "MLflow must take model 'no/name'" in said
    assert "is kept" in said
    assert len(list(tmp_path.glob("*.onnx"))) == 1
