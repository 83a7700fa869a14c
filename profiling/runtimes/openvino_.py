"""OpenVINO on a CPU, from the ONNX form of a network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime
from srnas.profiling.runtimes.eager import to_plain
from srnas.profiling.runtimes.onnx_export import to_onnx
from srnas.search_space import InputError

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
# Layer types of OpenVINO's CPU plugin that multiply and accumulate.
_LAYERS = ("Convolution", "GroupConvolution", "MatMul", "FullyConnected", "ScaledDotProductAttention")


def options(target: Target) -> dict[str, Any]:
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


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> Executable:
    import openvino

    core = openvino.Core()
    # ``openvino.convert_model`` would take the network itself, but it reports its use over the network.
    model = core.read_model(to_onnx(network, batches[0]).SerializeToString())
    compiled = core.compile_model(model, "CPU", options(target))
    _check_executed(compiled, target)
    bound = _Bound(compiled, batches[0])
    return Executable(bound.run, bound.output, _version())


class _Bound:
    """A compiled network that reads its input in place."""

    def __init__(self, compiled: Any, x: torch.Tensor) -> None:
        import openvino

        self.x = x.contiguous()
        self.request = compiled.create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(self.x.numpy(), shared_memory=True))

    def run(self) -> None:
        self.request.infer(share_outputs=True)

    def output(self) -> torch.Tensor:
        self.run()
        return to_plain(torch.from_numpy(self.request.get_output_tensor().data))


def _check_executed(compiled: Any, target: Target) -> None:
    """Raise ``InputError`` if a layer executes in another precision: OpenVINO takes the hint as a mere wish."""
    wanted = _PRECISIONS[target.dtype]
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    used = {f["runtimePrecision"].astype(str) for f in facts if f["layerType"].astype(str) in _LAYERS} - {wanted}
    if used:
        raise InputError(
            f"openvino must have {target.dtype} kernels for this processor, but got layers in "
            f"{' and '.join(sorted(used))}; use float32, or bfloat16 where the processor has it."
        )


def _version() -> str:
    import openvino

    return f"openvino {openvino.__version__.split('-')[0]}"


RUNTIME = Runtime(
    "openvino",
    {"cpu": tuple(_PRECISIONS)},
    _load,
    memory_formats=("nchw",),
    packages=("onnx", "onnxscript", "openvino"),
    extra="openvino",
    version=_version,
)
