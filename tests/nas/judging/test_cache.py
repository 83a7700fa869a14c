import pytest
import torch
from safetensors.torch import load_file

from srnas.leaderboard.record.trials import Quality, Rung
from srnas.nas.judging.cache import ResultCache, TrainedResult
from srnas.nas.training.loop import build_seeded
from srnas.search_space import Architecture, Choice, Position

TINY = Architecture(scale=2, channels=6, positions=(Position(trunk=Choice(name="conv")),))


def result(psnr=(30.125, 31.0625)):
    # 0.1 + 0.2 has no short decimal form: nothing may be rounded on the way.
    mean = 0.1 + 0.2
    return TrainedResult(
        rungs=(Rung(iteration=10, psnr_y_db=29.0), Rung(iteration=30, psnr_y_db=mean)),
        quality=Quality(images=("a", "b"), psnr_y_db=psnr, ssim_y=(0.9, 0.8), mean_psnr_y_db=mean, mean_ssim_y=0.85),
        train_s=1 / 3,
    )


@pytest.fixture
def cache(tmp_path):
    return ResultCache(tmp_path / "cache", "protocol")


@pytest.fixture
def network():
    return build_seeded(TINY, 0)


def test_result_comes_back_as_it_was_saved(cache, network):
    cache.save(TINY.key, result(), network)
    assert cache.load(TINY.key) == result()


def test_weights_are_safetensors(cache, network):
    network = network.to(memory_format=torch.channels_last)
    cache.save(TINY.key, result(), network)
    weights = load_file(cache.weights(TINY.key))
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(mine, weights[name]) for name, mine in network.state_dict().items())


def test_nothing_else_is_left_in_the_folder(cache, network, tmp_path):
    cache.save("key", result(), network)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["cache/protocol/key.json", "cache/protocol/key.safetensors"]


def test_what_was_not_trained_is_missing(cache, network):
    assert cache.load("key") is None
    cache.save("key", result(), network)
    assert cache.load("other") is None


def test_other_protocols_are_kept_apart(cache, network, tmp_path):
    cache.save("key", result(), network)
    assert ResultCache(tmp_path / "cache", "other").load("key") is None
    assert ResultCache(tmp_path / "cache", "protocol").load("key") == result()


def test_result_without_weights_is_missing(cache, network):
    cache.save("key", result(), network)
    cache.weights("key").unlink()
    assert cache.load("key") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff\xfe" + data,
        lambda data: b"null",
        lambda data: data.replace(b'"train_s"', b'"seconds"'),
        lambda data: data.replace(b"0.85", b'"high"'),
    ],
    ids=["empty", "half", "not-utf-8", "null", "other-key", "other-type"],
)
def test_damaged_result_is_missing_until_it_is_saved_again(cache, network, damage):
    cache.save("key", result(), network)
    path = cache.weights("key").with_suffix(".json")
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    assert cache.load("key") is None
    cache.save("key", result(), network)
    assert cache.load("key") == result()


def test_saving_again_replaces_result_and_weights(cache, network):
    cache.save("key", result(), network)
    other = build_seeded(TINY, 1)
    cache.save("key", result((1.0, 2.0)), other)
    assert cache.load("key") == result((1.0, 2.0))
    weights = load_file(cache.weights("key"))
    assert all(torch.equal(mine, weights[name]) for name, mine in other.state_dict().items())
