"""Measuring latency: networks are timed in interleaved rounds, and the rounds are summarised for each network."""

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from srnas.profiling.bench import CpuBench
from srnas.profiling.counting import InputShape, check_input_shape
from srnas.profiling.cuda_bench import CudaBench, overwriting
from srnas.profiling.device import Target, describe_device, measuring_context
from srnas.profiling.graphs import ColdReplay, GraphReplay, Recorder
from srnas.profiling.host_clock import Call
from srnas.profiling.lease import device_lease, device_share
from srnas.profiling.measurement import Latency, Measurement
from srnas.profiling.memory import peak_memory_mib
from srnas.profiling.order_statistics import median_interval
from srnas.profiling.preflight import preflight
from srnas.profiling.remote import Order
from srnas.profiling.rounds import (
    CPU_PROTOCOL,
    CUDA_PROTOCOL,
    REFERENCE,
    LatencyProtocol,
    Rounds,
    Timed,
    Way,
    is_narrow,
    run_rounds,
)
from srnas.profiling.runtimes import RUNTIMES, Executable, Supplies, prepare
from srnas.profiling.statistics import quantile
from srnas.search_space import InputError

REFERENCE_SHAPE: InputShape = (1, 48, 64, 64)

# Above this ratio of what a caller waits for to what the device needs, the host decides.
_LAUNCH_BOUND = 1.15
# The least number of samples whose order statistics can enclose a median with 95 %: 1 - 2 / 2^6 = 97 %.
_FEW = 6
# Reasons to discard a round, by what they say of the run.
_THROTTLING = ("throttled", "clock")
_DISTURBING = ("process", "reference")


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is to be measured, on one device; the arguments of :func:`measure_latency`, one for each network.

    Attributes:
        base: What the reference runs on.
    """

    networks: Mapping[str, nn.Module]
    shapes: Mapping[str, InputShape]
    targets: Mapping[str, Target]
    base: Target
    protocol: LatencyProtocol
    cold: bool
    seed: int
    on_prepared: Callable[[str], None]
    on_round: Callable[[int], None]
    on_note: Callable[[str], None]


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
    on_note: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Time forward passes of ``networks``, interleaved, in the runtime of ``target``.

    Args:
        networks: Networks by name, in eval mode and deploy form; they are not changed.
        input_shape: ``(B, C, H, W)`` of the input of every network, or of each by name.
        target: Device, runtime, dtype, memory format and threads; of every network, or of each by name.
        protocol: By default :func:`default_protocol` of the device, for so many networks.
        cold: Whether each network is timed with overwritten caches as well; else they are as the call before left them.
        seed: Seed of the random order within the rounds.
        on_prepared: Told of each network that is ready to run in the runtime.
        on_round: Told of the number of rounds that are done.
        on_note: Told when a board is waited for.

    Raises:
        InputError: If a shape is not four positive integers, the targets are on several devices, a runtime cannot run
            a network, or it has one pool of threads for networks with different numbers.
        DeviceBusyError: If another process holds this device for longer than the lease's timeout.
    """
    shapes = input_shape if isinstance(input_shape, Mapping) else dict.fromkeys(networks, input_shape)
    targets = target if isinstance(target, Mapping) else dict.fromkeys(networks, target)
    for shape in shapes.values():
        check_input_shape(shape)
    _check_threads(targets)
    base = _reference_target(targets)
    protocol = protocol or default_protocol(base, len(networks))
    asked = _Asked(networks, shapes, targets, base, protocol, cold, seed, on_prepared, on_round, on_note)
    return _measure_on_board(asked) if base.board else _measure_here(asked)


def _measure_on_board(asked: _Asked) -> Measurement:
    order = Order(asked.base, asked.protocol, cold=asked.cold, seed=asked.seed)
    # Exporting would disturb another process's measurement.
    with device_share(asked.base.device):
        for name, network in asked.networks.items():
            order.add(name, network, asked.shapes[name], asked.targets[name])
            asked.on_prepared(name)
        order.set_reference(_reference(), REFERENCE_SHAPE, next(iter(asked.targets.values())).runtime)
    found = order.take(asked.on_round, asked.on_note)
    return Measurement(
        latencies={
            name: summarise(found.rounds, name, asked.protocol, found.first_call_ms[name]) for name in asked.networks
        },
        devices={name: describe_device(asked.targets[name]) for name in asked.networks},
        preflight=found.states,
        peak_memory_mib=dict.fromkeys(asked.networks),
        max_abs_difference=found.max_abs_difference,
    )


