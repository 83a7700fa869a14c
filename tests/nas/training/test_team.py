from contextlib import nullcontext

import pytest
import torch
from torch import distributed, nn

from srnas.nas.training.team import Team
from srnas.search_space import InputError


def test_torchrun_tells_the_team(monkeypatch):
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, value)
    assert Team.of_environment() == Team(3, 4, 1)


def test_without_torchrun_a_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    team, network, value = Team.of_environment(), nn.Identity(), torch.tensor(3.0)
    assert (team, team.leads) == (Team(), True)
    assert team.wrap(network) is network
    assert (team.mean(value), team.agreed(True), team.agreed(False)) == (value, True, False)
    with team.joined(torch.device("cpu")):
        assert not torch.distributed.is_initialized()


def test_every_process_has_its_share_of_a_batch():
    batch = list(range(12))
    shares = [batch[Team(rank, 4).share(12)] for rank in range(4)]
    assert shares == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


@pytest.mark.parametrize(("batch", "advice"), [(1, 4), (9, 8), (31, 32)])
def test_a_batch_that_cannot_be_shared(batch, advice):
    with pytest.raises(InputError, match=f"but got batch={batch} and 4 processes; give --batch {advice}."):
        Team(0, 4).share(batch)


def test_several_processes_have_several_devices():
    assert Team(1, 2, 1).device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="--device must be auto, cpu or cuda with 2 processes, but got 'cuda:1'"):
        Team(1, 2, 1).device("cuda:1")


@pytest.mark.parametrize(("visible", "expected"), [(1, "cuda:0"), (4, "cuda:1")])
def test_a_process_that_sees_one_gpu_takes_it(monkeypatch, visible, expected):
    """Slurm shows each process its own alone, whatever its number on the machine is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    assert Team(1, 2, 1).device("auto") == torch.device(expected)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (distributed.DistBackendError("NCCL error: remote process exited or there was a network error"), True),
        (distributed.DistNetworkError("recv failed"), True),
        # As gloo says it.
        (RuntimeError("Connection closed by peer [127.0.0.1]:4242"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("connection"), False),
    ],
)
def test_a_lost_process_is_known_by_the_class_of_the_error(error, lost):
    assert Team(0, 2).lost(error) == lost
    assert not Team().lost(error)


@pytest.mark.parametrize("gpus", [("a", "b"), ("a", "a")])
def test_processes_on_gpus_are_bound_to_them_and_apart(monkeypatch, gpus):
    asked = {}
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr("srnas.nas.training.team.gpu_uuid", lambda device: gpus[device.index])
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, **given: asked.update(given, of=backend))
    monkeypatch.setattr(distributed, "all_gather_object", lambda found, mine: found.__setitem__(slice(None), gpus))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: asked.update(ended=True))
    said = pytest.raises(InputError, match="2 processes must have a GPU of its own, but they have 1")
    with nullcontext() if len(set(gpus)) == 2 else said, Team(1, 2, 1).joined(torch.device("cuda", 1)):
        pass
    assert (asked["of"], asked["device_id"]) == ("cpu:gloo,cuda:nccl", torch.device("cuda", 1))
    assert asked["ended"]


def test_the_leader_alone_acts_and_its_error_is_its_own():
    done = []
    Team().lead(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        Team().lead(lambda: 1 / 0)
