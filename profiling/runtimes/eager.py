"""Eager torch, and what the other runtimes of torch share with it."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime

TORCH_DTYPES = ("float32", "bfloat16", "float16")


def to_target(network: nn.Module, x: torch.Tensor, target: Target) -> tuple[nn.Module, torch.Tensor]:
    """Convert ``network`` in place, and ``x``, to the target's data type and memory format."""
    dtype: torch.dtype = getattr(torch, target.dtype)
    network, x = network.to(dtype), x.to(dtype)
    if target.memory_format == "channels_last":
        # The annotations of ``Module.to`` lack this argument.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)
    return network, x


def to_plain(output: torch.Tensor) -> torch.Tensor:
    """Return a copy of ``output`` in float32, contiguous, on the CPU."""
    return output.to("cpu", torch.float32).contiguous().clone()


def run_on(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Executable:
    """Return what calls ``forward`` on ``x`` without gradients."""

    @torch.inference_mode()
    def run() -> torch.Tensor:
        return forward(x)

    return Executable(run, lambda: to_plain(run()))


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> Executable:
    return run_on(*to_target(network, batches[0], target))


RUNTIME = Runtime("eager", {"cpu": TORCH_DTYPES, "cuda": TORCH_DTYPES}, _load)
