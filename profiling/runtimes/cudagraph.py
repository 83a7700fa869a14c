"""One eager call captured as a CUDA graph: the same kernels without the host's launches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.graphs import Recorder
from srnas.profiling.runtimes.base import Executable, Runtime, Supplies
from srnas.profiling.runtimes.eager import TORCH_DTYPES, load_any, run_on, to_plain, to_target


@dataclass(frozen=True, eq=False)
class _Captured:
    """A graph with what it reads: it holds only addresses, of which others would be given away.

    Attributes:
        graph: The kernels.
        result: What the graph writes.
        call: Holds network and input.
    """

    graph: torch.cuda.CUDAGraph
    result: torch.Tensor
    call: Callable[[], Any]

    def run(self) -> None:
        """Enqueue the kernels once."""
        self.graph.replay()

    def output(self) -> torch.Tensor:
        """Run once and return the result."""
        self.graph.replay()
        return to_plain(self.result)


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    call = run_on(*to_target(network, batches[0], target, supplies)).run
    recorder = supplies.recorder or Recorder(target.device)
    recorder.warm_up(call)
    captured = _Captured(*recorder.capture(call), call)
    return Executable(captured.run, captured.output, kernels=call)


# A graph is of one size; without it the kernels are the same.
RUNTIME = Runtime("cudagraph", {"cuda": TORCH_DTYPES}, _load, load_any)
