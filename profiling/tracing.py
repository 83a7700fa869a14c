"""fvcore on tensors without data, with handles for what it does not know.

fvcore (https://github.com/facebookresearch/fvcore) reads the shapes from a trace, and a trace normally executes the
network. Tensors without data would do, but for one thing: PyTorch records a convolution by a kernel that is passed by
on them, and the one that runs instead does not stand a trace. So convolutions are sent through the recording kernel
here; everything else is fvcore's and PyTorch's own way, and the graph is the one that an execution gives.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import Handle, get_shape
from torch import nn

from srnas.profiling.counting import CountingMode
from srnas.profiling.meta import RememberingMode, is_tracing
from srnas.profiling.operators import FREE, OTHER

# fmt: off
# Traced operators without MACs that are made of others, so that the tables of operators do not have them.
_COMPOSITE = (
    "Int", "ScalarImplicit", "__and__", "__or__", "__xor__", "_weight_norm", "adaptive_avg_pool1d",
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "alpha_dropout", "avg_pool1d", "broadcast_to", "clip", "concat",
    "contiguous", "cosine_similarity", "dropout", "expand_as", "feature_dropout", "flatten", "log_sigmoid",
    "log_softmax", "mH", "mT", "max_pool1d", "max_pool2d", "max_pool3d", "meshgrid", "movedim", "numpy_T", "outer",
    "pad", "pairwise_distance", "prelu", "relu6", "repeat_interleave", "reshape_as", "rms_norm", "rrelu", "selu",
    "softmax", "tile", "true_divide", "type_as", "unflatten", "view_as",
)
# fmt: on
# What our tables call other work, and fvcore counts.
_COUNTED_BY_FVCORE = frozenset(("upsample_bilinear2d", "upsample_nearest2d"))


def count_fvcore(on_meta: nn.Module, x: torch.Tensor) -> tuple[Counter[str], Counter[str], tuple[str, ...]]:
    """Count with fvcore without executing anything.

    Args:
        on_meta: A network without data, in eval mode.
        x: Its input, without data.

    Returns:
        What it counts by operator; what it does not know, and how often that ran; the modules that it saw no call of.
    """
    with torch.no_grad(), TracingMode():
        analysis = FlopCountAnalysis(on_meta, x)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).set_op_handle(**_handles())
        counted = analysis.by_operator()
        return counted, analysis.unsupported_ops(), tuple(sorted(analysis.uncalled_modules()))


class TracingMode(RememberingMode):
    """Lets a trace of tensors without data record its convolutions."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        aten = torch.ops.aten
        if func is aten.convolution.default and is_tracing():
            return self._record(args)
        if func is aten._convolution.default:
            # What the recording kernel calls next, with four settings of cuDNN at the end.
            func, args = aten.convolution.default, args[:9]
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _record(self, args: Sequence[Any]) -> Any:
        """Call the recording kernel: it is excluded while a mode handles an operator, and included again here."""
        included, excluded = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
        tracer = torch._C._dispatch_key_parse("Tracer")
        with torch._C._ForceDispatchKeyGuard(included, excluded.remove(tracer)), self:
            return torch.ops.aten._convolution.default(*args, False, False, False, False)


def _handles() -> dict[str, Handle | None]:
    """Return the handles by operator; ``None`` says that it has no MACs."""
    free = {name for table in (*OTHER, *FREE) for name in table} - _COUNTED_BY_FVCORE
    names = (*_COMPOSITE, *free, *(f"{name}_" for name in free))
    products = dict.fromkeys(("matmul", "mv", "dot", "vdot", "affine_grid_generator"), _product)
    return {f"aten::{name}": None for name in names} | {
        f"aten::{name}": handle
        for name, handle in {
            **products,
            "addbmm": _added_sum_of_products,
            "addmv": _added_product,
            "baddbmm": _added_product,
            "einsum": _einsum,
            "_convolution_mode": _convolution_mode,
            "scaled_dot_product_attention": _attention,
        }.items()
    }


def _shape(value: Any) -> list[int]:
    shape: list[int] = get_shape(value)
    return shape


def _product(inputs: list[Any], outputs: list[Any]) -> int:
    return math.prod(_shape(outputs[0])) * _shape(inputs[0])[-1]


def _added_product(inputs: list[Any], outputs: list[Any]) -> int:
    return _product(inputs[1:], outputs)


def _added_sum_of_products(inputs: list[Any], outputs: list[Any]) -> int:
    return _added_product(inputs, outputs) * _shape(inputs[1])[0]


def _convolution_mode(inputs: list[Any], outputs: list[Any]) -> int:
    """Count a convolution whose padding is a word."""
    out = _shape(outputs[0])
    return math.prod(_shape(inputs[1])) * out[0] * math.prod(out[2:])


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    query, key = (_shape(value) for value in inputs[:2])
    return (math.prod(query) + math.prod(_shape(outputs[0]))) * key[-2]


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the products that PyTorch splits it into; fvcore's own count has four digits, and MACs for a sum."""
    operands = [torch.empty(_shape(value), device="meta") for value in inputs[1].node().inputs()]
    with CountingMode() as mode:
        torch.einsum(inputs[0].toIValue(), *operands)
    return sum(mode.macs.values())
