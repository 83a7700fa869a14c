"""How workers are started, on devices that the machine does not have."""

import json
from types import SimpleNamespace

import torch

from srnas.nas.run import engines
from srnas.nas.run.plan import plan_search
from srnas.nas.run.tasks import Task
from srnas.nas.workspace.workspace import Workspace


def test_each_worker_sees_one_gpu(search_request, monkeypatch):
    """Two GPUs and three workers, on a machine that has neither."""
    settings = plan_search(search_request).settings.model_copy(update={"device": "cuda:0"})
    started = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"u{device.index}"))
    monkeypatch.setattr(engines.subprocess, "Popen", lambda command, env, **_: started.append((command, env)))
    workers = engines.LocalWorkers(
        search_request.changed(device="cuda"), settings, Workspace(search_request.workspace), Task.TRIALS, 3
    )
    workers.__enter__()
    assert [env["CUDA_VISIBLE_DEVICES"] for _, env in started] == ["GPU-u0", "GPU-u1", "GPU-u0"]
    # The only one that a worker sees is its first.
    assert {json.loads(command[-1])["device"] for command, _ in started} == {"cuda:0"}
