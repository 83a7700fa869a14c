"""What is exported for CUDA, against the list of kernels that ONNX Runtime publishes."""

import pytest
import torch
from torch import nn

from srnas.profiling import Target
from srnas.profiling.runtimes import Supplies, onnx_export, onnxruntime_
from srnas.profiling.runtimes.prepare import quiet
from srnas.search_space import build_block

# By operator, the versions of it that a CUDA kernel takes, each with those until which it is the same one. What is open
# in the list is of that version alone: a kernel without an end is taken for no later version of the operator.
# source: https://github.com/microsoft/onnxruntime/blob/main/docs/OperatorKernels.md, "CUDAExecutionProvider"
KERNELS = {
    "Add": [(14, 14)],
    "AveragePool": [(11, 18), (19, 21)],
    "Cast": [(13, 18), (19, 20)],
    "Clip": [(13, 13)],
    "Concat": [(13, 13)],
    "Conv": [(11, 21)],
    "Div": [(14, 14)],
    "Erf": [(13, 13)],
    "Exp": [(13, 13)],
    "Gelu": [(20, 20)],
    "Gemm": [(13, 13)],
    "Greater": [(13, 13)],
    "GridSample": [(16, 19), (20, 21)],
    "LayerNormalization": [(17, 17)],
    "LeakyRelu": [(16, 16)],
    "MatMul": [(13, 13)],
    "MaxPool": [(12, 12)],
    "Mul": [(14, 14)],
    "PRelu": [(16, 16)],
    "Pad": [(18, 18)],
    "Pow": [(15, 15)],
    "ReduceMax": [(18, 18)],
    "ReduceMean": [(18, 18)],
    "Relu": [(14, 14)],
    "Reshape": [(14, 18), (19, 20)],
    "Resize": [(18, 18), (19, 19)],
    "Sigmoid": [(13, 13)],
    "Slice": [(13, 13)],
    "Softmax": [(13, 13)],
    "Split": [(18, 18)],
    "Sqrt": [(13, 13)],
    "Squeeze": [(13, 20)],
    "Sub": [(14, 14)],
    "Tanh": [(13, 13)],
    "Transpose": [(13, 20)],
    "Unsqueeze": [(13, 20)],
    "Where": [(16, 16)],
}
# Together they have the operators that have changed since; all blocks take half a minute.
BLOCKS = ("cbam", "efdn", "lkat", "stn")


@pytest.mark.slow
def test_every_operator_has_a_kernel_on_cuda():
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    network = nn.Sequential(*(build_block(name, 24).eval() for name in BLOCKS)).requires_grad_(False)
    with quiet(), torch.no_grad():
        model = onnx_export.to_onnx(network, torch.rand(1, 24, 16, 16), opset=onnx_export.CUDA_OPSET)
    (opset,) = (one.version for one in model.opset_import if not one.domain)
    found = {node.op_type: onnx.defs.get_schema(node.op_type, opset).since_version for node in model.graph.node}
    lacking = {op: since for op, since in found.items() if not any(a <= since <= b for a, b in KERNELS.get(op, ()))}
    assert not lacking
    assert found.keys() >= {"AveragePool", "GridSample", "MaxPool", "Pad", "ReduceMax", "Resize"}


class _AskedError(Exception):
    """Ends what has asked."""


@pytest.mark.parametrize(("device", "expected"), [("cuda:0", onnx_export.CUDA_OPSET), ("cpu", onnx_export.OPSET)])
def test_onnxruntime_on_cuda_takes_models_of_that_opset(monkeypatch, device, expected):
    pytest.importorskip("onnxruntime")
    asked = []

    def to_onnx(network, x, *, dynamic, opset):
        asked.append(opset)
        raise _AskedError

    monkeypatch.setattr(onnxruntime_, "to_onnx", to_onnx)
    monkeypatch.setattr(onnxruntime_, "_provider", lambda target: ("", {}))
    target = Target(torch.device(device), runtime="onnxruntime")
    with pytest.raises(_AskedError):
        onnxruntime_.RUNTIME.load(nn.Identity(), [torch.rand(1, 3, 4, 4)], target, Supplies())
    assert asked == [expected]
