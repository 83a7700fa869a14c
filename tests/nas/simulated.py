"""A nursery of workers on simulated trials: every line 'start' on its standard input forks one and prints its pid.

Arguments: storage URL, workspace, study, space, total, seconds per trial, sampler. Forking spares the imports.
"""

import hashlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch._dynamo  # noqa: F401  Counting a network imports it, which takes a second.

from srnas.leaderboard import Quality, Rung, StudyRecord, TrialRecord
from srnas.nas import study
from srnas.nas.observer import Observer
from srnas.nas.publishing import Publisher
from srnas.nas.settings import Budgets, StudySettings, digest
from srnas.nas.study import Search
from srnas.nas.training import TrainingConfig
from srnas.nas.worker import work
from srnas.profiling import Latency, Target, describe_device
from srnas.search_space import SearchSpace


def share(key, salt):
    """Return a number in 0 to 1 that depends on the key only."""
    return int.from_bytes(hashlib.sha256(f"{salt}{key}".encode()).digest()[:4], "big") / 2**32


class SimulatedJudge:
    """Sleeps as long as a trial takes; its results depend on the architecture only."""

    def __init__(self, settings, seconds):
        self.settings, self.seconds, self.observer, self.proxies = settings, seconds, Observer(), set()

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
            architecture=architecture.to_dict(),
            design=design,
            protocol=self.settings.protocol,
            validation="held-out",
            latency=Latency(
                latency_ms=latency_ms,
                low_ms=latency_ms,
                high_ms=latency_ms,
                stable_ms=latency_ms,
                reference_ratio=1.0,
                first_call_ms=1.0,
                rounds_ms=(latency_ms,),
                reference_rounds_ms=(1.0,),
                flags=(),
            ),
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


def open_simulated(url, workspace, name, space, total, seconds, sampler="random"):
    """Return a search, a simulated judge and a publisher."""
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
        threads=1,
        latency_input=(32, 32),
        budgets=Budgets(),
        training=TrainingConfig(iterations=3, patch=8, batch=1, learning_rate=1e-3),
    )
    record = StudyRecord(
        name=name,
        scale=2,
        config=settings.flat(),
        validation="held-out",
        bicubic_psnr_y_db=27.0,
        bicubic_ssim_y=0.8,
        device=describe_device(Target()),
        reference_psnr_y_db=27.0,
        reference_latency_ms=10.0,
    )
    search = Search(url, settings, space)
    record = search.begin(lambda: record, total=total)
    return search, SimulatedJudge(settings, seconds), Publisher(Path(workspace), url, record, lambda _: None)


def run_simulated(*arguments):
    """Work on a simulated study until it has its total."""
    return work(*open_simulated(*arguments))


@contextmanager
def nursery(*arguments):
    """Give a function that starts a worker and returns its pid; none survives."""
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    pids = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "ready\n"

        def start():
            process.stdin.write("start\n")
            process.stdin.flush()
            pids.append(int(process.stdout.readline()))
            return pids[-1]

        try:
            yield start
        finally:
            for pid in filter(psutil.pid_exists, pids):
                os.kill(pid, signal.SIGKILL)
            process.stdin.close()


def main():
    """Fork a worker for every line."""
    url, workspace, name, space, total, seconds, *sampler = sys.argv[1:]
    study.MAX_DEATHS = 1000  # Here it is never the candidate that kills.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run_simulated(url, workspace, name, space, int(total), float(seconds), *sampler)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
