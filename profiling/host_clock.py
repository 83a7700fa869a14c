"""Timing by the clock of the host, the same here and on a board.

The agent on another machine runs this module as it is: it keeps to Python 3.9 and numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from srnas.profiling.rounds import Timed, Way

# What is timed.
Call = Callable[[], object]
# What a cold measurement writes between calls, as a multiple of the last cache. source: Triton's do_bench clears more
# than the cache as well.
COLD_FACTOR = 2
_FALLBACK_CACHE = 64 * 2**20


class HostClock:
    """Times callables, of which each is done when it returns.

    Args:
        runs: What is timed; before each call of what is timed cold, the caches are overwritten.
    """

    def __init__(self, runs: Mapping[Timed, Call]) -> None:
        self._runs = runs
        any_cold = any(subject.way is Way.COLD for subject in runs)
        self._flush = np.empty(COLD_FACTOR * last_cache_bytes() if any_cold else 0, dtype=np.uint8)

    def time(self, subject: Timed, calls: int) -> list[float]:
        """Run a subject a number of times and return the duration of each call in milliseconds."""
        run, clock, durations = self._runs[subject], time.perf_counter_ns, []
        for _ in range(calls):
            if subject.way is Way.COLD:
                self._flush.fill(1)
            start = clock()
            run()
            durations.append((clock() - start) / 1e6)
        return durations

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def rest(self, seconds: float) -> None:
        """Let the machine idle."""
        if seconds > 0:
            time.sleep(seconds)


def last_cache_bytes() -> int:
    """Return the size of the CPU's last cache, or of a usual one where the system does not tell."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KMG")) * unit)
    return max(sizes, default=_FALLBACK_CACHE)
