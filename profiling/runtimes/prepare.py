"""From a network and a target to something that runs, checked against eager float32."""

import contextlib
import copy
import importlib.util
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from srnas.profiling.counting import InputShape, check_input_shape
from srnas.profiling.device import Target, measuring_context
from srnas.profiling.memory import is_memory
from srnas.profiling.runtimes import compiled, cudagraph, eager, executorch_, ncnn_, onnxruntime_, openvino_
from srnas.profiling.runtimes.base import Executable, MissingExtraError, Run, Runtime, RuntimeFailedError, Supplies
from srnas.profiling.runtimes.culprits import culprits
from srnas.search_space import InputError, Network, unknown_name

_MODULES = (eager, cudagraph, compiled, onnxruntime_, openvino_, ncnn_, executorch_)
RUNTIMES: dict[str, Runtime] = {module.RUNTIME.name: module.RUNTIME for module in _MODULES}

# Drawn where no inputs are given, to calibrate int8.
_NUM_BATCHES = 4
_SEED = 0
# By how many pixels an example of any size is wider than it is high.
_BESIDE = 16

_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def runtime_version(name: str) -> str:
    """Return name and version of an installed runtime's library; empty for torch's own."""
    return RUNTIMES[name].version()


def prepare(
    network: nn.Module,
    input_shape: InputShape,
    target: Target,
    *,
    inputs: torch.Tensor | None = None,
    supplies: Supplies | None = None,
) -> Executable:
    """Make ``network`` ready to run on ``target``.

    Args:
        network: A network in deploy form, in float32; it is not changed.
        input_shape: ``(B, C, H, W)`` of the input; nothing else can be run afterwards.
        target: Device, runtime, data type, memory format and threads.
        inputs: ``(N, C, H, W)`` with N a multiple of B. The first B images are run and compared, all of them calibrate
            int8. Drawn uniformly from 0 to 1 with a fixed seed by default, which is enough for a latency; an int8
            network that is to be judged needs real images.
        supplies: What is shared with the other networks that are timed with this one.

    Raises:
        InputError: If the shape or the inputs do not fit, or the runtime does not exist for this device, data type or
            memory format, or would silently execute in another data type.
        MissingExtraError: If the runtime is not installed.
        RuntimeFailedError: If the runtime cannot take this network in.
    """
    check_input_shape(input_shape)
    runtime, supplies = find_runtime(target), supplies or Supplies()
    with measuring_context(target), torch.inference_mode(False), torch.no_grad(), quiet():
        batches = draw_batches(input_shape, inputs, target, supplies)
        own = _own(network, target)
        start = time.perf_counter()
        executable, output = _load(runtime, own, batches, target, supplies)
        load_s = time.perf_counter() - start
        expected = _own(network, target)(batches[0]).float().cpu()
        return replace(executable, max_abs_difference=_difference(output, expected), load_s=load_s)


def check_any_size(target: Target) -> Runtime:
    """Return the runtime of a target, if what it gives can be judged on images of any size.

    Raises:
        InputError: As :func:`find_runtime`, and if it quantises a network for images of one size.
    """
    runtime = find_runtime(target)
    if target.dtype == "int8" and runtime.load_any is None:
        raise InputError(
            f"int8 must be of any size for its PSNR to be known, but runtime '{runtime.name}' quantises a network for "
            "one; use onnxruntime or openvino, or time single networks by 'srnas profile network'."
        )
    return runtime


def prepare_any(network: nn.Module, calibration: torch.Tensor, target: Target) -> Run:
    """Make ``network`` ready to run on images of any size, one at a time, to judge what it gives.

    A runtime that prepares a network for one size does so for every image.

    Args:
        network: A network in deploy form, in float32; it is not changed.
        calibration: Images ``(N, 3, H, W)`` like those that it will get, which calibrate int8.
        target: Device, runtime, data type, memory format and threads.

    Raises:
        InputError: As :func:`prepare`.
        MissingExtraError: If the runtime is not installed.
        RuntimeFailedError: If the runtime cannot take this network in; what is returned raises it too.
    """
    runtime = check_any_size(target)
    if runtime.load_any is None:
        return lambda x: prepare(network, (1, 3, x.shape[-2], x.shape[-1]), target, inputs=_plain(x)).output()
    height, width = calibration.shape[-2:]
    # Sides that differ: equal ones would be taken for one.
    example = _draw((1, 3, height, width + _BESIDE)).to(target.device)
    batches = calibration.detach().to(target.device, torch.float32).split(1)
    own = _own(network, target)
    refusing = _refusing(runtime, network, target)
    with measuring_context(target), torch.inference_mode(False), torch.no_grad(), quiet(), refusing:
        run = runtime.load_any(own, example, batches, target)

    def run_quietly(x: torch.Tensor) -> torch.Tensor:
        with measuring_context(target), quiet(), _refusing(runtime, network, target):
            return run(x)

    return run_quietly


