"""Several workers for one study, on this machine or a Ray cluster; lost workers are started again.

Workers share nothing but the study's storage; what a lost one held is claimed by the others.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from srnas.leaderboard.rank.front import is_on_front
from srnas.nas.run.join import changes_of
from srnas.nas.run.ray import RayWorkers
from srnas.nas.run.request import SearchRequest
from srnas.nas.run.session import Session
from srnas.nas.run.tasks import BUSY, Task
from srnas.nas.stops import STOP_S
from srnas.nas.study.claims import Standing
from srnas.nas.study.settings import StudySettings
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import gpu_uuid, usable_cores
from srnas.profiling.lease import TIMEOUT_S
from srnas.search_space import InputError

_POLL_S = 0.5
_VISIBLE = "CUDA_VISIBLE_DEVICES"
# Devices that name no single GPU.
_ANY_GPU = ("auto", "cuda")
# A search ends if a worker is lost so often in a row before it has done anything for a minute.
_MAX_LOSSES = 3
_SOUND_S = 60.0


class Workers(Protocol):
    """Workers of a study, as a context manager that stops them at its end."""

    def __enter__(self) -> "Workers": ...

    def __exit__(self, *error: object) -> None: ...

    def alive(self) -> int:
        """Start lost workers again, and return how many have something to do.

        Raises:
            InputError: If workers fail again and again.
        """


def workers_of(request: SearchRequest, settings: StudySettings, left: int) -> int:
    """Return how many workers a search has; by default one for each GPU or share of the cores, as far as work is left.

    Args:
        request: What the user asked for.
        settings: What the study is fixed by.
        left: Number of networks that are to be trained.
    """
    if isinstance(request.workers, int):
        return request.workers
    if settings.device == "cpu":
        found = usable_cores() // settings.training_threads
    elif settings.timed_on.startswith("cuda"):
        found = 1  # Each of several would see one GPU only.
    else:
        found = torch.cuda.device_count() if request.device in _ANY_GPU else 1
    return max(1, min(found, left))


def run_engine(request: SearchRequest, session: Session, task: Task, left: int) -> Standing:
    """Do a task of a study in this process, or with several workers, and report what they do.

    Args:
        request: What the user asked for.
        session: The open study.
        task: What is to be done.
        left: Number of networks that are to be trained.

    Raises:
        InputError: If the workers fail again and again.
    """
    settings = session.search.settings
    number = workers_of(request, settings, left)
    if number == 1 and request.engine == "local":
        return task.do(session, request.replicates)
    workers: Workers
    if request.engine == "ray":
        workers = RayWorkers(request, settings, task, number)
    else:
        workers = LocalWorkers(request, settings, session.publisher.workspace, task, number)
    with workers:
        return watch(workers, session)


def watch(workers: Workers, session: Session) -> Standing:
    """Tell what workers do until they have nothing left to do."""
    observer = session.observer
    known = session.snapshot()
    shown, seeds_shown = {record.number for record in known.records}, known.tried_again
    while True:
        # Asked before the study is read: what the last worker kept before it ended is then seen.
        alive = workers.alive()
        known = session.snapshot()
        for record in known.records:
            if record.number not in shown:
                shown.add(record.number)
                observer.on_record(record, is_on_front(record, known.records))
        trials = {record.number: record for record in known.records}
        for again in known.trained_again:
            if (again.number, again.seed) not in seeds_shown:
                seeds_shown.add((again.number, again.seed))
                observer.on_replicate(trials[again.number], again)
        if not alive:
            session.publisher.publish(known.records)
            return Standing.DONE if known.is_done else Standing.EXHAUSTED
        time.sleep(_POLL_S)


class LocalWorkers:
    """One process for each GPU or share of the cores of this machine, each with a log in the workspace.

    Args:
        request: What the user asked for.
        settings: What the study is fixed by.
        workspace: Where their logs are kept.
        task: What they do.
        number: How many.

    Raises:
        InputError: If there are fewer cores than the workers need.
    """

    def __init__(
        self, request: SearchRequest, settings: StudySettings, workspace: Workspace, task: Task, number: int
    ) -> None:
        cores = usable_cores()
        if settings.device == "cpu" and number * settings.training_threads > cores:
            raise InputError(
                f"workers x threads <= {cores} cores must hold, but got workers={number} and "
                f"threads={settings.training_threads}; start fewer."
            )
        command, shown = _command(request, settings, task), _shown_gpus(request, settings)
        self._slots = [
            _Slot(command, workspace.log(settings.name, i), shown[i % len(shown)] if shown else None)
            for i in range(number)
        ]
        self._started: list[_Slot] = []

    def __enter__(self) -> "LocalWorkers":
        try:
            for slot in self._slots:
                slot.start()
                self._started.append(slot)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        # All are told before one is waited for, so that they end side by side.
        for slot in self._started:
            slot.process.terminate()
        for slot in self._started:
            slot.end()

    def alive(self) -> int:
        """Start lost workers again, and return how many have something to do."""
        return sum(slot.is_alive() for slot in self._slots)


class _Slot:
    """A worker process that is started again when it is lost.

    Args:
        command: What starts it.
        log: File of what it says.
        gpu: The one GPU that it sees, if it needs one.
    """

    def __init__(self, command: Sequence[str], log: Path, gpu: str | None) -> None:
        self._command = command
        self._log = log
        self._environment = os.environ | {_VISIBLE: gpu} if gpu else None
        self._losses = 0

    def start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def is_alive(self) -> bool:
        code = self.process.poll()
        if not code:
            return code is None
        waited_s = TIMEOUT_S if code == BUSY else 0.0
        is_sound = time.monotonic() - self._started >= _SOUND_S + waited_s
        self._losses = 1 if is_sound else self._losses + 1
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        # With code 2 the worker said what its user must mend: it would end in the same way again.
        if code == 2 or self._losses >= _MAX_LOSSES:
            last = said[-1] if said else f"exit code {code}"
            raise InputError(f"workers must be able to run, but one ended with: {last} (log: {self._log})")
        self.start()
        return True

    def end(self) -> None:
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _shown_gpus(request: SearchRequest, settings: StudySettings) -> list[str]:
    """Return the GPUs that workers take in turn, by names that no order of devices changes; none on a CPU."""
    if settings.device == "cpu":
        return []
    if request.device not in _ANY_GPU:
        return [gpu_uuid(torch.device(settings.device))]
    return [gpu_uuid(torch.device("cuda", number)) for number in range(torch.cuda.device_count())]


def _command(request: SearchRequest, settings: StudySettings, task: Task) -> list[str]:
    # A worker sees no GPU but its own, which is then the first.
    device = "cpu" if settings.device == "cpu" else "cuda:0"
    changes = changes_of(request, settings, device)
    module = "srnas.nas.run.process"
    # Without -P Python looks for modules in the user's folder first, where any file may have a name of ours.
    return [sys.executable, "-P", "-m", module, str(request.workspace), settings.name, task, json.dumps(changes)]
