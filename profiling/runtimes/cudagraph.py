"""One eager call captured as a CUDA graph: the same kernels without the host's launches."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime
from srnas.profiling.runtimes.eager import TORCH_DTYPES, run_on, to_plain, to_target

# cuDNN chooses its kernels and workspaces in these, which a capture forbids.
_WARM_UP_CALLS = 3


# Where torch can, it refuses to replay a graph whose input is gone.
_CHECKED = "check_input_liveness" in inspect.signature(torch.cuda.graph.__init__).parameters


@dataclass(frozen=True, eq=False)
class _Captured:
    """A graph with what it reads: it holds only addresses, of which others would be given away.

    Attributes:
        graph: The kernels.
        call: Holds network and input.
        result: What the graph writes.
    """

    graph: torch.cuda.CUDAGraph
    call: Callable[[], Any]
    result: torch.Tensor

    def run(self) -> None:
        """Enqueue the kernels once."""
        self.graph.replay()

    def output(self) -> torch.Tensor:
        """Run once and return the result."""
        self.graph.replay()
        return to_plain(self.result)


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> Executable:
    call = run_on(*to_target(network, batches[0], target)).run
    side = torch.cuda.Stream(target.device)
    side.wait_stream(torch.cuda.current_stream(target.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP_CALLS):
            call()
    torch.cuda.current_stream(target.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    checked: dict[str, Any] = {"check_input_liveness": True} if _CHECKED else {}
    # On a stream of its own: the default one of captures is that of the first device of the process.
    with torch.cuda.device(target.device), torch.cuda.graph(graph, stream=side, **checked):
        result = call()
    captured = _Captured(graph, call, result)
    return Executable(captured.run, captured.output)


RUNTIME = Runtime("cudagraph", {"cuda": TORCH_DTYPES}, _load)
