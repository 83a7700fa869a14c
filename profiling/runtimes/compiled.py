"""torch.compile with inductor: one graph at a static shape, each network on its own."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Run, Runtime, Supplies
from srnas.profiling.runtimes.eager import TORCH_DTYPES, run_any, run_on, to_target


def _alone(network: nn.Module) -> Callable[[torch.Tensor], Any]:
    """Return the forward pass as a function with a code object of its own.

    Dynamo keeps what it compiled per code object, which all networks of a class share: the eighth would hit the limit
    of recompilations, and each call would try the guards of all networks before. This one also dies with its network.
    """

    def forward(x: torch.Tensor) -> Any:
        return network(x)

    return FunctionType(forward.__code__.replace(), forward.__globals__, "forward", None, forward.__closure__)


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    import torch._inductor.config as inductor

    network, x = to_target(network, batches[0], target, supplies)
    # A graph break or the limit of recompilations raises with ``fullgraph``: nothing falls back to eager unseen.
    executable = run_on(torch.compile(_alone(network), fullgraph=True, dynamic=False), x)
    # No pool of compiler processes, which would outlive the call and disturb what is timed.
    with inductor.patch(compile_threads=1):
        executable.run()
    return executable


def _load_any(network: nn.Module, x: torch.Tensor, batches: Sequence[torch.Tensor], target: Target) -> Run:
    import torch._inductor.config as inductor

    network, _ = to_target(network, x, target, Supplies())
    # One graph for all sizes: at static ones each would be compiled anew.
    run = run_any(torch.compile(_alone(network), fullgraph=True, dynamic=True), target)

    def run_alone(image: torch.Tensor) -> torch.Tensor:
        with inductor.patch(compile_threads=1):
            return run(image)

    return run_alone


RUNTIME = Runtime("compile", {"cpu": TORCH_DTYPES, "cuda": TORCH_DTYPES}, _load, _load_any)
