"""The runtimes that an agent has, by name: each tells its version and data types, and binds a network to its input."""

from __future__ import annotations

import contextlib
from typing import Any

from srnas.profiling.agent import executorch_method, ncnn_net, onnx_session

RUNTIMES: dict[str, Any] = {"onnxruntime": onnx_session, "ncnn": ncnn_net, "executorch": executorch_method}


def installed() -> dict[str, dict[str, Any]]:
    """Return name and version of each runtime's library that is here, and the data types it may be asked for."""
    here: dict[str, dict[str, Any]] = {}
    for name, runtime in RUNTIMES.items():
        # One that cannot be imported, for want of a library of the system, is not here either.
        with contextlib.suppress(ImportError):
            here[name] = {"version": runtime.version(), "dtypes": list(runtime.dtypes())}
    return here
