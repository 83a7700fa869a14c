"""ONNX Runtime on a CPU or a CUDA device, with the data types that its kernels really have."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srnas.profiling.agent.onnx_session import (
    WrongDtypeError,
    check_executed,
    library,
    open_session,
    run_options,
    session_options,
    version,
)
from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, MissingExtraError, Run, Runtime, RuntimeFailedError, Supplies
from srnas.profiling.runtimes.eager import to_plain
from srnas.profiling.runtimes.int8 import quantise
from srnas.profiling.runtimes.onnx_export import CUDA_OPSET, INPUT, OPSET, OUTPUT, to_onnx


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    x = _given(batches[0], target.dtype)
    model = _model(network, batches[0], batches, target.dtype, _opset(target))
    bound = _Bound(_session(model, x, target), x)
    return Executable(bound.run, bound.output, version())


def _load_any(network: nn.Module, x: torch.Tensor, batches: Sequence[torch.Tensor], target: Target) -> Run:
    model = _model(network, x, batches, target.dtype, _opset(target), dynamic=True)
    session, options = _session(model, _given(x, target.dtype), target, dynamic=True), run_options()

    def run(image: torch.Tensor) -> torch.Tensor:
        given = _given(image.cpu().contiguous(), target.dtype).numpy()
        return to_plain(torch.from_numpy(session.run(None, {INPUT: given}, options)[0]))

    return run


def _export(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> dict[str, bytes]:
    saturates = target.board.int8_saturates if target.board else None
    return {"model": _model(network, batches[0], batches, target.dtype, OPSET, saturates=saturates)}


def _opset(target: Target) -> int:
    return CUDA_OPSET if target.device.type == "cuda" else OPSET


def _given(x: torch.Tensor, dtype: str) -> torch.Tensor:
    return x.half() if dtype == "float16" else x


def _model(
    network: nn.Module,
    x: torch.Tensor,
    batches: Sequence[torch.Tensor],
    dtype: str,
    opset: int,
    *,
    dynamic: bool = False,
    saturates: bool | None = None,
) -> bytes:
    """Return a network as ONNX for inputs like ``x``, in a data type; with ``dynamic`` of any size."""
    own = network.half() if dtype == "float16" else network
    model = to_onnx(own, _given(x, dtype), dynamic=dynamic, opset=opset)
    return quantise(model, batches, saturates=saturates) if dtype == "int8" else model.SerializeToString()


def run_file(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs an ONNX file on the CPU."""
    session = open_session(path.read_bytes(), session_options(0))
    return lambda x: torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0])


class _Bound:
    """A session that reads from one tensor and writes to another, both in place."""

    def __init__(self, session: Any, x: torch.Tensor) -> None:
        self.session = session
        self.options = run_options()
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
    if "CUDAExecutionProvider" not in library().get_available_providers():
        raise MissingExtraError.of("onnxruntime", "a build for CUDA", "onnx-gpu")
    options = {"device_id": str(target.device.index or 0), "use_tf32": "0"}
    return "CUDAExecutionProvider", {**options, "cudnn_conv_algo_search": "EXHAUSTIVE"}


def _options(target: Target, *, dynamic: bool) -> Any:
    options = session_options(target.threads)
    if target.device.type == "cuda" and not dynamic:
        # An operator without a CUDA kernel is an error, not a visit to the CPU; where sizes are open, the CPU has them.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _session(model: bytes, x: torch.Tensor, target: Target, *, dynamic: bool = False) -> Any:
    """Return a session that really computes in the target's data type."""
    provider, options = _provider(target), _options(target, dynamic=dynamic)
    session = open_session(model, options, provider)
    if session.get_providers()[0] != provider[0]:
        raise RuntimeFailedError(
            f"onnxruntime's {provider[0]} must start, but it did not; install the onnxruntime-gpu that is built "
            f"for torch's CUDA {torch.version.cuda}, or use another runtime."
        )
    if target.dtype != "float32":
        try:
            check_executed(model, x.cpu().numpy(), target.dtype, _options(target, dynamic=dynamic), provider)
        except WrongDtypeError as error:
            raise RuntimeFailedError(str(error)) from None
    return session


RUNTIME = Runtime(
    "onnxruntime",
    {"cpu": ("float32", "float16", "int8"), "cuda": ("float32", "float16")},
    _load,
    _load_any,
    memory_formats=("nchw",),
    packages=("onnx", "onnxscript", "onnxruntime"),
    extra="onnx",
    version=version,
    export=_export,
)
