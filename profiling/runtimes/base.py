"""What a runtime declares about itself, what it returns, and how it refuses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn

from srnas.profiling.device import MEMORY_FORMATS, Target
from srnas.profiling.graphs import Recorder
from srnas.search_space import InputError

# One forward pass, (1, 3, H, W) to (1, 3, sH, sW), in float32 on the CPU.
Run = Callable[[torch.Tensor], torch.Tensor]


class MissingExtraError(InputError):
    """A runtime's package is not installed."""

    @classmethod
    def of(cls, runtime: str, missing: str, extra: str) -> Self:
        """Return the error of a runtime whose package is in an extra of ours."""
        return cls(f"runtime '{runtime}' needs {missing}, which is not installed; run: pip install 'srnas[{extra}]'")


class RuntimeFailedError(InputError):
    """A runtime could not take a network in: its export, compilation or quantisation failed."""


@dataclass(frozen=True, eq=False)
class Executable:
    """A network ready to run in a runtime on one input.

    Attributes:
        run: One forward pass without gradients. On CUDA it is enqueued on the current stream; on a CPU it is done when
            ``run`` returns.
        output: Runs once and returns the result, ``(B, C, H, W)`` in float32 on the CPU.
        version: Name and version of the runtime's library; empty for torch's own.
        max_abs_difference: The largest absolute difference to eager float32 on the same input, ``inf`` where one of
            them is not finite.
        load_s: Seconds from the network to its first result: export, compilation, quantisation, first call.
        kernels: One forward pass that a CUDA graph can hold; ``None`` where the runtime launches on a stream of its
            own.
    """

    run: Callable[[], Any]
    output: Callable[[], torch.Tensor]
    version: str = ""
    max_abs_difference: float = 0.0
    load_s: float = 0.0
    kernels: Callable[[], Any] | None = None


@dataclass(frozen=True, eq=False)
class Supplies:
    """What networks that are timed side by side share: each with its own would fill the memory of a GPU.

    Attributes:
        recorder: What captures their graphs on CUDA, in one pool of memory.
        inputs: What they read, by shape, data type and memory format.
    """

    recorder: Recorder | None = None
    inputs: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)

    def shared(self, key: tuple[object, ...], make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the input of a key, made by whoever asks for it first."""
        if key not in self.inputs:
            self.inputs[key] = make()
        return self.inputs[key]


def _no_board(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> dict[str, bytes]:
    raise InputError("a runtime must have a form of file to run on a board; use onnxruntime, ncnn or executorch.")


@dataclass(frozen=True, eq=False)
class Runtime:
    """A runtime and what it can be asked for.

    Attributes:
        name: What the runtime is called, as in :class:`~srnas.profiling.device.Target`.
        dtypes: Data types that exist there, by the type of the device it runs on.
        load: Makes what runs of a network of its own (float32, eval mode, on the device), batches (the first is the
            input, all serve to calibrate), the target, and what it shares with others.
        load_any: Makes what runs images of any size of a network of its own, an example, batches to calibrate, and the
            target; ``None``: it prepares a network for one size.
        memory_formats: Those that make a difference to it.
        packages: What must be importable.
        extra: What installs the packages.
        version: Name and version of its library, where it is not torch.
        export: Makes the files that another machine needs, by kind, of a network on the CPU, batches and the target;
            ``model`` is among them.
        refuses: Blocks that it cannot run, and why.
        shares_threads: Whether all its networks in a process run in one pool of threads.
    """

    name: str
    dtypes: Mapping[str, tuple[str, ...]]
    load: Callable[[nn.Module, Sequence[torch.Tensor], Target, Supplies], Executable]
    load_any: Callable[[nn.Module, torch.Tensor, Sequence[torch.Tensor], Target], Run] | None = None
    memory_formats: tuple[str, ...] = MEMORY_FORMATS
    packages: tuple[str, ...] = ()
    extra: str = ""
    version: Callable[[], str] = lambda: ""
    export: Callable[[nn.Module, Sequence[torch.Tensor], Target], dict[str, bytes]] = _no_board
    refuses: Mapping[str, str] = field(default_factory=dict)
    shares_threads: bool = False
