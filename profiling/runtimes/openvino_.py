"""OpenVINO on a CPU, from the ONNX form of a network."""

import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, MissingExtraError, Run, Runtime, RuntimeFailedError, Supplies
from srnas.profiling.runtimes.eager import to_plain
from srnas.profiling.runtimes.int8 import quantise
from srnas.profiling.runtimes.onnx_export import to_onnx

if TYPE_CHECKING:
    import onnx

# What is not quantised in an int8 network stays in float32.
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}
_EXECUTED = {"float32": {"f32"}, "bfloat16": {"bf16"}, "float16": {"f16"}, "int8": {"u8", "i8"}}
# Layer types of OpenVINO's CPU plugin that multiply and accumulate.
_LAYERS = ("Convolution", "GroupConvolution", "MatMul", "FullyConnected", "ScaledDotProductAttention")


def _library() -> Any:
    """Import OpenVINO without its report of that over the network: without this package it takes a stub of its own."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def _core() -> Any:
    """Return the one core of this process, which is kept to its end.

    The CPU plugin of each core replaces the stack that handlers of signals run on. Of several cores that are freed in
    the order of their making, the last leaves the thread a stack that is gone: the next signal, even one that Python
    handles, would end the process without a word.
    """
    return _library().Core()


def _version() -> str:
    return f"openvino {_library().__version__.split('-')[0]}"


def _options(target: Target) -> dict[str, Any]:
    """Return the properties of a network compiled for one caller who waits for the result.

    The precision is always named: left out, OpenVINO computes in bfloat16 where the processor can. Threads are not
    pinned to cores, as no other runtime pins them, and two pinned processes could meet on one core.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": target.threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": _PRECISIONS[target.dtype],
    }


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    bound = _Bound(_compile(to_onnx(network, batches[0]), batches, target), batches[0])
    return Executable(bound.run, bound.output, _version())


def _load_any(network: nn.Module, x: torch.Tensor, batches: Sequence[torch.Tensor], target: Target) -> Run:
    request = _compile(to_onnx(network, x, dynamic=True), batches, target).create_infer_request()

    def run(image: torch.Tensor) -> torch.Tensor:
        request.infer([image.contiguous().numpy()])
        return to_plain(torch.from_numpy(request.get_output_tensor().data))

    return run


def _compile(exported: "onnx.ModelProto", batches: Sequence[torch.Tensor], target: Target) -> Any:
    if target.dtype == "int8" and not find_spec("onnxruntime"):
        raise MissingExtraError.of("openvino", "onnxruntime's quantiser for int8", "onnx")
    core = _core()
    # ``openvino.convert_model`` takes the network itself, but what it makes of CBAM, SE and STN is half as fast.
    # int8 is ONNX Runtime's quantisation, whose pairs of operators OpenVINO folds into its own kernels.
    serialised = quantise(exported, batches) if target.dtype == "int8" else exported.SerializeToString()
    compiled = core.compile_model(core.read_model(serialised), "CPU", _options(target))
    _check_executed(compiled, target)
    return compiled


class _Bound:
    """A compiled network that reads its input in place."""

    def __init__(self, compiled: Any, x: torch.Tensor) -> None:
        self.x = x.contiguous()
        self.request = compiled.create_infer_request()
        self.request.set_input_tensor(_library().Tensor(self.x.numpy(), shared_memory=True))

    def run(self) -> None:
        self.request.infer(share_outputs=True)

    def output(self) -> torch.Tensor:
        self.run()
        return to_plain(torch.from_numpy(self.request.get_output_tensor().data))


def _check_executed(compiled: Any, target: Target) -> None:
    """Raise ``InputError`` if another precision is executed: OpenVINO takes the hint as a mere wish."""
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    used = {f["runtimePrecision"].astype(str) for f in facts if f["layerType"].astype(str) in _LAYERS}
    if target.dtype != "int8":
        used.add(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    if others := used - _EXECUTED[target.dtype]:
        raise RuntimeFailedError(
            f"openvino must have {target.dtype} kernels for this processor, but it would run layers in "
            f"{' and '.join(sorted(others))}; use float32, or bfloat16 where the processor has it."
        )


RUNTIME = Runtime(
    "openvino",
    {"cpu": tuple(_PRECISIONS)},
    _load,
    _load_any,
    memory_formats=("nchw",),
    packages=("onnx", "onnxscript", "openvino"),
    extra="openvino",
    version=_version,
)
