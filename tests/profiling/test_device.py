"""Device names, threads, profiles, and the lease across processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from srnas.profiling import DeviceBusyError, describe_device, device_lease, resolve_device, resolve_threads
from srnas.search_space import InputError

CPU = torch.device("cpu")
HOLD = """
import sys, time, torch
from srnas.profiling import device_lease
with device_lease(torch.device("cpu")):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_leases(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_names():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:x", "tpu:0", ""])
def test_unknown_names(name):
    with pytest.raises(InputError, match=r"device must be auto, cpu or cuda\[:N\], but got"):
        resolve_device(name)


def test_an_absent_gpu_is_named():
    with pytest.raises(InputError, match="device 'cuda:99' must exist"):
        resolve_device("cuda:99")


def test_threads():
    assert resolve_threads(1) == 1
    with pytest.raises(InputError, match="the cores of this machine"):
        resolve_threads(100_000)
    with pytest.raises(InputError, match="got threads=0"):
        resolve_threads(0)


def test_profile_key_changes_with_every_field():
    profile = describe_device(CPU, 2)
    assert profile.name
    assert "2 threads" in str(profile)
    others = [replace(profile, **{field: "x"}) for field in ("device", "name", "driver", "torch_version", "dtype")]
    others += [replace(profile, memory_format="channels_last"), replace(profile, runtime="compile")]
    assert len({profile.key, *(other.key for other in others)}) == 8


def test_the_lease_is_exclusive_and_freed_by_death():
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DeviceBusyError, match=f"process {holder.pid} held it for 0.1 s"), device_lease(CPU, 0.1):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with device_lease(CPU, 2.0):
            pass


def test_the_lease_is_given_back():
    busy = pytest.raises(DeviceBusyError, match=f"process {os.getpid()} held it")
    with device_lease(CPU, 0.1), busy, device_lease(CPU, 0.1):
        pass
    with device_lease(CPU, 0.1):
        pass
