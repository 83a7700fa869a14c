"""Latency as a distribution: the figures of a run of rounds, each with a 95 % interval and what disturbed it.

The median over rounds is what a user feels. The fastest round is the statistic that repeats best on a shared machine,
and the one that a search ranks by.
"""

import math
import random
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from srnas.profiling.bench import CpuBench, CudaBench, Replay, Run
from srnas.profiling.counting import InputShape, check_input_shape
from srnas.profiling.device import DeviceProfile, Target, describe_device, measuring_context
from srnas.profiling.lease import device_lease, device_share
from srnas.profiling.memory import peak_memory_mib
from srnas.profiling.preflight import preflight
from srnas.profiling.rounds import (
    CPU_PROTOCOL,
    CUDA_PROTOCOL,
    REFERENCE,
    Bench,
    LatencyProtocol,
    Rounds,
    is_narrow,
    kept_rounds,
    run_rounds,
)
from srnas.profiling.runtimes import Executable, prepare
from srnas.profiling.statistics import median_interval, quantile
from srnas.search_space import InputError

REFERENCE_SHAPE: InputShape = (1, 48, 64, 64)

# Above this ratio of eager to device latency the host's launches decide. source: measured overheads of about 6 us.
_LAUNCH_BOUND = 1.15
_ON_DEVICE, _COLD = " (device)", " (cold)"
# The least number of samples whose order statistics can enclose a median with 95 %: 1 - 2 / 2^6 = 97 %.
_FEW = 6
# Reasons to discard a round, by what they say of the run.
_THROTTLING = ("throttled", "clock")
_DISTURBING = ("process", "reference")


