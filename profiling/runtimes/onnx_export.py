"""Networks as ONNX models, in memory."""

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "lr", "sr"
# Height and width of the one input may be others than the example's.
ANY_SIZE = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
# The first with GELU as one operator; in 2.13 it is also the exporter's default.
OPSET = 20
# The last that ONNX Runtime has CUDA kernels of for every operator of ours: kernels of Pad end with 18 and those of
# ReduceMax too, and an open end in its list is no promise for a later version of the operator.
# source: https://github.com/microsoft/onnxruntime/blob/main/docs/OperatorKernels.md
CUDA_OPSET = 18


def to_onnx(network: nn.Module, x: torch.Tensor, *, dynamic: bool = False, opset: int = OPSET) -> "onnx.ModelProto":
    """Export ``network`` for inputs like ``x``; with ``dynamic`` of any height and width.

    The exporter is torch's own of today (``dynamo=True``). The TorchScript one, deprecated, takes a tenth of the time
    and gives up to twice the nodes; the runtimes fold them, and both forms take the same time there.
    """
    program = torch.onnx.export(
        network,
        (x,),
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=ANY_SIZE if dynamic else None,
    )
    assert program is not None
    return program.model_proto
