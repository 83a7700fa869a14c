"""What is recorded of device and machine before a measurement; what they do not tell is ``None``."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

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


def read_gpu(device: torch.device) -> Gpu:
    """Ask NVML about a CUDA device; without ``nvidia-ml-py`` nothing is known."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return Gpu()
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        sm = pynvml.NVML_CLOCK_SM
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return Gpu(
            driver=str(pynvml.nvmlSystemGetDriverVersion()),
            clock_mhz=float(pynvml.nvmlDeviceGetClockInfo(handle, sm)),
            max_clock_mhz=float(pynvml.nvmlDeviceGetMaxClockInfo(handle, sm)),
            power_limit_w=pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
            temperature_c=float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
            throttled=bool(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & _THROTTLED),
            # This process is one of them; its number is another one where containers have their own.
            intruders=max(0, len(processes) - 1),
        )
    except pynvml.NVMLError:
        return Gpu()


def preflight(device: torch.device) -> dict[str, Any]:
    """Return the state of the device and of the machine, as plain data, for the record of a measurement."""
    machine = {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "memory_available_mib": psutil.virtual_memory().available / 2**20,
        "cpu_clock_mhz": _cpu_clock_mhz(),
        "cpu_governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
    }
    if device.type != "cuda":
        return machine
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        **machine,
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
        "cudnn_benchmark": cudnn.benchmark,
        "convolution_tf32": cudnn.allow_tf32,
        "matmul_tf32": matmul.allow_tf32,
        "gpu": read_gpu(device).__dict__,
    }


def _cpu_clock_mhz() -> float | None:
    clock = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return clock.current if clock else None


def cpu_name() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _first_line(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None