@dataclass(frozen=True)
class Latency:
    """The distribution of a network's latency over rounds, in milliseconds.

    Attributes:
        latency_ms: Median over the kept rounds.
        low_ms: Lower end of the median's 95 % confidence interval.
        high_ms: Upper end of it.
        stable_ms: The fastest kept round: what a search ranks by.
        reference_ratio: Fastest kept round over the reference's fastest of the same rounds.
        first_call_ms: What the runtime needs until its first result: export, compilation, autotuning and lazy
            initialisation; in no other figure.
        rounds_ms: The figure of each round (median of its burst), discarded ones included.
        reference_rounds_ms: The reference's figure of each round.
        flags: ``unsteady``, ``launch_bound``, ``disturbed``, ``throttled``, ``invalid`` (too many rounds discarded),
            ``few`` (too few rounds kept for an interval: it is their range), ``wide`` (interval beyond the protocol's),
            or nothing.
        discarded: For each round why it is discarded (``throttled``, ``clock``, ``process``, ``reference``), or an
            empty text.
        iqr_ms: Interquartile range over the kept rounds.
        other_load: Share of all CPU cores that other processes kept busy meanwhile.
        device_ms: On CUDA, eager: the median without the host's launches, from a captured graph.
        cold_ms: The median with the caches overwritten before each call, where that was asked for.
        cold_stable_ms: The fastest such round.
        calls_ms: Duration of every call, round by round.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    stable_ms: float
    reference_ratio: float
    first_call_ms: float
    rounds_ms: tuple[float, ...]
    reference_rounds_ms: tuple[float, ...]
    flags: tuple[str, ...]
    discarded: tuple[str, ...] = ()
    iqr_ms: float | None = None
    other_load: float | None = None
    device_ms: float | None = None
    cold_ms: float | None = None
    cold_stable_ms: float | None = None
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
class Measurement:
    """Latencies that were measured side by side.

    Attributes:
        latencies: By name.
        devices: What each of them belongs to.
        preflight: State of device and machine before.
        peak_memory_mib: Peak memory of a forward pass beyond what was resident, by name; ``None``: not known.
        max_abs_difference: Largest difference of an output value to that of eager float32, by name.
    """

    latencies: Mapping[str, Latency]
    devices: Mapping[str, DeviceProfile]
    preflight: Mapping[str, Any] = field(default_factory=dict)
    peak_memory_mib: Mapping[str, float | None] = field(default_factory=dict)
    max_abs_difference: Mapping[str, float] = field(default_factory=dict)

    def record_of(self, name: str) -> dict[str, Any]:
        """Return what a record of a network keeps, by the names of its fields."""
        difference = self.max_abs_difference[name]
        return {
            "latency": self.latencies[name],
            "peak_memory_mib": self.peak_memory_mib[name],
            "max_abs_difference": difference if math.isfinite(difference) else None,
            "preflight": dict(self.preflight),
        }

    @property
    def device(self) -> DeviceProfile:
        """What the latencies belong to, where all have one target."""
        profiles = set(self.devices.values())
        assert len(profiles) == 1
        return profiles.pop()


def measure_latency(
    networks: Mapping[str, nn.Module],
    input_shape: InputShape | Mapping[str, InputShape],
    target: Target | Mapping[str, Target],
    *,
    protocol: LatencyProtocol | None = None,
    cold: bool = False,
    seed: int = 0,
    on_prepared: Callable[[str], None] = lambda _: None,
    on_round: Callable[[int], None] = lambda _: None,
) -> Measurement:
    """Time forward passes of ``networks``, interleaved, in the runtime of ``target``.

    Args:
        networks: In eval mode and deploy form; they are not changed.
        input_shape: ``(B, C, H, W)`` of the input of every network, or of each by name.
        target: Device, runtime, dtype, memory format and threads; of every network, or of each by name.
        protocol: ``CPU_PROTOCOL`` or ``CUDA_PROTOCOL`` by default.
        cold: Whether each network is timed with overwritten caches as well; else they are as the call before left them.
        seed: Of the order within the rounds.
        on_prepared: Told of each network that is ready to run in the runtime.
        on_round: Told of the number of rounds that are done.

    Raises:
        InputError: If a shape is not four positive integers, a name is one that is used here, the targets are on
            several devices, or a runtime cannot run a network.
        DeviceBusyError: If another process holds this device for longer than the lease's timeout.
    """
    shapes = input_shape if isinstance(input_shape, Mapping) else dict.fromkeys(networks, input_shape)
    targets = target if isinstance(target, Mapping) else dict.fromkeys(networks, target)
    for shape in shapes.values():
        check_input_shape(shape)
    _check_names(networks)
    base = _reference_target(targets)
    device = base.device
    protocol = protocol or default_protocol(base)
    with measuring_context(base):
        # Exporting and compiling would disturb another process's measurement.
        with device_share(device):
            prepared: dict[str, Executable] = {}
            for name, network in networks.items():
                prepared[name] = prepare(network, shapes[name], targets[name])
                on_prepared(name)
            reference = prepare(_reference(), REFERENCE_SHAPE, base)
        runs: dict[str, Run] = {name: executable.run for name, executable in prepared.items()}
        with device_lease(device):
            state = preflight(device)
            overwritten = {f"{name}{_COLD}": runs[name] for name in networks if cold}
            if device.type == "cuda":
                eager = [name for name in networks if targets[name].runtime == "eager"]
                runs |= {f"{name}{_ON_DEVICE}": Replay(runs[name], device) for name in eager}
            runs |= overwritten
            threads = {name: targets[name.removesuffix(_COLD)].threads for name in (*networks, *overwritten)}
            bench = _bench({**runs, REFERENCE: reference.run}, base, {**threads, REFERENCE: base.threads}, overwritten)
            rounds = run_rounds(bench, runs, protocol, random.Random(seed), on_round)
            memory = {name: peak_memory_mib(runs[name], targets[name].runtime, device) for name in networks}
    return Measurement(
        latencies={name: summarise(rounds, name, protocol, e.load_s * 1e3) for name, e in prepared.items()},
        devices={name: describe_device(targets[name], executable.version) for name, executable in prepared.items()},
        preflight=state,
        peak_memory_mib=memory,
        max_abs_difference={name: executable.max_abs_difference for name, executable in prepared.items()},
    )


def _check_names(names: Iterable[str]) -> None:
    taken = [name for name in names if name == REFERENCE or name.endswith((_ON_DEVICE, _COLD))]
    if taken:
        raise InputError(
            f"names must differ from '{REFERENCE}' and not end in '{_ON_DEVICE}' or '{_COLD}', but got {taken[0]!r}."
        )


def default_protocol(target: Target) -> LatencyProtocol:
    """Return the rules for the device of a target."""
    return CUDA_PROTOCOL if target.device.type == "cuda" else CPU_PROTOCOL


def _reference_target(targets: Mapping[str, Target]) -> Target:
    """Return what the reference runs on: eagerly in float32, whatever runs beside it."""
    devices = {target.device for target in targets.values()}
    if len(devices) != 1:
        names = ", ".join(sorted(map(str, devices)))
        raise InputError(f"networks that are timed side by side must be on one device, but got {names or 'none'}.")
    return Target(devices.pop(), threads=min(target.threads for target in targets.values()))


def _bench(runs: Mapping[str, Run], base: Target, threads: Mapping[str, int], cold: Collection[str]) -> Bench:
    on_gpu = base.device.type == "cuda"
    return CudaBench(runs, base.device, cold) if on_gpu else CpuBench(runs, threads, cold)


def _reference() -> nn.Module:
    """Return the fixed convolution that every round times."""
    channels = REFERENCE_SHAPE[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(channels, channels, 3, padding=1).eval()


def summarise(rounds: Rounds, name: str, protocol: LatencyProtocol, first_call_ms: float) -> Latency:
    """Return the figures of one subject of a run of rounds, with what its first call of all took."""
    every, reference = rounds.figures_ms(name), rounds.figures_ms(REFERENCE)
    kept = rounds.kept(protocol)
    samples = [every[number] for number in kept]
    low, high = median_interval(samples)
    median = statistics.median(samples)
    device_ms, _ = _figures(rounds, f"{name}{_ON_DEVICE}", protocol)
    cold_ms, cold_stable_ms = _figures(rounds, f"{name}{_COLD}", protocol)
    return Latency(
        latency_ms=median,
        low_ms=low,
        high_ms=high,
        stable_ms=min(samples),
        reference_ratio=min(samples) / min(reference[number] for number in kept),
        first_call_ms=first_call_ms,
        rounds_ms=tuple(every),
        reference_rounds_ms=tuple(reference),
        flags=_flags(rounds, name, samples, median / device_ms if device_ms else 1.0, protocol),
        discarded=tuple(rounds.discarded(protocol)),
        iqr_ms=quantile(samples, 0.75) - quantile(samples, 0.25),
        other_load=_mean_load(rounds),
        device_ms=device_ms,
        cold_ms=cold_ms,
        cold_stable_ms=cold_stable_ms,
        calls_ms=tuple(rounds.calls_ms[name]),
    )


def _figures(rounds: Rounds, name: str, protocol: LatencyProtocol) -> tuple[float | None, float | None]:
    """Return median and minimum of another way to time a subject, if it was timed that way."""
    if name not in rounds.calls_ms:
        return None, None
    figures = rounds.figures_ms(name)
    kept = [figures[number] for number in rounds.kept(protocol)]
    return statistics.median(kept), min(kept)


def _flags(
    rounds: Rounds, name: str, samples: list[float], host_share: float, protocol: LatencyProtocol
) -> tuple[str, ...]:
    reasons = rounds.discarded(protocol)
    moved = sum(reason in _DISTURBING for reason in reasons) > protocol.discarded_share * len(reasons)
    load = _mean_load(rounds)
    flags = {
        "unsteady": not rounds.steady[name],
        "launch_bound": host_share > _LAUNCH_BOUND,
        "disturbed": moved or (load is not None and load > protocol.other_load),
        "throttled": any(reason in _THROTTLING for reason in reasons),
        "invalid": sum(map(bool, reasons)) > protocol.discarded_share * len(reasons),
        "few": len(samples) < _FEW,
        "wide": not is_narrow(samples, protocol),
    }
    return tuple(flag for flag, raised in flags.items() if raised)


def _mean_load(rounds: Rounds) -> float | None:
    loads = [state.other_load for state in rounds.states if state.other_load is not None]
    # Times of the system tick in hundredths of a second: a round may seem to have less than no load.
    return max(0.0, statistics.fmean(loads)) if loads else None