@torch.inference_mode(False)
def _plain(x: torch.Tensor) -> torch.Tensor:
    """Return a copy that runtimes may trace, which an inference tensor is not."""
    return x.clone()


def _own(network: nn.Module, target: Target) -> nn.Module:
    return copy.deepcopy(network).eval().to(target.device, torch.float32).requires_grad_(False)


def find_runtime(target: Target) -> Runtime:
    """Return the runtime of a target.

    Raises:
        InputError: If it does not exist for this device, data type or memory format.
        MissingExtraError: If it is not installed.
    """
    if target.runtime not in RUNTIMES:
        raise unknown_name("runtime", target.runtime, RUNTIMES)
    runtime, device = RUNTIMES[target.runtime], target.device.type
    if device not in runtime.dtypes:
        others = [name for name, r in RUNTIMES.items() if device in r.dtypes]
        raise InputError(
            f"device must be {' or '.join(runtime.dtypes)} for runtime '{runtime.name}', but got device={device}; "
            f"use {_either(others) or 'another device'}."
        )
    _check(runtime, "dtype", target.dtype, runtime.dtypes[device], f" on {device}")
    _check(runtime, "memory_format", target.memory_format, runtime.memory_formats, ", which lays tensors out by itself")
    if missing := missing_packages(runtime):
        raise MissingExtraError.of(runtime.name, " and ".join(missing), runtime.extra)
    return runtime


def _check(runtime: Runtime, option: str, given: str, valid: Sequence[str], why: str) -> None:
    if given not in valid:
        choices = _either(valid)
        raise InputError(
            f"{option} must be {choices} for runtime '{runtime.name}'{why}, but got {option}={given}; "
            f"use {choices}, or another runtime."
        )


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def missing_packages(runtime: Runtime) -> list[str]:
    """Return which packages of a runtime are not installed."""
    return [name for name in runtime.packages if importlib.util.find_spec(name) is None]


def draw_batches(
    shape: InputShape, inputs: torch.Tensor | None, target: Target, supplies: Supplies
) -> tuple[torch.Tensor, ...]:
    """Return batches of the shape, drawn uniformly from 0 to 1 with a fixed seed where no inputs are given.

    Raises:
        InputError: If the inputs do not fit.
    """
    if inputs is None:
        # More than the input serve to calibrate alone.
        number = _NUM_BATCHES if target.dtype == "int8" else 1
        drawn = (number * shape[0], *shape[1:])
        inputs = supplies.shared(drawn, lambda: _draw(drawn).to(target.device))
    if inputs.shape[1:] != shape[1:] or not len(inputs) or len(inputs) % shape[0]:
        raise InputError(
            f"inputs must be (N, {', '.join(map(str, shape[1:]))}) with N a multiple of {shape[0]}, but got "
            f"{tuple(inputs.shape)}; give images of the input shape."
        )
    return tuple(inputs.detach().to(target.device, torch.float32).split(shape[0]))


def _draw(shape: InputShape) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(_SEED))


def _load(
    runtime: Runtime, network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies
) -> tuple[Executable, torch.Tensor]:
    def load(part: nn.Module, given: Sequence[torch.Tensor]) -> tuple[Executable, torch.Tensor]:
        executable = runtime.load(part, given, target, supplies)
        return executable, executable.output()

    with _refusing(runtime, network, target, lambda: culprits(network, batches[0], load)):
        return load(network, batches)


@contextlib.contextmanager
def _refusing(
    runtime: Runtime, network: nn.Module, target: Target, blocks: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Name the runtime and the network in whatever the runtime raises, and in float32 the blocks to blame.

    In other data types it is kernels that are missing, of many blocks.
    """

    def blamed() -> str:
        return blocks() if target.dtype == "float32" else ""

    try:
        yield
    except RuntimeFailedError as error:
        raise RuntimeFailedError(f"{error}{blamed()}") from error.__cause__
    except InputError:
        raise
    except Exception as error:  # Any error of a third party is raised under our own name.
        if is_memory(error):
            raise
        raise RuntimeFailedError(
            f"runtime '{runtime.name}' must be able to run {_describe(network)} in {target.dtype}, but got "
            f"{first_cause(error)}; use another runtime.{blamed()}"
        ) from error


def _describe(network: nn.Module) -> str:
    name = type(network).__name__
    return f"{name} {network.architecture.key}" if isinstance(network, Network) else name


def first_cause(error: BaseException) -> str:
    """Return type and message of what an error comes from."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _difference(output: torch.Tensor, expected: torch.Tensor) -> float:
    assert output.shape == expected.shape
    return float((output - expected).abs().nan_to_num(nan=math.inf, posinf=math.inf).max())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back the warnings of exporters about themselves."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
