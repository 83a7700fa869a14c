"""A training that was interrupted goes on bit by bit as if it had not been; what cannot be written is said."""

import resource

import fresh
import pytest
import torch

from srnas.nas.errors import DiskFullError
from srnas.nas.files import write_whole
from srnas.nas.images.pairs import make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import load_folder
from srnas.nas.training.loop import Compute, _backward, build_seeded, train
from srnas.nas.training.schedule import MUON, TrainingConfig
from srnas.nas.training.state import TrainingState, _load_moments, _random_states
from srnas.search_space import Architecture, Position

CPU = torch.device("cpu")
COMPUTE = Compute(CPU)
CONFIG = TrainingConfig(iterations=20, patch=8, batch=4, learning_rate=1e-3, rungs=(0.3, 0.6, 1.0))


class Kept(TrainingState):
    """What a caller wants back."""

    kept: int = 0


class KilledError(Exception):
    """Stands for a process that dies."""


@pytest.fixture
def patches(photo_folder):
    return PatchSampler(make_pairs(load_folder(photo_folder), 2), 2, CONFIG.patch, CPU)


def network(*attention):
    positions = tuple(Position(trunk="conv", attention=name) for name in attention or ("mlka", "cbam", "aab"))
    return build_seeded(Architecture(scale=2, channels=12, positions=positions), 0)


def weights(trained):
    return {name: value.clone() for name, value in trained.state_dict().items()}


@pytest.mark.parametrize("optimizer", [MUON, {"optimizer": "adamw"}])
def test_a_resumed_training_is_bit_identical(patches, tmp_path, optimizer):
    config = CONFIG.model_copy(update=optimizer)
    whole = weights(train(network(), patches, config, COMPUTE)[0])
    saved, state = tmp_path / "x.training", Kept(kept=1)

    def die(iteration, _):
        if iteration == 12:
            raise KilledError

    with pytest.raises(KilledError):
        train(network(), patches, config, COMPUTE, on_rung=die, saved=saved, state=state)
    torch.manual_seed(999)
    rungs, again = [], Kept()
    resumed, train_s = train(
        network(), patches, config, COMPUTE, on_rung=lambda i, _: rungs.append(i), saved=saved, state=again
    )
    assert rungs == [12, 20]
    assert again.kept == 1
    assert train_s > 0
    resumed = weights(resumed)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_training_that_was_saved_at_its_end_is_not_repeated(patches, tmp_path):
    saved = tmp_path / "x.training"
    whole = weights(train(network(), patches, CONFIG, COMPUTE, saved=saved)[0])
    steps = []
    again = weights(train(network(), patches, CONFIG, COMPUTE, saved=saved, on_step=steps.append)[0])
    assert steps == []
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_damaged_file_is_thrown_away(patches, tmp_path):
    saved = tmp_path / "x.training"
    saved.write_bytes(b"not tensors")
    whole = weights(train(network(), patches, CONFIG, COMPUTE)[0])
    again = weights(train(network(), patches, CONFIG, COMPUTE, saved=saved)[0])
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_batch_in_parts_gives_the_same_gradients(patches):
    batch = [part.double() for part in patches.draw(5, torch.Generator().manual_seed(0))]
    one, two = (network("mlka", "aab").double() for _ in range(2))  # CBAM has a batch norm.
    losses = [_backward(net, *batch, chunks) for net, chunks in ((one, 1), (two, 2))]
    torch.testing.assert_close(*losses)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-9)


def test_a_full_disk_leaves_the_old_file(tmp_path, tmp_path_factory):
    """A limit on the size of files stands for the disk."""
    path = tmp_path / "x.training"
    path.write_bytes(b"old")
    folder = tmp_path_factory.mktemp("said")
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom srnas.nas.files import write_whole\n"
        "limit = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))\n"
        "try: write_whole(Path(sys.argv[1]), b'x' * 5000)\n"
        "finally: resource.setrlimit(resource.RLIMIT_FSIZE, limit)\n"  # Else coverage's file would be cut off.
    )
    done = fresh.python(folder, code, path)
    assert "DiskFullError" in done.stderr
    assert "must have room for 0.0 MiB, but File too large; free some and run the same command again" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskFullError, match="must have room"):
        write_whole(tmp_path / "file" / "x", b"x")


def test_moments_and_the_count_of_steps_lie_where_their_parameter_is():
    """Fused AdamW reads its count of steps on the device; the meta device stands for one here."""
    trained = torch.nn.Conv2d(2, 2, 3)
    optimizer = torch.optim.AdamW(trained.parameters(), fused=True)
    trained(torch.rand(1, 2, 4, 4)).sum().backward()
    optimizer.step()
    saved = {
        f"{number}/{key}": value
        for number, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
    }
    elsewhere = torch.optim.AdamW(torch.nn.Conv2d(2, 2, 3, device="meta").parameters())
    _load_moments(elsewhere, saved)
    states = list(elsewhere.state.values())
    assert [sorted(moments) for moments in states] == [["exp_avg", "exp_avg_sq", "step"]] * 2
    assert {value.device.type for moments in states for value in moments.values()} == {"meta"}


def test_the_random_state_is_that_of_the_device_that_trains(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: f"of {device}")
    assert _random_states(torch.device("cuda", 1))["cuda"] == "of cuda:1"
    assert set(_random_states(CPU)) == {"cpu"}
