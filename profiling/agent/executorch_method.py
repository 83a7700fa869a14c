"""A method of ExecuTorch's Python runtime, the same on a board as here; the runtime brings torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version as version_of
from typing import Any

import numpy as np

# The identifier of a program's schema stands behind the first four bytes. source: schema/program.fbs of ExecuTorch.
IDENTIFIER = b"ET12"


def library() -> Any:
    """Return the runtime of this process, without its warning that it may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.runtime import Runtime

        return Runtime.get()


def version() -> str:
    """Return name and version of the library."""
    return f"executorch {version_of('executorch')}"


def dtypes() -> tuple[str, ...]:
    """Return the data types that its programs are written in."""
    return ("float32", "int8")


def set_threads(threads: int) -> None:
    """Give the process's pool so many threads: of networks side by side the last says how many all have."""
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

    _unsafe_reset_threadpool(threads)


class Loaded:
    """A method, and the program whose memory it reads.

    Args:
        source: Path of a program, or its content.
    """

    def __init__(self, source: Any) -> None:
        self._program = library().load_program(source)
        self._method = self._program.load_method("forward")

    def run(self, x: Any) -> Any:
        """Return the output for a tensor."""
        return self._method.execute([x])[0]


def bind(
    files: Mapping[str, str], x: np.ndarray[Any, Any], threads: int, dtype: str
) -> tuple[Callable[[], Any], Callable[[], np.ndarray[Any, Any]]]:
    """Return what runs a program once, and what gives its result.

    Args:
        files: Where the ``model`` is, a ``.pte`` file.
        x: Its input ``(B, C, H, W)``.
        threads: CPU threads.
        dtype: What it is written in.
    """
    import torch

    set_threads(threads)
    loaded, given = Loaded(files["model"]), torch.from_numpy(np.ascontiguousarray(x))

    def run() -> Any:
        return loaded.run(given)

    return run, lambda: run().numpy().astype(np.float32)
