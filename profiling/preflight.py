"""The state of device and machine before a measurement; what they do not report is ``None``."""

import contextlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from srnas.profiling.agent import machine
from srnas.profiling.precision import precision_of_float32

# Throttle reasons of NVML that lower the clock because of power or heat: software power cap, hardware slowdown, sync
# boost, software and hardware thermal slowdown, power brake.
# source: nvml.h, nvmlClocksEventReasons.
_THROTTLED = 0x04 | 0x08 | 0x10 | 0x20 | 0x40 | 0x80


@dataclass(frozen=True)
class Gpu:
    """A CUDA device as its driver describes it now.

    Attributes:
        driver: Version of the driver.
        clock_mhz: Clock of the multiprocessors.
        max_clock_mhz: The highest clock it may take.
        application_clock_mhz: The clock that it is set to under load.
        power_limit_w: Enforced power limit in watts.
        temperature_c: Temperature in degrees Celsius.
        throttled: Whether power or heat holds the clock down.
        intruders: Other processes that use it.
    """

    driver: str = ""
    clock_mhz: float | None = None
    max_clock_mhz: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    throttled: bool = False
    intruders: int = 0
    application_clock_mhz: float | None = None


def read_gpu(device: torch.device) -> Gpu:
    """Ask NVML about a CUDA device; what a driver does not tell, or all of it without ``nvidia-ml-py``, is unknown."""
    try:
        import pynvml as nvml
    except ModuleNotFoundError:
        return Gpu()
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu_uuid(device))
    except nvml.NVMLError:
        return Gpu()
    ask: dict[str, Callable[[], Any]] = {
        "driver": lambda: str(nvml.nvmlSystemGetDriverVersion()),
        "clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "max_clock_mhz": lambda: float(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "application_clock_mhz": lambda: float(nvml.nvmlDeviceGetApplicationsClock(handle, nvml.NVML_CLOCK_SM)),
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
        "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        "throttled": lambda: bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & _THROTTLED),
        # This process is one of them; its number is another one where containers have their own.
        "intruders": lambda: max(0, len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)) - 1),
    }
    told: dict[str, Any] = {}
    for name, question in ask.items():
        # Newer libraries lack what older ones have.
        with contextlib.suppress(nvml.NVMLError, AttributeError):
            told[name] = question()
    return Gpu(**told)


def gpu_uuid(device: torch.device) -> str:
    """Return the name of a GPU, or of a part of one, that is the same in every process."""
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    # Parts of a GPU name themselves, beginning with MIG.
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def preflight(device: torch.device) -> dict[str, Any]:
    """Return the state of the device and of the machine, as plain data, for the record of a measurement."""
    state = {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": machine.name(),
        "cores": os.cpu_count(),
        "load_average_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "memory_available_mib": psutil.virtual_memory().available / 2**20,
        "cpu_clock_mhz": _cpu_clock_mhz(),
        "cpu_governor": machine.governor() or None,
    }
    if device.type != "cuda":
        return state
    cudnn = torch.backends.cudnn
    return {
        **state,
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
        "cudnn_benchmark": cudnn.benchmark,
        **precision_of_float32(),
        "gpu": read_gpu(device).__dict__,
    }


def _cpu_clock_mhz() -> float | None:
    # Some systems have no such function, some kernels nothing for it to read.
    with contextlib.suppress(AttributeError, NotImplementedError, OSError):
        if clock := psutil.cpu_freq():
            return float(clock.current)
    return None
