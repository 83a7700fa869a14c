"""What one call of an operator costs: three tables; what stands in none of them is unknown.

*Counted* operators have multiply-accumulates. *Other* work is one unit per element of a result or an input, per tap of
an interpolation, or per element of a window. *Free* ones compute nothing: views move nothing either, copies do.
Names are those of aten; in-place forms stand for themselves (``add_`` is ``add``). Operators whose work is not
proportional to their elements (``sort``, ``fft``) are unknown on purpose.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch


class Effort(NamedTuple):
    """The cost of one call.

    Attributes:
        macs: Multiply-accumulates.
        bias_adds: Additions of a bias (or of another tensor, in one operator with the product).
        other: Other work, without the additions of a bias.
        bytes_moved: Bytes of all tensors that it reads and writes.
    """

    macs: int = 0
    bias_adds: int = 0
    other: int = 0
    bytes_moved: int = 0


def _convolution(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    x, weight, bias, transposed = args[0], args[1], args[2], args[6]
    positions = math.prod((x if transposed else out).shape[2:])
    return x.shape[0] * weight.numel() * positions, 0 if bias is None else out.numel()


def _product(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    return out.numel() * args[0].shape[-1], 0


def _added_product(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    return out.numel() * args[1].shape[-1], out.numel()


def _added_sum_of_products(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    return out.numel() * args[1].shape[-1] * args[1].shape[0], out.numel()


def _attention(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    query, key = args[0], args[1]
    return (query.numel() + out.numel()) * key.shape[-2], 0


# Operator -> (MACs, bias additions) of one call.
COUNTED: Mapping[str, Callable[[Sequence[Any], torch.Tensor], tuple[int, int]]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "matmul"), _product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _added_product),
    "addbmm": _added_sum_of_products,
    "affine_grid_generator": _product,
    **dict.fromkeys(
        (
            "scaled_dot_product_attention",
            "_scaled_dot_product_attention_math",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_fused_attention_overrideable",
        ),
        _attention,
    ),
}

# fmt: off
# Work per element of the result.
ELEMENTWISE = frozenset((
    "abs", "acos", "add", "addcdiv", "addcmul", "asin", "atan", "atan2", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "cos", "cosh", "div", "elu", "eq", "erf", "erfc",
    "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "ge", "gelu", "glu", "gt", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "hypot", "isinf", "isnan", "le", "leaky_relu", "lerp", "log", "log10",
    "log1p", "log2", "log_sigmoid_forward", "logical_and", "logical_not", "logical_or", "logical_xor", "lt",
    "masked_fill", "maximum", "minimum", "mish", "mul", "nan_to_num", "ne", "neg", "pow", "reciprocal", "relu",
    "remainder", "round", "rsqrt", "rsub", "sigmoid", "sign", "silu", "sin", "sinc", "sinh", "softplus", "softshrink",
    "sqrt", "square", "sub", "tan", "tanh", "threshold", "trunc", "where", "_prelu_kernel",
    "rrelu_with_noise", "_log_softmax", "_safe_softmax", "_softmax", "_weight_norm_interface",
    "_fused_rms_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "native_batch_norm",
    "native_group_norm", "native_layer_norm",
))
# Work per element of the first input.
REDUCTIONS = frozenset((
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "all", "amax", "amin",
    "aminmax", "any", "argmax", "argmin", "col2im", "count_nonzero", "cumprod", "cumsum", "linalg_vector_norm",
    "logsumexp", "max", "mean", "min", "norm", "prod", "std", "std_mean", "sum", "var", "var_mean",
))
# Work per element of the result and tap.
INTERPOLATION: Mapping[str, int] = {
    "_upsample_nearest_exact1d": 1, "_upsample_nearest_exact2d": 1, "_upsample_nearest_exact3d": 1,
    "upsample_nearest1d": 1, "upsample_nearest2d": 1, "upsample_nearest3d": 1,
    "upsample_linear1d": 2, "upsample_bilinear2d": 4, "upsample_trilinear3d": 8, "upsample_bicubic2d": 16,
}
# Work per element of the result and tap; the taps by mode: linear, nearest, cubic.
SAMPLING: Mapping[str, tuple[int, ...]] = {"grid_sampler_2d": (4, 1, 16), "grid_sampler_3d": (8, 1)}
# Work per element of the result and of the window; the number says how many dimensions the window has.
WINDOWS: Mapping[str, int] = {
    "avg_pool2d": 2, "avg_pool3d": 3, "max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3,
}

# Free, and nothing moves.
VIEWS = frozenset((
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "chunk", "detach", "diagonal", "empty", "empty_like",
    "empty_strided", "expand", "imag", "lift_fresh", "narrow", "new_empty", "new_empty_strided", "permute", "real",
    "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold",
    "unsafe_split", "unsafe_split_with_sizes", "unsqueeze", "view", "view_as_complex", "view_as_real",
))
# Free, but their inputs are read and their results written.
COPIES = frozenset((
    "_to_copy", "cat", "channel_shuffle", "clone", "constant_pad_nd", "copy", "embedding", "flip", "gather", "im2col",
    "index", "index_put", "index_select", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat", "replication_pad1d", "replication_pad2d",
    "replication_pad3d", "roll", "rot90", "scatter", "select_scatter", "slice_scatter", "stack", "tril", "triu",
))
# Free, and only their results are written.
FILLS = frozenset((
    "arange", "eye", "fill", "full", "full_like", "linspace", "new_full", "new_ones", "new_zeros", "ones", "ones_like",
    "scalar_tensor", "zero", "zeros", "zeros_like",
))
# fmt: on
OTHER = (ELEMENTWISE, REDUCTIONS, INTERPOLATION, SAMPLING, WINDOWS)
FREE = (VIEWS, COPIES, FILLS)


def effort(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], results: Any) -> Effort | None:
    """Return what a call cost, or ``None`` if the operator is unknown.

    Args:
        name: As :func:`operator_name` gives it.
        args: Positional arguments of the call.
        kwargs: Other arguments of the call.
        results: A tensor, or a sequence that starts with the one that matters.
    """
    base = name.removesuffix("_")
    if base in VIEWS:
        return Effort()
    if base in FILLS:
        return Effort(bytes_moved=_bytes((results,)))
    out = results[0] if isinstance(results, (tuple, list)) else results
    moved = _bytes(args) + _bytes(kwargs.values()) + _bytes((results,))
    if base in COUNTED:
        macs, bias_adds = COUNTED[base](args, out)
        return Effort(macs, bias_adds, 0, moved)
    work = 0 if base in COPIES else _other_work(base, args, out)
    return None if work is None else Effort(0, 0, work, moved)


def operator_name(operator: Any) -> str:
    """Return the name of an aten operator without overload; one of another library keeps its namespace."""
    name: str = operator.overloadpacket.__name__
    return name if operator.namespace == "aten" else f"{operator.namespace}::{name}"


def _other_work(name: str, args: Sequence[Any], out: torch.Tensor) -> int | None:
    units: int | None = None
    if name in ELEMENTWISE:
        units = out.numel()
    elif name in REDUCTIONS:
        units = args[0].numel()
    elif name in INTERPOLATION:
        units = out.numel() * INTERPOLATION[name]
    elif name in SAMPLING:
        units = out.numel() * SAMPLING[name][args[2]]
    elif name in WINDOWS:
        sides = args[1] if len(args[1]) > 1 else [*args[1]] * WINDOWS[name]
        units = out.numel() * math.prod(sides)
    return units


def _bytes(values: Iterable[Any]) -> int:
    """Return the bytes of all tensors in ``values``, also in sequences inside."""
    total = 0
    for value in values:
        if isinstance(value, torch.Tensor):
            total += value.nbytes
        elif isinstance(value, (tuple, list)):
            total += _bytes(value)
    return total
