"""Facts about a machine from Linux's files; elsewhere there are fewer."""

from __future__ import annotations

import glob
import os
import platform
from collections.abc import Callable
from typing import Any

_SYS = "/sys/devices/system/cpu"
# Bits of a Raspberry Pi's firmware for what holds its clock down now. source: "vcgencmd get_throttled", Raspberry Pi
# documentation.
_PI_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_NOW = 0xF
_VNNI = frozenset(("avx512_vnni", "avx_vnni"))


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
    return len(_cores())


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _processor() -> dict[str, str]:
    """Return what the system tells of the last core, with keys in small letters."""
    lines = [line.partition(":") for line in read("/proc/cpuinfo").splitlines()]
    return {key.strip().lower(): value.strip() for key, _, value in lines}


def name() -> str:
    """Return the board's and the processor's name; of an ARM without one the numbers of its designer and its kind."""
    known = _processor()
    numbers = [known[key] for key in ("cpu implementer", "cpu part") if key in known]
    arm = " ".join([platform.machine(), *numbers]) if numbers else ""
    processor = known.get("model name") or known.get("hardware") or arm or platform.processor() or platform.machine()
    board = read("/proc/device-tree/model")
    return f"{board}, {processor}" if board else processor


def int8_saturates() -> bool:
    """Return whether two products of 8 bits can overflow the 16 bits that they are added in: x86 without VNNI."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and not _VNNI.intersection(_processor().get("flags", "").split())


def throttle_count() -> int:
    """Return how often heat has held a clock down."""
    return sum(_number(path) or 0 for path in glob.glob(_SYS + "/cpu*/thermal_throttle/core_throttle_count"))


def is_throttled() -> bool:
    """Return whether a Raspberry Pi says that heat or too low a voltage holds its clock down now."""
    return bool(int(read(_PI_THROTTLED) or "0", 16) & _PI_NOW)


def governor() -> str:
    """Return what decides about the clock, or nothing where that cannot be read."""
    return read(_SYS + "/cpu0/cpufreq/scaling_governor")


def state() -> dict[str, Any]:
    """Return what may change: clocks in MHz, temperature in degrees Celsius, load, free memory in MiB."""
    clocks = [_number(path) for path in sorted(glob.glob(_SYS + "/cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    heat = [_number(path) for path in sorted(glob.glob("/sys/class/thermal/thermal_zone*/temp"))]
    known_heat = [value / 1000 for value in heat if value is not None]
    return {
        "clocks_mhz": [value / 1000 for value in clocks if value is not None],
        "governor": governor(),
        "temperature_c": max(known_heat) if known_heat else None,
        "throttle_count": throttle_count(),
        "throttled": is_throttled(),
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
        "int8_saturates": int8_saturates(),
        "memory_mib": _meminfo("MemTotal"),
        "python": platform.python_version(),
        "state": state(),
    }


def _meminfo(key: str) -> float | None:
    for line in read("/proc/meminfo").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return None


# Seconds of the cores that a share is taken over at least: the system counts in ticks of 10 ms, and on Linux iowait may
# even decrease. source: proc_stat(5).
_LEAST = 0.1


class Load:
    """The share of the cores that other processes have kept busy since :meth:`read` was called first.

    Args:
        times: Returns the time of the cores, the time that they were busy, and that of this process, in seconds.
    """

    def __init__(self, times: Callable[[], tuple[float, float, float]]) -> None:
        self._times = times
        self._first: tuple[float, float, float] | None = None

    def read(self) -> float | None:
        """Return the share, from 0 to 1; ``None`` until enough time went by, and where the system does not tell."""
        now = self._times()
        first = self._first = self._first or now
        whole, busy, own = (now[each] - first[each] for each in range(3))
        return None if whole < _LEAST else min(max((busy - own) / whole, 0.0), 1.0)


def load() -> Load:
    """Return what tells the load of others, by the ticks of the system."""
    return Load(_seconds)


def _seconds() -> tuple[float, float, float]:
    lines = [line.split() for line in read("/proc/stat").splitlines()]
    # Others disturb on the cores that this process may use.
    usable = {f"cpu{core}" for core in _cores()}
    of_cores = [[int(number) for number in line[1:9]] for line in lines if line and line[0] in usable]
    if not of_cores:
        return 0.0, 0.0, 0.0
    ticks = [sum(of_core[kind] for of_core in of_cores) for kind in range(8)]
    rate = os.sysconf("SC_CLK_TCK")
    times = os.times()
    return sum(ticks) / rate, (sum(ticks) - ticks[3] - ticks[4]) / rate, times.user + times.system
