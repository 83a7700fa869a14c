"""What a measurement gives: latency as a distribution, with a 95 % interval and what disturbed it.

The median over rounds is what a user feels. The fastest round is the statistic that repeats best on a shared machine,
and the one that a search ranks by. Both are what a caller waits for, on every device and in every runtime; what a CUDA
device needs, without the host's launches, stands beside them (:mod:`~srnas.profiling.cuda_bench`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from srnas.profiling.device import DeviceProfile
from srnas.profiling.rounds import kept_rounds


@dataclass(frozen=True)
class Latency:
    """The distribution of a network's latency over rounds, in milliseconds.

    Attributes:
        median_ms: Median over the kept rounds.
        low_ms: Lower end of the median's 95 % confidence interval.
        high_ms: Upper end of it.
        fastest_ms: The fastest kept round: what a search ranks by.
        reference_ratio: Fastest kept round over the reference's fastest of the same rounds.
        first_call_ms: What the runtime needs until its first result: export, compilation, autotuning and lazy
            initialisation; on a board without the export, which is done here. In no other figure.
        rounds_ms: The figure of each round (median of its burst), discarded ones included.
        reference_rounds_ms: The reference's figure of each round.
        flags: ``unsteady``, ``launch_bound``, ``disturbed``, ``throttled``, ``invalid`` (too many rounds discarded),
            ``few`` (too few rounds kept for an interval: it is their range), ``wide`` (interval beyond the protocol's),
            ``uncaptured`` (on CUDA: no graph can hold it, so that what the device needs is not known), or nothing.
        discarded: For each round why it is discarded (``throttled``, ``clock``, ``process``, ``reference``), or an
            empty text.
        iqr_ms: Interquartile range over the kept rounds.
        other_load: Share of all CPU cores that other processes kept busy meanwhile.
        device_median_ms: On CUDA: the median of what the device needs, from a captured graph, where one can hold it.
        cold_median_ms: The median with the caches overwritten before each call, where that was asked for; of what the
            device needs where a graph holds such calls.
        cold_fastest_ms: The fastest such round.
        calls_ms: Duration of every call, round by round.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    fastest_ms: float
    reference_ratio: float
    first_call_ms: float
    rounds_ms: tuple[float, ...]
    reference_rounds_ms: tuple[float, ...]
    flags: tuple[str, ...]
    discarded: tuple[str, ...] = ()
    iqr_ms: float | None = None
    other_load: float | None = None
    device_median_ms: float | None = None
    cold_median_ms: float | None = None
    cold_fastest_ms: float | None = None
    calls_ms: tuple[tuple[float, ...], ...] = ()

    @property
    def kept(self) -> list[int]:
        """The numbers of the rounds that are not discarded; all of them if too few are left."""
        return kept_rounds(self.discarded or [""] * len(self.rounds_ms))

    @property
    def num_discarded(self) -> int:
        """How many rounds are discarded."""
        return sum(map(bool, self.discarded))


@dataclass(frozen=True)
class MeasuredNetwork:
    """What was measured of one network; the fields are named as in the record of a trial.

    Attributes:
        latency: The distribution of its latency.
        peak_memory_mib: Peak memory of a forward pass in MiB beyond what was resident, where it is known.
        max_abs_difference: Largest difference of an output value to that of eager float32, where it is finite.
        preflight: State of device and machine before the measurement.
    """

    latency: Latency
    peak_memory_mib: float | None
    max_abs_difference: float | None
    preflight: dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """Latencies that were measured side by side.

    Attributes:
        latencies: Distribution of each network, by its name.
        devices: What each latency belongs to, by name.
        preflight: State of device and machine before.
        peak_memory_mib: Peak memory of a forward pass beyond what was resident, by name; ``None``: not known.
        max_abs_difference: Largest difference of an output value to that of eager float32, by name.
    """

    latencies: Mapping[str, Latency]
    devices: Mapping[str, DeviceProfile]
    preflight: Mapping[str, Any] = field(default_factory=dict)
    peak_memory_mib: Mapping[str, float | None] = field(default_factory=dict)
    max_abs_difference: Mapping[str, float] = field(default_factory=dict)

    def of(self, name: str) -> MeasuredNetwork:
        """Return what was measured of one network."""
        difference = self.max_abs_difference[name]
        return MeasuredNetwork(
            self.latencies[name],
            self.peak_memory_mib[name],
            difference if math.isfinite(difference) else None,
            dict(self.preflight),
        )

    @property
    def device(self) -> DeviceProfile:
        """What the latencies belong to, where all have one target."""
        profiles = set(self.devices.values())
        assert len(profiles) == 1
        return profiles.pop()
