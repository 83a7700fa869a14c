import pytest
import torch
from torch import nn

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


def test_the_leader_alone_acts_and_its_error_is_its_own():
    done = []
    Team().lead(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        Team().lead(lambda: 1 / 0)
