"""Device names, threads and profiles."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from srnas.profiling import DeviceProfile, Target, describe_device, resolve_device, resolve_threads
from srnas.profiling.preflight import Gpu, read_gpu
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


def test_equal_gpus_of_a_machine_are_one_profile():
    first = replace(describe_device(Target()), device="cuda:0", name="H100")
    assert first.key == replace(first, device="cuda:1").key
    assert first.key != replace(first, device="cpu").key


class NVMLError(Exception):
    """What NVML raises."""


def nvml(refused):
    """Return a double of ``pynvml`` on which these functions raise."""
    answers = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": "handle",
        "nvmlSystemGetDriverVersion": "610.1",
        "nvmlDeviceGetClockInfo": 1500,
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetApplicationsClock": 1800,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetTemperature": 41,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x04,
        "nvmlDeviceGetComputeRunningProcesses": ["this", "another"],
    }
    asked = []

    def function(name):
        def call(*arguments):
            asked.append((name, *arguments))
            if name in refused:
                raise NVMLError(name)
            return answers[name]

        return call

    made = SimpleNamespace(NVMLError=NVMLError, NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0, asked=asked)
    for name in answers:
        setattr(made, name, function(name))
    return made


WHOLE = Gpu("610.1", 1500.0, 1980.0, 700.0, 41.0, True, 1, 1800.0)


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        ((), WHOLE),
        # As on a part of a GPU, where clocks and power are nobody's.
        (
            ("nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetEnforcedPowerLimit"),
            replace(WHOLE, clock_mhz=None, max_clock_mhz=None, power_limit_w=None),
        ),
        (("nvmlDeviceGetComputeRunningProcesses",), replace(WHOLE, intruders=0)),
        (("nvmlDeviceGetCurrentClocksThrottleReasons",), replace(WHOLE, throttled=False)),
        # As under WSL, or without a driver.
        (("nvmlDeviceGetHandleByUUID",), Gpu()),
        (("nvmlInit",), Gpu()),
    ],
)
def test_what_the_driver_does_not_tell_is_unknown_field_by_field(monkeypatch, refused, expected):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(refused))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="8-4-4"))
    assert read_gpu(torch.device("cuda", 0)) == expected


def test_a_function_that_the_drivers_library_lacks_is_unknown_too(monkeypatch):
    double = nvml(())
    del double.nvmlDeviceGetApplicationsClock
    monkeypatch.setitem(sys.modules, "pynvml", double)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="8-4-4"))
    assert read_gpu(torch.device("cuda", 0)) == replace(WHOLE, application_clock_mhz=None)


@pytest.mark.parametrize(("uuid", "expected"), [("8-4-4", "GPU-8-4-4"), ("GPU-8", "GPU-8"), ("MIG-8", "MIG-8")])
def test_a_part_of_a_gpu_is_asked_for_by_its_own_name(monkeypatch, uuid, expected):
    double = nvml(())
    monkeypatch.setitem(sys.modules, "pynvml", double)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=uuid))
    read_gpu(torch.device("cuda", 0))
    assert ("nvmlDeviceGetHandleByUUID", expected) in double.asked


@pytest.mark.parametrize("refused", ["nvmlDeviceGetEnforcedPowerLimit", "nvmlSystemGetDriverVersion", "nvmlInit"])
def test_the_key_of_a_gpu_is_the_same_if_a_field_cannot_be_read(monkeypatch, refused):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="8-4-4"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    found = []
    for fields in ((), (refused,)):
        monkeypatch.setitem(sys.modules, "pynvml", nvml(fields))
        found.append(describe_device(Target(torch.device("cuda", 0))))
    assert found[0] != found[1]
    assert found[0].key == found[1].key
    assert found[0].host == describe_device(Target()).name
    assert found[0].key != replace(found[0], host="another processor").key


def test_keys_of_before_are_those_of_today():
    """The hash of a CPU that was taken when a profile had eleven fields."""
    of_before = DeviceProfile("cpu", "a processor", "", "2.13.0", threads=1)
    assert of_before.key == "7efbf49a"


def test_a_target_is_checked():
    with pytest.raises(InputError, match="unknown dtype 'float23'. Did you mean 'float32'"):
        Target(dtype="float23")
    with pytest.raises(InputError, match="unknown memory format 'channels_first'. Did you mean 'channels_last'"):
        Target(memory_format="channels_first")
