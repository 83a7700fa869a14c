"""A session of ONNX Runtime on a CPU, the same on the board as here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

_QUIET = 3


def library() -> Any:
    """Import ONNX Runtime without the thread that reports its use over the network; nothing ends it afterwards."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def version() -> str:
    """Return name and version of the library."""
    return f"onnxruntime {library().__version__}"


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


def bind(model: bytes, x: np.ndarray[Any, Any], threads: int) -> tuple[Callable[[], None], np.ndarray[Any, Any]]:
    """Return what runs a model once, from ``x`` to the array that is returned beside it, both in place.

    Args:
        model: An ONNX model with one input and one output, whose shapes it states.
        x: Its input ``(B, C, H, W)``.
        threads: CPU threads.
    """
    session = library().InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])
    [given], [found] = session.get_inputs(), session.get_outputs()
    kinds = {"tensor(float16)": np.float16, "tensor(float)": np.float32}
    x = np.ascontiguousarray(x, dtype=kinds[given.type])
    y = np.empty(found.shape, dtype=kinds[found.type])
    binding, options = session.io_binding(), run_options()
    binding.bind_input(given.name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output(found.name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)

    def run() -> None:
        session.run_with_iobinding(binding, options)

    # What is bound are pointers: the arrays must live as long as the call.
    run.bound = x, y  # type: ignore[attr-defined]
    return run, y
