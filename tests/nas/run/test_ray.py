"""Workers on a local Ray cluster: both first ones are killed, and the study completes."""

import os
import signal
from collections import Counter

import pytest

from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.nas.run.ray import RayWorkers
from srnas.nas.run.tasks import Task
from srnas.nas.workspace.studies import load_study
from srnas.nas.workspace.workspace import Workspace

pytest.importorskip("ray", reason="needs srnas[ray]")


class Killer(Observer):
    """Kills the first two processes that have judged a candidate, each while it is at its next."""

    def __init__(self):
        super().__init__()
        self.killed = set()

    def on_record(self, record, on_front):
        if record.pid not in self.killed and len(self.killed) < 2:
            self.killed.add(record.pid)
            os.kill(record.pid, signal.SIGKILL)


def test_workers_are_told_to_stop_before_they_are_killed(search_request):
    done = []

    class Cluster:
        def cancel(self, task, *, force):
            done.append((task, force))

        def wait(self, tasks, **_):
            return tasks[:1], tasks[1:]

        def shutdown(self):
            done.append("shutdown")

    workers = RayWorkers(search_request, None, Task.TRIALS, 2)
    workers._ray, workers._tasks = Cluster(), ["polite", "stuck"]
    workers.__exit__()
    assert done == [("polite", False), ("stuck", False), ("stuck", True), "shutdown"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_workers_are_replaced(search_request, brief_latency):
    killer = Killer()
    request = search_request.changed(engine="ray", workers=2, trials=7)
    outcome = launch(request, killer)
    _, _, records = load_study(Workspace(request.workspace), outcome.board.study.name)
    assert len(records) == 7
    assert {record.state for record in records} == {"complete"}
    assert max(Counter(record.architecture.key for record in records).values()) == 1
    assert len(killer.killed) == 2
    assert {record.pid for record in records} - killer.killed
