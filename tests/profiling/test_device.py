"""Device names, threads and profiles."""

from dataclasses import replace

import pytest
import torch

from srnas.profiling import Target, describe_device, resolve_device, resolve_threads
from srnas.search_space import InputError

CPU = torch.device("cpu")


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
    profile = describe_device(Target(threads=2))
    assert profile.name
    assert "2 threads" in str(profile)
    others = [replace(profile, **{field: "x"}) for field in ("device", "name", "driver", "torch_version", "dtype")]
    others += [replace(profile, memory_format="channels_last"), replace(profile, runtime="compile")]
    assert len({profile.key, *(other.key for other in others)}) == 8


def test_a_target_is_checked():
    with pytest.raises(InputError, match="unknown dtype 'float23'. Did you mean 'float32'"):
        Target(dtype="float23")
    with pytest.raises(InputError, match="unknown memory format 'channels_first'. Did you mean 'channels_last'"):
        Target(memory_format="channels_first")
