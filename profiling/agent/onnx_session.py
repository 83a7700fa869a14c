"""A session of ONNX Runtime, the same on a board as here, and in which data type it computes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

DTYPES = ("float32", "float16", "int8")
_CPU: tuple[str, Mapping[str, str]] = ("CPUExecutionProvider", {})
_QUIET = 3
# Operators that hold the multiply-accumulates; their integer forms are called QLinearConv, QGemm, QLinearMatMul, ...
_FLOAT_OPERATORS = ("Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul", "NhwcFusedConv")


class WrongDtypeError(ValueError):
    """A runtime would silently compute in another data type."""


def library() -> Any:
    """Import ONNX Runtime without the thread that reports its use over the network; nothing ends it afterwards."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def version() -> str:
    """Return name and version of the library."""
    return f"onnxruntime {library().__version__}"


def dtypes() -> tuple[str, ...]:
    """Return the data types that may be asked for; :func:`check_executed` tells whether a network is computed so."""
    return DTYPES


def session_options(threads: int) -> Any:
    """Return the options of a session.

    Threads of a pool spin within a call, as they do by default, but not after it: they would take the core from the
    network that is timed next.
    """
    options = library().SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def run_options() -> Any:
    """Return the options of a call."""
    options = library().RunOptions()
    options.log_severity_level = _QUIET
    return options


def open_session(model: bytes, options: Any, provider: tuple[str, Mapping[str, str]] = _CPU) -> Any:
    """Return a session; without ``enable_fallback=0`` a failure is printed and tried again on the CPU."""
    return library().InferenceSession(model, options, providers=[provider], enable_fallback=0)


def check_executed(
    model: bytes, x: np.ndarray[Any, Any], dtype: str, options: Any, provider: tuple[str, Mapping[str, str]] = _CPU
) -> None:
    """Run a model once with ONNX Runtime's own profile, which names the types of what each operator was given.

    Raises:
        WrongDtypeError: If convolutions or matrix products were computed in float32.
    """
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(folder, "profile")
        session = open_session(model, options, provider)
        session.run(None, {session.get_inputs()[0].name: x}, run_options())
        with open(session.end_profiling(), encoding="utf-8") as file:
            nodes = [event["args"] for event in json.load(file) if event.get("cat") == "Node"]
    wrong = [
        node["op_name"]
        for node in nodes
        if node["op_name"] in _FLOAT_OPERATORS and "float" in node["input_type_shape"][0]
    ]
    if wrong:
        raise WrongDtypeError(
            f"onnxruntime must have {dtype} kernels for this network on this device, but got {len(wrong)} operators in "
            f"float32 ({wrong[0]} first); use float32, or another runtime."
        )


def bind(
    files: Mapping[str, str], x: np.ndarray[Any, Any], threads: int, dtype: str
) -> tuple[Callable[[], Any], Callable[[], np.ndarray[Any, Any]]]:
    """Return what runs a model once, in place, and what gives the result of the last run.

    Args:
        files: Where the ``model`` is, with one input and one output, whose shapes it states.
        x: Its input ``(B, C, H, W)``.
        threads: CPU threads.
        dtype: What it must compute in.

    Raises:
        WrongDtypeError: If it would compute in float32 where it is asked for another type.
    """
    with open(files["model"], "rb") as file:
        model = file.read()
    session = open_session(model, session_options(threads))
    [given], [found] = session.get_inputs(), session.get_outputs()
    kinds = {"tensor(float16)": np.float16, "tensor(float)": np.float32}
    x = np.ascontiguousarray(x, dtype=kinds[given.type])
    y = np.empty(found.shape, dtype=kinds[found.type])
    if dtype != "float32":
        check_executed(model, x, dtype, session_options(threads))
    binding, options = session.io_binding(), run_options()
    binding.bind_input(given.name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output(found.name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)

    def run() -> None:
        session.run_with_iobinding(binding, options)

    # What is bound are pointers: the arrays must live as long as the call.
    run.bound = x, y  # type: ignore[attr-defined]
    return run, lambda: y.astype(np.float32)
