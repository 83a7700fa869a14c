"""ExecuTorch on a CPU: torch's own runtime for phones and boards, with XNNPACK's kernels where it has one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from srnas.profiling.agent.executorch_method import Loaded, set_threads, version
from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime, Supplies
from srnas.profiling.runtimes.eager import to_plain


def convert(network: nn.Module, batches: Sequence[torch.Tensor], dtype: str = "float32") -> bytes:
    """Return a network as the content of a ``.pte`` file, whose memory is planned for inputs of one size.

    Args:
        network: A network in float32 and eval mode.
        batches: ``(B, C, H, W)`` each. The first is the example, all serve to calibrate int8.
        dtype: ``float32``, or ``int8``: what XNNPACK can is quantised after training, weights by output channel.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    given = (batches[0],)
    program = torch.export.export(network, given)
    if dtype == "int8":
        program = torch.export.export(_quantised(program.module(), batches), given)
    # What XNNPACK has no kernel for runs in ExecuTorch's portable ones.
    return bytes(to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)


def _quantised(module: nn.Module, batches: Sequence[torch.Tensor]) -> nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    watched = prepare_pt2e(module, quantizer)
    for batch in batches:
        watched(batch)
    quantised: nn.Module = convert_pt2e(watched)
    return quantised


def run_file(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs a ``.pte`` file."""
    program = Loaded(path)
    return lambda x: to_plain(program.run(x))


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    x = batches[0]
    set_threads(target.threads)
    program = Loaded(convert(network, batches, target.dtype))
    return Executable(lambda: program.run(x), lambda: to_plain(program.run(x)), version())


def _export(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> dict[str, bytes]:
    return {"model": convert(network, batches, target.dtype)}


RUNTIME = Runtime(
    "executorch",
    {"cpu": ("float32", "int8")},
    _load,
    memory_formats=("nchw",),
    packages=("executorch",),
    extra="executorch",
    version=version,
    export=_export,
    shares_threads=True,
)
