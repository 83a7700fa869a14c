"""The profile of a block or a network: its sizes by three counters, its latency, memory and share of the roofline."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from srnas.profiling.counters import Reconciliation, reconcile
from srnas.profiling.counting import Counts, InputShape, ModuleCounts, count
from srnas.profiling.device import DeviceProfile, Target
from srnas.profiling.latency import measure_latency
from srnas.profiling.measurement import Latency, Measurement
from srnas.profiling.parts import Part, parts
from srnas.profiling.positions import by_position
from srnas.profiling.roofline import Roofline
from srnas.profiling.rounds import LatencyProtocol
from srnas.search_space import Architecture

Kind = Literal["block", "network"]


@dataclass(frozen=True)
class Subject:
    """What is profiled.

    Attributes:
        kind: A single block, or a whole network.
        name: What it is called.
        module: What is counted and timed, in deploy form and eval mode.
        input_shape: ``(B, C, H, W)`` of its input.
        architecture: What a network was built from, if its latency is to be split by position.
    """

    kind: Kind
    name: str
    module: nn.Module
    input_shape: InputShape
    architecture: Architecture | None = None


@dataclass(frozen=True)
class Place:
    """A part of a network by where it stands.

    Attributes:
        name: ``stem``, ``p00``, ``p01``, ..., ``end``, ``gather``, ``tail`` or ``skip``.
        label: The blocks of a position; else the name.
        counts: Sizes of the part.
        fastest_ms: The fastest rounds of what the part is made of, each timed by itself, added up, in milliseconds.
    """

    name: str
    label: str
    counts: ModuleCounts
    fastest_ms: float


@dataclass(frozen=True)
class Profile:
    """What is known of a subject on a device.

    Attributes:
        kind: A single block, or a whole network.
        name: What it is called.
        counted: Sizes by three counters.
        latency: Distribution of its latency.
        peak_memory_mib: Peak memory of a pass in MiB beyond what was resident; ``None`` where it is not known.
        max_abs_difference: Largest difference of an output value to eager float32; infinite where the output is not
            finite.
        bound_ms: Least time in milliseconds that the roofline allows; ``None`` for int8.
        device: What the latency belongs to.
        preflight: State of device and machine before.
        places: A network by position, where its architecture is given.
    """

    kind: Kind
    name: str
    counted: Reconciliation
    latency: Latency
    peak_memory_mib: float | None
    max_abs_difference: float
    bound_ms: float | None
    device: DeviceProfile
    preflight: Mapping[str, Any]
    places: tuple[Place, ...] = ()

    @property
    def roofline_share(self) -> float | None:
        """The share of what arithmetic and memory allow, at the fastest round."""
        return None if self.bound_ms is None else self.bound_ms / self.latency.fastest_ms

    def to_row(self) -> dict[str, Any]:
        """Return plain data, one value per key, with units in the names; samples are left out."""
        record, latency = self.counted.record, self.latency
        return {
            self.kind: self.name,
            "input_shape": list(record.input_shape),
            "params": record.params,
            "macs": record.macs,
            "fvcore_macs": self.counted.fvcore_macs,
            "fvcore_extras": dict(self.counted.fvcore_extras),
            "ptflops_macs": self.counted.ptflops_macs,
            "ptflops_extras": dict(self.counted.ptflops_extras_by_operator),
            "counters_agree": self.counted.agrees,
            "reconciliation": list(self.counted.equations),
            "unknown_operators": dict(record.unknown),
            "other_ops": record.other_ops,
            "activations": record.activations,
            "bytes_moved": record.bytes_moved,
            "latency_fastest_ms": latency.fastest_ms,
            "latency_median_ms": latency.median_ms,
            "latency_median_low_ms": latency.low_ms,
            "latency_median_high_ms": latency.high_ms,
            "latency_iqr_ms": latency.iqr_ms,
            "latency_device_median_ms": latency.device_median_ms,
            "latency_cold_fastest_ms": latency.cold_fastest_ms,
            "latency_cold_median_ms": latency.cold_median_ms,
            "latency_reference_ratio": latency.reference_ratio,
            "first_call_ms": latency.first_call_ms,
            "latency_flags": list(latency.flags),
            "rounds": len(latency.rounds_ms),
            "rounds_discarded": latency.num_discarded,
            "other_load": latency.other_load,
            "peak_memory_mib": self.peak_memory_mib,
            "roofline_bound_ms": self.bound_ms,
            "roofline_share": self.roofline_share,
            "max_abs_difference": self.max_abs_difference if math.isfinite(self.max_abs_difference) else None,
            "device": str(self.device),
            "device_key": self.device.key,
            "device_profile": asdict(self.device),
            **({"places": [asdict(place) for place in self.places]} if self.places else {}),
        }


def profile(
    subjects: Mapping[str, Subject],
    target: Target,
    *,
    protocol: LatencyProtocol | None = None,
    cold: bool = False,
    roofline: Roofline | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    on_round: Callable[[int], None] = lambda _: None,
) -> dict[str, Profile]:
    """Count and time subjects, interleaved with each other.

    Args:
        subjects: What is profiled, by names that differ.
        target: What they are timed on.
        protocol: Rules of the timing; by default those of the device.
        cold: Whether each subject is timed with overwritten caches as well.
        roofline: Peak rates of the target; without them no share is given.
        on_stage: Told of each stage in words.
        on_round: Told of the number of rounds that are done.

    Raises:
        InputError: If a shape is not four positive integers, or the runtime cannot run a subject.
        DeviceBusyError: If another process holds the device for too long.
    """
    on_stage("counting")
    counted = {key: reconcile(subject.module, subject.input_shape) for key, subject in subjects.items()}
    timed = dict(subjects)
    for subject in subjects.values():
        timed |= {_key(part, subject): _as_subject(part, subject) for part in _parts(subject)}
    measured = measure_latency(
        {key: subject.module for key, subject in timed.items()},
        {key: subject.input_shape for key, subject in timed.items()},
        target,
        protocol=protocol,
        cold=cold,
        on_prepared=lambda key: on_stage(f"preparing {timed[key].name}"),
        on_round=on_round,
        on_note=on_stage,
    )
    return {
        key: Profile(
            kind=subject.kind,
            name=subject.name,
            counted=counted[key],
            latency=measured.latencies[key],
            peak_memory_mib=measured.peak_memory_mib[key],
            max_abs_difference=measured.max_abs_difference[key],
            bound_ms=roofline.bound_ms(_in_dtype(subject, counted[key].record, target)) if roofline else None,
            device=measured.devices[key],
            preflight=measured.preflight,
            places=tuple(_places(subject, counted[key].record, measured)),
        )
        for key, subject in subjects.items()
    }


def _in_dtype(subject: Subject, counts: Counts, target: Target) -> Counts:
    """Return the counts with the bytes of the data type that runs."""
    if target.dtype == "float32":
        return counts
    return count(subject.module, subject.input_shape, dtype=getattr(torch, target.dtype))


def _parts(subject: Subject) -> list[Part]:
    return parts(subject.architecture) if subject.architecture else []


def _key(part: Part, subject: Subject) -> str:
    """Return the name under which a part is timed: once for all networks that have it at this size."""
    return f"{part.key} {subject.input_shape}"


def _as_subject(part: Part, subject: Subject) -> Subject:
    batch, _, height, width = subject.input_shape
    return Subject("block", part.key, part.build(), (batch, part.channels, height, width))


def _places(subject: Subject, counts: Counts, measured: Measurement) -> Iterator[Place]:
    if subject.architecture is None:
        return
    spent: defaultdict[str, float] = defaultdict(float)
    for part in _parts(subject):
        spent[part.place] += measured.latencies[_key(part, subject)].fastest_ms
    labels = {f"p{depth:02d}": str(position) for depth, position in enumerate(subject.architecture.positions)}
    for name, sizes in by_position(counts).items():
        if sizes != ModuleCounts() or name in spent:
            yield Place(name, labels.get(name, name), sizes, spent[name])