def _measure_here(asked: _Asked) -> Measurement:
    base, targets, protocol, device = asked.base, asked.targets, asked.protocol, asked.base.device
    with measuring_context(base):
        supplies = Supplies(Recorder(device) if device.type == "cuda" else None)
        # Exporting and compiling would disturb another process's measurement.
        with device_share(device):
            prepared: dict[str, Executable] = {}
            for name, network in asked.networks.items():
                prepared[name] = prepare(network, asked.shapes[name], targets[name], supplies=supplies)
                asked.on_prepared(name)
            reference = prepare(_reference(), REFERENCE_SHAPE, base, supplies=supplies)
        first_calls_ms = {name: executable.load_s * 1e3 for name, executable in prepared.items()}
        differences = {name: executable.max_abs_difference for name, executable in prepared.items()}
        devices = {name: describe_device(targets[name], executable.version) for name, executable in prepared.items()}
        with device_lease(device):
            state = preflight(device)
            rounds = time_rounds(
                prepared,
                reference,
                targets,
                base,
                protocol,
                supplies.recorder,
                cold=asked.cold,
                seed=asked.seed,
                on_round=asked.on_round,
            )
            # One by one, and each let go: nothing of the others is resident beside the last.
            memory = {
                name: peak_memory_mib(prepared.pop(name).run, targets[name].runtime, device) for name in list(prepared)
            }
    return Measurement(
        latencies={name: summarise(rounds, name, protocol, first_calls_ms[name]) for name in asked.networks},
        devices=devices,
        preflight=state,
        peak_memory_mib=memory,
        max_abs_difference=differences,
    )


def default_protocol(target: Target, number: int = 1) -> LatencyProtocol:
    """Return the rules for the device of a target.

    Args:
        target: What is timed.
        number: Number of networks that are timed side by side, each for as long as it would be by itself.
    """
    alone = CUDA_PROTOCOL if target.device.type == "cuda" else CPU_PROTOCOL
    return replace(alone, max_time_s=number * alone.max_time_s, give_up_s=number * alone.give_up_s)


def _check_threads(targets: Mapping[str, Target]) -> None:
    sharing = [target for target in targets.values() if target.runtime in RUNTIMES]
    for name in {target.runtime for target in sharing if RUNTIMES[target.runtime].shares_threads}:
        threads = sorted({target.threads for target in sharing if target.runtime == name})
        if len(threads) > 1:
            raise InputError(
                f"threads must be equal for networks side by side in {name}, which has one pool of them, but got "
                f"threads={' and '.join(map(str, threads))}; time them one after the other."
            )


def _reference_target(targets: Mapping[str, Target]) -> Target:
    """Return what the reference runs on: eagerly in float32, whatever runs beside it."""
    devices = {(target.device, target.board) for target in targets.values()}
    if len(devices) != 1:
        names = ", ".join(sorted(board.name if board else str(device) for device, board in devices))
        raise InputError(f"networks that are timed side by side must be on one device, but got {names or 'none'}.")
    device, board = devices.pop()
    return Target(device, threads=min(target.threads for target in targets.values()), board=board)


def time_rounds(
    prepared: Mapping[str, Executable],
    reference: Executable,
    targets: Mapping[str, Target],
    base: Target,
    protocol: LatencyProtocol,
    recorder: Recorder | None,
    *,
    cold: bool = False,
    seed: int = 0,
    on_round: Callable[[int], None] = lambda _: None,
) -> Rounds:
    """Time what is ready to run, in all its ways, beside the reference; ``recorder`` captures graphs on CUDA."""
    if recorder is None:
        ways = (Way.WARM, Way.COLD) if cold else (Way.WARM,)
        plain: dict[Timed, Call] = {Timed(name, way): e.run for name, e in prepared.items() for way in ways}
        threads = {subject: targets[subject.name].threads for subject in plain}
        cpu = CpuBench({**plain, REFERENCE: reference.run}, {**threads, REFERENCE: base.threads})
        return run_rounds(cpu, plain, protocol, random.Random(seed), on_round)
    flush = overwriting(base.device) if cold else None
    runs: dict[Timed, Call | GraphReplay | ColdReplay] = {}
    for name, executable in prepared.items():
        runs |= _ways_on_cuda(name, executable, flush, recorder)
    fixed = _captured(reference, recorder) or reference.run
    cuda = CudaBench({**runs, REFERENCE: fixed}, base.device, *filter(None, [flush]))
    rounds = run_rounds(cuda, runs, protocol, random.Random(seed), on_round)
    uncaptured = {name for name, e in prepared.items() if e.kernels and Timed(name, Way.ON_DEVICE) not in runs}
    return replace(rounds, uncaptured=frozenset(uncaptured))


