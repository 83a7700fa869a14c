"""The lease across real processes: exclusive, shared, given way, freed by death, and who holds it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from srnas.profiling import DeviceBusyError, device_lease, device_share, lease

CPU = torch.device("cpu")
# Forks a holder for every line, a folder of leases and what to do; forking spares the imports.
NURSERY = """
import os, signal, sys, time, torch
from srnas.profiling import device_lease, device_share

def measure():
    with device_lease(torch.device("cpu")):
        print(os.getpid(), flush=True)
        time.sleep(60)

def train():
    with device_share(torch.device("cpu")) as share:
        print(os.getpid(), flush=True)
        while True:
            time.sleep(0.02)
            share.give_way()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while line := sys.stdin.readline():
    os.environ["SRNAS_LEASES"], _, work = line.rstrip().rpartition(" ")
    if os.fork() == 0:
        {"measure": measure, "train": train}[work]()
"""
MEASURE, TRAIN = "measure", "train"


@pytest.fixture(autouse=True)
def _own_leases(tmp_path, monkeypatch):
    monkeypatch.setenv("SRNAS_LEASES", str(tmp_path))


@pytest.fixture(scope="module")
def nursery():
    command = [sys.executable, "-c", NURSERY, "busy"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def start(nursery, tmp_path):
    """Return a function that starts a holder and waits until it holds."""
    started = []

    def start(work):
        nursery.stdin.write(f"{tmp_path} {work}\n")
        started.append(psutil.Process(int(nursery.stdout.readline())))
        return started[-1]

    yield start
    for process in filter(psutil.Process.is_running, started):
        process.kill()
        process.wait()


def test_measuring_excludes_measuring_and_names_the_holder(start):
    holder = start(MEASURE)
    said = rf"must be free for measuring, but process {holder.pid} \(-c busy\) held it for 0.1 s"
    with pytest.raises(DeviceBusyError, match=said), device_lease(CPU, 0.1):
        pass


def test_measuring_excludes_training(start):
    holder = start(MEASURE)
    with (
        pytest.raises(DeviceBusyError, match=f"free of measurements, but process {holder.pid}"),
        device_share(CPU, 0.1),
    ):
        pass


def test_training_is_shared_and_gives_way(start):
    start(TRAIN)
    start(TRAIN)
    with device_share(CPU, 1.0):
        pass
    with device_lease(CPU, 5.0), pytest.raises(DeviceBusyError), device_share(CPU, 0.6):
        pass


def test_kill_frees_the_lease(start):
    holder = start(MEASURE)
    with pytest.raises(DeviceBusyError), device_lease(CPU, 0.1):
        pass
    holder.send_signal(signal.SIGKILL)
    with device_lease(CPU, 60.0):
        holder.wait()
    assert not holder.is_running()


def test_a_dead_holder_is_not_named(start):
    dead, alive = start(TRAIN), start(TRAIN)
    dead.kill()
    dead.wait()
    os.kill(alive.pid, signal.SIGSTOP)
    with pytest.raises(DeviceBusyError, match=f"but process {alive.pid} ") as error, device_lease(CPU, 0.1):
        pass
    assert str(dead.pid) not in str(error.value)


def test_the_lease_is_given_back():
    busy = pytest.raises(DeviceBusyError, match=f"process {os.getpid()} ")
    with device_lease(CPU, 0.1), busy, device_lease(CPU, 0.1):
        pass
    with device_lease(CPU, 0.1):
        pass


def test_a_share_that_meets_a_long_measurement_ends_with_the_reason(start, monkeypatch):
    monkeypatch.setattr("srnas.profiling.lease._PAUSE_S", 0.1)
    with device_share(CPU, 0.1) as share:
        time.sleep(0.6)
        share.release()
        holder = start(MEASURE)
        with pytest.raises(DeviceBusyError, match=f"free of measurements, but .*process {holder.pid}"):
            share.give_way()


def test_a_training_that_gives_way_is_no_holder(start):
    training = start(TRAIN)
    with device_lease(CPU, 5.0), pytest.raises(DeviceBusyError) as error, device_share(CPU, 0.1):
        pass
    assert f"but process {os.getpid()} " in str(error.value)
    assert str(training.pid) not in str(error.value)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the temporary folder is the user's own")
def test_jobs_with_temporary_folders_of_their_own_share_the_leases(tmp_path, monkeypatch):
    monkeypatch.delenv("SRNAS_LEASES")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert lease._folder() == Path("/tmp/srnas-leases")
