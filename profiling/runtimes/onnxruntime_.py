"""ONNX Runtime on a CPU or a CUDA device, with the data types that its kernels really have."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, MissingExtraError, Run, Runtime, RuntimeFailedError, Supplies
from srnas.profiling.runtimes.eager import to_plain
from srnas.profiling.runtimes.int8 import quantise
from srnas.profiling.runtimes.onnx_export import CUDA_OPSET, INPUT, OPSET, OUTPUT, to_onnx

if TYPE_CHECKING:
    import onnx

_QUIET = 3
# Operators that take float tensors; their integer forms are called QLinearConv, QGemm, QLinearMatMul, ...
_FLOAT_OPERATORS = ("Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul", "NhwcFusedConv")


def _library() -> Any:
    """Import ONNX Runtime without the thread that reports its use over the network; nothing ends it afterwards."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _version() -> str:
    return f"onnxruntime {_library().__version__}"


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    version, provider = _version(), _provider(target)
    bound = _Bound(
        _session(_export(network, batches[0], batches, target), provider, target), _given(batches[0], target)
    )
    return Executable(bound.run, bound.output, version)


def _load_any(network: nn.Module, x: torch.Tensor, batches: Sequence[torch.Tensor], target: Target) -> Run:
    exported = _export(network, x, batches, target, dynamic=True)
    session = _session(exported, _provider(target), target, dynamic=True)

    def run(image: torch.Tensor) -> torch.Tensor:
        given = _given(image.cpu().contiguous(), target).numpy()
        return to_plain(torch.from_numpy(session.run(None, {INPUT: given})[0]))

    return run


def _given(x: torch.Tensor, target: Target) -> torch.Tensor:
    return x.half() if target.dtype == "float16" else x


def _export(
    network: nn.Module, x: torch.Tensor, batches: Sequence[torch.Tensor], target: Target, *, dynamic: bool = False
) -> bytes:
    """Return a network in the target's data type as ONNX; with ``dynamic`` of any size."""
    own = network.half() if target.dtype == "float16" else network
    opset = CUDA_OPSET if target.device.type == "cuda" else OPSET
    model = to_onnx(own, _given(x, target), dynamic=dynamic, opset=opset)
    return quantise(model, batches) if target.dtype == "int8" else model.SerializeToString()


def run_file(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs an ONNX file on the CPU."""
    options = _library().SessionOptions()
    options.log_severity_level = _QUIET
    session = _library().InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0])


class _Bound:
    """A session that reads from one tensor and writes to another, both in place."""

    def __init__(self, session: Any, x: torch.Tensor) -> None:
        self.session = session
        self.options = _library().RunOptions()
        self.options.log_severity_level = _QUIET
        self.binding = session.io_binding()
        self.x = x.contiguous()
        self.y = torch.empty(session.get_outputs()[0].shape, dtype=x.dtype, device=x.device)
        self._bind(self.binding.bind_input, INPUT, self.x)
        self._bind(self.binding.bind_output, OUTPUT, self.y)

    @staticmethod
    def _bind(bind: Callable[..., None], name: str, tensor: torch.Tensor) -> None:
        device, element = tensor.device, torch.empty(0, dtype=tensor.dtype).numpy().dtype
        bind(name, device.type, device.index or 0, element, tuple(tensor.shape), tensor.data_ptr())

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding, self.options)

    def output(self) -> torch.Tensor:
        self.run()
        if self.y.is_cuda:
            torch.cuda.synchronize(self.y.device)
        return to_plain(self.y)


def _provider(target: Target) -> tuple[str, dict[str, str]]:
    """Return the execution provider and its options; on CUDA it has a stream of its own, and waits for it."""
    if target.device.type == "cpu":
        return "CPUExecutionProvider", {}
    if "CUDAExecutionProvider" not in _library().get_available_providers():
        raise MissingExtraError("onnxruntime", "a build for CUDA", "onnx-gpu")
    options = {"device_id": str(target.device.index or 0), "use_tf32": "0"}
    return "CUDAExecutionProvider", {**options, "cudnn_conv_algo_search": "EXHAUSTIVE"}


def _session_options(target: Target, *, dynamic: bool) -> Any:
    """Return the options of a session with the target's threads, for one size or any.

    Threads of a pool spin within a call, as they do by default, but not after it: they would take the core from the
    network that is timed next.
    """
    options = _library().SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if target.device.type == "cuda" and not dynamic:
        # An operator without a CUDA kernel is an error, not a visit to the CPU; where sizes are open, the CPU has them.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _session(serialised: bytes, provider: tuple[str, dict[str, str]], target: Target, *, dynamic: bool = False) -> Any:
    """Return a session whose optimised graph really executes in the target's data type."""
    import onnx

    options = _session_options(target, dynamic=dynamic)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimised.onnx")
        if target.dtype != "float32":
            options.optimized_model_filepath = str(path)
        # Without ``enable_fallback=0`` a failure is printed and tried again on the CPU.
        session = _library().InferenceSession(serialised, options, providers=[provider], enable_fallback=0)
        if session.get_providers()[0] != provider[0]:
            raise RuntimeFailedError(
                f"onnxruntime's {provider[0]} must start, but it did not; install the onnxruntime-gpu that is built "
                f"for torch's CUDA {torch.version.cuda}, or use another runtime."
            )
        if target.dtype != "float32":
            _check_executed(onnx.load(path), target)
    return session


def _check_executed(optimised: "onnx.ModelProto", target: Target) -> None:
    """Raise ``InputError`` if operators with weights or products are left in float32."""
    from onnx import TensorProto

    graph = optimised.graph
    operators = [node for node in graph.node if node.op_type in _FLOAT_OPERATORS]
    if target.dtype == "float16":
        weights = {initializer.name for initializer in graph.initializer if initializer.data_type == TensorProto.FLOAT}
        operators = [node for node in operators if weights.intersection(node.input)]
    if operators:
        raise RuntimeFailedError(
            f"onnxruntime must have {target.dtype} kernels for this network on this device, but got "
            f"{len(operators)} operators in float32 ({operators[0].op_type} first); use float32, or another runtime."
        )


RUNTIME = Runtime(
    "onnxruntime",
    {"cpu": ("float32", "float16", "int8"), "cuda": ("float32", "float16")},
    _load,
    _load_any,
    memory_formats=("nchw",),
    packages=("onnx", "onnxscript", "onnxruntime"),
    extra="onnx",
    version=_version,
)
