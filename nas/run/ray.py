"""Workers of a study on a Ray cluster: Ray places one on each GPU or share of the cores, and restarts lost ones."""

import os
from pathlib import Path
from typing import Any

from srnas.nas.judging.observer import Observer
from srnas.nas.run.join import changes_of, join
from srnas.nas.run.request import SearchRequest
from srnas.nas.run.tasks import Task
from srnas.nas.stops import STOP_S
from srnas.nas.study.settings import StudySettings
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError

# How often a task starts again whose process or machine was lost.
_RESTARTS = 100


class RayWorkers:
    """Workers as Ray tasks; as a context manager it holds the connection to the cluster.

    Every machine needs ``srnas[ray]``, the photographs under the same paths, and a storage that all can reach.

    Args:
        request: What the user asked for; ``address`` is the cluster's, or none to start one on this machine.
        settings: Settings of the study.
        task: What they do.
        number: How many.

    Raises:
        InputError: If Ray is not installed.
    """

    def __init__(self, request: SearchRequest, settings: StudySettings, task: Task, number: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's own 15 gives way to every other process, and a latency would say so.
        os.environ.setdefault("RAY_worker_niceness", "0")
        try:
            import ray
        except ImportError:
            raise InputError("engine 'ray' needs ray, which is not installed; run: pip install 'srnas[ray]'") from None
        self._ray = ray
        self._request = request
        self._settings = settings
        self._task = task
        self._number = number
        self._tasks: list[Any] = []

    def __enter__(self) -> "RayWorkers":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        ray, request = self._ray, self._request
        ray.init(address=request.address, log_to_driver=False, include_dashboard=False)
        cuda = self._settings.device != "cpu"
        share = {"num_cpus": self._settings.training_threads, "num_gpus": int(cuda), "max_retries": _RESTARTS}
        work = ray.remote(**share)(_work)
        # Ray shows a task no GPU but its own, which is then the first.
        changes = changes_of(request, self._settings, "cuda:0" if cuda else "cpu")
        workspace = str(request.workspace.resolve())
        self._tasks = [work.remote(workspace, self._settings.name, self._task, changes) for _ in range(self._number)]

    def __exit__(self, *error: object) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=False)
        # Told so, a worker gives its candidate back.
        _, left = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=STOP_S) if self._tasks else ([], [])
        for task in left:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()

    def alive(self) -> int:
        """Return how many workers have something to do; the error of one that failed is raised."""
        done, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        # This raises what ended a worker.
        self._ray.get(done)
        return len(self._tasks)


def _work(workspace: str, study: str, task: Task, changes: dict[str, str]) -> None:
    join(Workspace(Path(workspace)), study, Observer(), task, **changes)