def _ways_on_cuda(
    name: str, executable: Executable, flush: Call | None, recorder: Recorder
) -> dict[Timed, Call | GraphReplay | ColdReplay]:
    """Return what runs a network in each of the ways to time it; what cannot be captured has the host's clock."""
    ways: dict[Timed, Call | GraphReplay | ColdReplay] = {Timed(name): executable.run}
    if replay := _captured(executable, recorder):
        ways[Timed(name, Way.ON_DEVICE)] = replay
    if flush:
        cold = _captured(executable, recorder, flush) if replay else None
        ways[Timed(name, Way.COLD)] = cold or executable.run
    return ways


def _captured(executable: Executable, recorder: Recorder, flush: Call | None = None) -> GraphReplay | ColdReplay | None:
    if executable.kernels is None:
        return None
    try:
        if flush:
            return ColdReplay(executable.kernels, flush, recorder)
        return GraphReplay(executable.kernels, recorder)
    except RuntimeError:
        # On a lost device this raises, so that the loss is noticed.
        torch.cuda.synchronize(recorder.device)
        return None


def _reference() -> nn.Module:
    """Return the fixed convolution that every round times."""
    channels = REFERENCE_SHAPE[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(channels, channels, 3, padding=1).eval()


def summarise(rounds: Rounds, name: str, protocol: LatencyProtocol, first_call_ms: float) -> Latency:
    """Return the figures of one subject of a run of rounds, with what its first call of all took."""
    every, reference = rounds.figures_ms(Timed(name)), rounds.figures_ms(REFERENCE)
    kept = rounds.kept(protocol)
    samples = [every[number] for number in kept]
    low, high = median_interval(samples)
    median = statistics.median(samples)
    device_median_ms, _ = _figures(rounds, Timed(name, Way.ON_DEVICE), protocol)
    cold_median_ms, cold_fastest_ms = _figures(rounds, Timed(name, Way.COLD), protocol)
    return Latency(
        median_ms=median,
        low_ms=low,
        high_ms=high,
        fastest_ms=min(samples),
        reference_ratio=min(samples) / min(reference[number] for number in kept),
        first_call_ms=first_call_ms,
        rounds_ms=tuple(every),
        reference_rounds_ms=tuple(reference),
        flags=_flags(rounds, name, samples, median / device_median_ms if device_median_ms else 1.0, protocol),
        discarded=tuple(rounds.discarded(protocol)),
        iqr_ms=quantile(samples, 0.75) - quantile(samples, 0.25),
        other_load=_other_load(rounds),
        device_median_ms=device_median_ms,
        cold_median_ms=cold_median_ms,
        cold_fastest_ms=cold_fastest_ms,
        calls_ms=tuple(rounds.calls_ms[Timed(name)]),
    )


def _figures(rounds: Rounds, subject: Timed, protocol: LatencyProtocol) -> tuple[float | None, float | None]:
    """Return median and minimum of another way to time a network, if it was timed that way."""
    if subject not in rounds.calls_ms:
        return None, None
    figures = rounds.figures_ms(subject)
    kept = [figures[number] for number in rounds.kept(protocol)]
    return statistics.median(kept), min(kept)


def _flags(
    rounds: Rounds, name: str, samples: list[float], host_share: float, protocol: LatencyProtocol
) -> tuple[str, ...]:
    reasons = rounds.discarded(protocol)
    moved = sum(reason in _DISTURBING for reason in reasons) > protocol.discarded_share * len(reasons)
    load = _other_load(rounds)
    flags = {
        "unsteady": not all(rounds.steady.get(Timed(name, way), True) for way in (Way.WARM, Way.ON_DEVICE)),
        "launch_bound": host_share > _LAUNCH_BOUND,
        "uncaptured": name in rounds.uncaptured,
        "disturbed": moved or (load is not None and load > protocol.other_load),
        "throttled": any(reason in _THROTTLING for reason in reasons),
        "invalid": sum(map(bool, reasons)) > protocol.discarded_share * len(reasons),
        "few": len(samples) < _FEW,
        "wide": not is_narrow(samples, protocol),
    }
    return tuple(flag for flag, raised in flags.items() if raised)


def _other_load(rounds: Rounds) -> float | None:
    return rounds.states[-1].other_load if rounds.states else None
