"""How many workers there are and how they are started, on devices that the machine does not have."""

import json
from types import SimpleNamespace

import pytest
import torch

from srnas.nas.judging.observer import Observer
from srnas.nas.run import engines
from srnas.nas.run.launch import launch
from srnas.nas.run.plan import plan_search
from srnas.nas.run.tasks import Task
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError


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


class Process:
    """A worker that ends with these codes."""

    def __init__(self, *codes):
        self.codes, self.told = list(codes), []
        self.poll = lambda: self.codes.pop(0) if self.codes else None
        self.terminate = lambda: self.told.append("stop")
        self.wait = lambda *_: self.told.append("wait")


def test_who_was_started_is_stopped_if_the_next_cannot_be(search_request, monkeypatch):
    started = []

    def popen(*_, **__):
        if started:
            raise OSError("Resource temporarily unavailable")
        started.append(Process())
        return started[-1]

    monkeypatch.setattr(engines.subprocess, "Popen", popen)
    monkeypatch.setattr(engines, "usable_cores", lambda: 3)
    settings = plan_search(search_request).settings
    workers = engines.LocalWorkers(search_request, settings, Workspace(search_request.workspace), Task.TRIALS, 3)
    with pytest.raises(OSError, match="Resource"):
        workers.__enter__()
    assert started[0].told == ["stop", "wait"]


def test_a_worker_that_waited_for_the_others_measurements_is_started_again(tmp_path, monkeypatch):
    processes = [Process(engines.BUSY), Process(), *(Process(engines.BUSY) for _ in range(3))]
    monkeypatch.setattr(engines.subprocess, "Popen", lambda *_, **__: processes.pop(0))
    # It waits longer than a worker must run to be sound.
    monkeypatch.setattr(engines, "_SOUND_S", 0.0)
    slot = engines._Slot(["worker"], tmp_path / "log", None)
    slot.start()
    assert slot.is_alive()
    assert slot.is_alive()
    slot.process.codes = [engines.BUSY]
    assert slot.is_alive()
    with monkeypatch.context() as patches:
        # It had worked before it waited.
        patches.setattr(engines, "TIMEOUT_S", 0.0)
        assert slot.is_alive()
    assert slot.is_alive()
    with pytest.raises(InputError, match="workers must be able to run"):
        slot.is_alive()


def test_cores_that_this_process_may_not_use_have_no_worker(search_request, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    settings = plan_search(search_request).settings
    assert engines.workers_of(search_request.changed(workers="auto"), settings, 99) == 2
    with pytest.raises(InputError, match="workers x threads <= 2 cores must hold"):
        engines.LocalWorkers(search_request, settings, Workspace(search_request.workspace), Task.TRIALS, 3)


def test_a_single_worker_times_on_another_gpu(search_request, monkeypatch):
    settings = plan_search(search_request).settings.model_copy(update={"device": "cuda:0", "timed_on": "cuda:1"})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    request = search_request.changed(workers="auto", device="auto", timed_on="cuda:1")
    assert engines.workers_of(request, settings, 9) == 1


@pytest.mark.parametrize(
    ("asked", "cores", "left", "expected"), [("auto", 6, 9, 6), ("auto", 6, 2, 2), ("auto", 1, 9, 1), (3, 1, 1, 3)]
)
def test_without_a_number_there_is_a_worker_for_each_core(search_request, monkeypatch, asked, cores, left, expected):
    monkeypatch.setattr(engines, "usable_cores", lambda: cores)
    request = search_request.changed(workers=asked)
    assert engines.workers_of(request, plan_search(request).settings, left) == expected


@pytest.mark.parametrize(("device", "expected"), [("auto", 4), ("cuda", 4), ("cuda:1", 1)])
def test_without_a_number_there_is_a_worker_for_each_gpu(search_request, monkeypatch, device, expected):
    settings = plan_search(search_request).settings.model_copy(update={"device": "cuda:0"})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert engines.workers_of(search_request.changed(workers="auto", device=device), settings, 9) == expected


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, None, "0", "-1", "two", "2.5", ""])
def test_numbers_of_workers_that_cannot_be(search_request, bad):
    with pytest.raises(InputError, match=r"workers must be 'auto' or a positive integer, but got workers="):
        search_request.changed(workers=bad)
    assert (search_request.changed(workers="2").workers, search_request.changed(workers="auto").workers) == (2, "auto")


def test_too_many_workers_for_the_cores(search_request):
    with pytest.raises(InputError, match="workers x threads <="):
        launch(search_request.changed(workers=1000), Observer())
    with pytest.raises(InputError, match="engine"):
        launch(search_request.changed(engine="slurm"), Observer())
