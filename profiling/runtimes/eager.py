"""Eager torch, and what the other runtimes of torch share with it."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Run, Runtime, Supplies

TORCH_DTYPES = ("float32", "bfloat16", "float16")


def _form(target: Target) -> tuple[torch.dtype, torch.memory_format]:
    layout = torch.channels_last if target.memory_format == "channels_last" else torch.contiguous_format
    return getattr(torch, target.dtype), layout


def to_target(
    network: nn.Module, x: torch.Tensor, target: Target, supplies: Supplies
) -> tuple[nn.Module, torch.Tensor]:
    """Convert ``network`` in place, and ``x``, to the target's data type and memory format."""
    dtype, layout = _form(target)
    network = network.to(dtype)
    if layout is torch.channels_last:
        # The annotations of ``Module.to`` lack this argument.
        network.to(memory_format=layout)  # type: ignore[call-overload]
    key = (x.data_ptr(), tuple(x.shape), dtype, layout)
    return network, supplies.shared(key, lambda: x.to(dtype).contiguous(memory_format=layout))


def to_plain(output: torch.Tensor) -> torch.Tensor:
    """Return a copy of ``output`` in float32, contiguous, on the CPU."""
    return output.to("cpu", torch.float32).contiguous().clone()


def run_on(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Executable:
    """Return what calls ``forward`` on ``x`` without gradients."""

    @torch.inference_mode()
    def run() -> torch.Tensor:
        return forward(x)

    return Executable(run, lambda: to_plain(run()), kernels=run)


def run_any(forward: Callable[[torch.Tensor], torch.Tensor], target: Target) -> Run:
    """Return what calls ``forward`` on images of any size, each converted as the target is timed."""
    dtype, layout = _form(target)
    return lambda x: to_plain(forward(x.to(target.device, dtype).contiguous(memory_format=layout)))


def load_any(network: nn.Module, x: torch.Tensor, batches: Sequence[torch.Tensor], target: Target) -> Run:
    """Return what runs a network eagerly on images of any size."""
    return run_any(to_target(network, x, target, Supplies())[0], target)


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    return run_on(*to_target(network, batches[0], target, supplies))


RUNTIME = Runtime("eager", {"cpu": TORCH_DTYPES, "cuda": TORCH_DTYPES}, _load, load_any)
