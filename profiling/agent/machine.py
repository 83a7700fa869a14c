"""Facts about a machine from Linux's files; elsewhere there are fewer."""

from __future__ import annotations

import glob
import operator
import os
import platform
from typing import Any

_SYS = "/sys/devices/system/cpu"
# Bits of a Raspberry Pi's firmware for what holds its clock down now. source: "vcgencmd get_throttled", Raspberry Pi
# documentation.
_PI_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_NOW = 0xF


def read(path: str) -> str:
    """Return a file's text, or nothing where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\x00\n ")
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = read(path)
    return int(text) if text.lstrip("-").isdigit() else None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def name() -> str:
    """Return the board's and the processor's name."""
    lines = [line.partition(":") for line in read("/proc/cpuinfo").splitlines()]
    known = {key.strip().lower(): value.strip() for key, _, value in lines}
    processor = known.get("model name") or known.get("hardware") or platform.processor() or platform.machine()
    board = read("/proc/device-tree/model")
    return f"{board}, {processor}" if board else processor


def throttle_count() -> int:
    """Return how often heat has held a clock down, and 1 more while a Raspberry Pi says that it is now."""
    counts = glob.glob(_SYS + "/cpu*/thermal_throttle/core_throttle_count")
    now = read(_PI_THROTTLED)
    return sum(_number(path) or 0 for path in counts) + bool(int(now or "0", 16) & _PI_NOW)


def state() -> dict[str, Any]:
    """Return what may change: clocks in MHz, temperature in degrees Celsius, load, free memory in MiB."""
    clocks = [_number(path) for path in sorted(glob.glob(_SYS + "/cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    heat = [_number(path) for path in sorted(glob.glob("/sys/class/thermal/thermal_zone*/temp"))]
    known_heat = [value / 1000 for value in heat if value is not None]
    return {
        "clocks_mhz": [value / 1000 for value in clocks if value is not None],
        "governor": read(_SYS + "/cpu0/cpufreq/scaling_governor"),
        "temperature_c": max(known_heat) if known_heat else None,
        "throttle_count": throttle_count(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "free_mib": _meminfo("MemAvailable"),
    }


def about() -> dict[str, Any]:
    """Return what the machine is, with its state."""
    return {
        "name": name(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": cores(),
        "memory_mib": _meminfo("MemTotal"),
        "python": platform.python_version(),
        "state": state(),
    }


def _meminfo(key: str) -> float | None:
    for line in read("/proc/meminfo").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return None


class Load:
    """The share of all cores that other processes keep busy between two calls of :meth:`read`."""

    def __init__(self) -> None:
        self._seen = self._ticks()

    def read(self) -> float | None:
        """Return the share since the last call; ``None`` where the system does not tell."""
        before, self._seen = self._seen, self._ticks()
        whole, busy, own = map(operator.sub, self._seen, before)
        return (busy - own) / whole if whole > 0 else None

    @staticmethod
    def _ticks() -> tuple[float, float, float]:
        """Return the ticks of all cores, those that they were busy, and those of this process."""
        line = read("/proc/stat").partition("\n")[0].split()[1:9]
        every = [int(ticks) for ticks in line] or [0] * 8
        times = os.times()
        own = (times.user + times.system) * os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.0
        return float(sum(every)), float(sum(every) - every[3] - every[4]), own
