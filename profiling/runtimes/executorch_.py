"""ExecuTorch on a CPU: torch's own runtime for phones and boards, with XNNPACK's kernels where it has one."""

import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime, Supplies
from srnas.profiling.runtimes.eager import to_plain


def _version() -> str:
    return f"executorch {version('executorch')}"


def _library() -> Any:
    """Return the runtime of this process, without its warning that it may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.runtime import Runtime as Library

        return Library.get()


def convert(network: nn.Module, x: torch.Tensor) -> bytes:
    """Return a network as the content of a ``.pte`` file, whose memory is planned for inputs of one size.

    Args:
        network: A network in float32 and eval mode.
        x: Its input ``(B, C, H, W)``.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(network, (x,))
    # What XNNPACK has no kernel for runs in ExecuTorch's portable ones.
    return bytes(to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)


def run_file(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs a ``.pte`` file."""
    program = _library().load_program(path)
    return lambda x: to_plain(program.load_method("forward").execute([x])[0])


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

    x = batches[0]
    # The pool is the process's: of networks side by side the last says how many threads all have.
    _unsafe_reset_threadpool(target.threads)
    program = _library().load_program(convert(network, x))
    bound = _Bound(program, x)
    return Executable(bound.run, bound.output, _version())


class _Bound:
    """A method with its input, and the program whose memory it reads."""

    def __init__(self, program: Any, x: torch.Tensor) -> None:
        self.program, self.x = program, x
        self.method = program.load_method("forward")

    def run(self) -> Any:
        return self.method.execute([self.x])[0]

    def output(self) -> torch.Tensor:
        return to_plain(self.run())


RUNTIME = Runtime(
    "executorch",
    {"cpu": ("float32",)},
    _load,
    memory_formats=("nchw",),
    packages=("executorch",),
    extra="executorch",
    version=_version,
)
