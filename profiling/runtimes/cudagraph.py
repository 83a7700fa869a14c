"""One eager call captured as a CUDA graph: the same kernels without the host's launches."""

from collections.abc import Sequence

import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime
from srnas.profiling.runtimes.eager import TORCH_DTYPES, run_on, to_plain, to_target

# cuDNN chooses its kernels and workspaces in these, which a capture forbids.
_WARM_UP_CALLS = 3


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> Executable:
    call = run_on(*to_target(network, batches[0], target)).run
    side = torch.cuda.Stream(target.device)
    side.wait_stream(torch.cuda.current_stream(target.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP_CALLS):
            call()
    torch.cuda.current_stream(target.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(target.device), torch.cuda.graph(graph):
        result = call()

    def output() -> torch.Tensor:
        graph.replay()
        return to_plain(result)

    return Executable(graph.replay, output)


RUNTIME = Runtime("cudagraph", {"cuda": TORCH_DTYPES}, _load)
