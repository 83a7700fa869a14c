"""A nursery of workers on simulated trials: a process that forks one whenever it is asked to, which spares the imports.

Arguments: storage URL, workspace, study, space, total, seconds per trial, sampler.
"""

import hashlib
import math
import os
import signal
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import fresh
import psutil
import torch
import torch._dynamo  # Counting a network imports it, which takes a second.

from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, Rung, TrialRecord
from srnas.nas.judging.observer import Observer
from srnas.nas.optuna_private import set_attributes
from srnas.nas.run.publishing import Publisher
from srnas.nas.run.session import Session
from srnas.nas.run.worker import work
from srnas.nas.study import claims
from srnas.nas.study.search import open_search
from srnas.nas.study.settings import StudySettings, digest
from srnas.nas.training.schedule import TrainingConfig
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Latency, Target, describe_device
from srnas.search_space import SearchSpace, human_designs


def share(key, salt):
    """Return a number in 0 to 1 that depends on the key only."""
    return int.from_bytes(hashlib.sha256(f"{salt}{key}".encode()).digest()[:4], "big") / 2**32


def latency(fastest_ms):
    return Latency(
        median_ms=fastest_ms,
        low_ms=fastest_ms,
        high_ms=fastest_ms,
        fastest_ms=fastest_ms,
        reference_ratio=1.0,
        first_call_ms=1.0,
        rounds_ms=(fastest_ms,),
        reference_rounds_ms=(1.0,),
        flags=(),
    )


class SimulatedJudge:
    """Sleeps as long as a trial takes; its results depend on the architecture only."""

    def __init__(self, settings, seconds, target):
        self.settings, self.seconds, self.proxies = settings, seconds, set()
        self.materials = SimpleNamespace(observer=Observer(), target=target, device=torch.device(settings.device))

    def judge(self, architecture, number, design="", gate=None, predictions=None):
        started_ms = int(time.time() * 1000)
        time.sleep(self.seconds)
        latency_ms = math.exp(2 * share(architecture.key, "latency"))
        psnr_db = 28 + latency_ms / 4 + share(architecture.key, "psnr")
        gate(Rung(iteration=1, psnr_y_db=psnr_db - 1), latency_ms)
        return TrialRecord(
            study=self.settings.name,
            number=number,
            state="complete",
            architecture=architecture,
            design=design,
            protocol=self.settings.protocol,
            validation="held-out",
            latency=latency(latency_ms),
            rungs=(Rung(iteration=1, psnr_y_db=psnr_db - 1), Rung(iteration=3, psnr_y_db=psnr_db)),
            quality=Quality(
                images=("a",), psnr_y_db=(psnr_db,), ssim_y=(0.9,), mean_psnr_y_db=psnr_db, mean_ssim_y=0.9
            ),
            predictions={name: share(architecture.key, name) for name in self.proxies},
            started_ms=started_ms,
            ended_ms=int(time.time() * 1000),
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def settle(self, architecture):
        """Keep nothing: there is no cache."""


def open_simulated(url, workspace, name, space, total, seconds, sampler="random", dtype="float32"):
    """Return a session with a simulated judge."""
    target = Target(dtype=dtype)
    space = SearchSpace.load(str(space), 2)
    settings = StudySettings(
        name=name,
        space=space.name,
        space_digest=digest(space),
        scale=2,
        train="none",
        validation="none",
        sampler=sampler,
        seed=0,
        device="cpu",
        dtype=dtype,
        threads=1,
        latency_input=(32, 32),
        rungs="none",
        training=TrainingConfig(iterations=3, patch=8, batch=1, learning_rate=1e-3),
    )
    record = StudyRecord(
        name=name,
        scale=2,
        config=settings.flat(),
        validation="held-out",
        bicubic_psnr_y_db=27.0,
        bicubic_ssim_y=0.8,
        device=describe_device(target),
        reference_psnr_y_db=27.0,
        reference_fastest_ms=10.0,
    )
    search = open_search(url, settings, space)
    search.want(total=total)
    record = search.begin(lambda: record, human_designs(space).values())
    publisher = Publisher(Workspace(Path(workspace)), url, record, lambda _: None)
    return Session(search, SimulatedJudge(settings, seconds, target), publisher)


def run_simulated(*arguments):
    """Work on a simulated study until it has its total."""
    return work(open_simulated(*arguments))


def owned_by(search, claim, **owner):
    """Let another process hold a claim: one process holds one at a time."""
    set_attributes(search.stored.study, claim.trial, {"owner": claim.trial.user_attrs["owner"] | owner})


def claim_until(search, key):
    """Claim for others until a candidate comes; it is claimed by this process."""
    for _ in range(20):
        claim = search.claims.claim()
        if claim.architecture.key == key:
            return claim
        owned_by(search, claim, host="elsewhere")
    raise AssertionError(key)


@contextmanager
def nursery(*arguments):
    """Give a function that starts a worker and returns its pid; none survives."""
    ours, theirs = fresh.CONTEXT.Pipe()
    process = fresh.CONTEXT.Process(target=fork_workers, args=(theirs, *map(str, arguments)))
    process.start()
    theirs.close()
    pids = []

    def start():
        ours.send("start")
        pids.append(ours.recv())
        return pids[-1]

    try:
        yield start
    finally:
        for pid in filter(psutil.pid_exists, pids):
            os.kill(pid, signal.SIGKILL)
        ours.close()
        process.join()


def fork_workers(asked, url, workspace, name, space, total, seconds, *sampler):
    """Fork a worker whenever one is asked for."""
    claims.MAX_DEATHS = 1000  # Here it is never the candidate that kills.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(EOFError):
        while asked.recv():
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                run_simulated(url, workspace, name, space, int(total), float(seconds), *sampler)
                os._exit(0)
            asked.send(pid)
