"""Static post-training quantisation of an ONNX model to int8."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from srnas.profiling.agent import machine
from srnas.profiling.agent.onnx_session import library
from srnas.profiling.runtimes.onnx_export import INPUT

if TYPE_CHECKING:
    import onnx

# What the multiply-accumulates are in. All operators together are hardly faster, and a quantised softmax or sigmoid
# of an attention block loses the result: 7 dB of signal to noise for PSA where this gives 46 dB.
_OPERATORS = ("Conv", "MatMul", "Gemm")


def quantise(model: "onnx.ModelProto", batches: Sequence[torch.Tensor], *, saturates: bool | None = None) -> bytes:
    """Return ``model`` serialised with convolutions and matrix products in int8, and the rest in float32.

    Weights are signed and symmetric per output channel. Activations are unsigned with the least and greatest value of
    ``batches``: with signed ones ONNX Runtime leaves a third of the convolutions in float32 on x86.

    Args:
        model: In float32; it is changed.
        batches: ``(B, C, H, W)`` each, which calibrate.
        saturates: Whether products of 8 bits can overflow on the processor that runs it, so that weights have 7; by
            default what is so here.
    """
    library()  # Imported first by other means, it reports its use.
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Mapping[str, Any]] = ({INPUT: batch.numpy()} for batch in batches)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._left, None)

    # The exporter has optimised the model and inferred its shapes; otherwise the quantiser asks for that in the log.
    add_pre_process_metadata(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_static(
            model,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            per_channel=True,
            reduce_range=machine.int8_saturates() if saturates is None else saturates,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return path.read_bytes()
