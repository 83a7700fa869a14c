"""The counter of record: sizes of a network from one pass over meta tensors, exact at any resolution.

Definition: MACs = multiply-accumulate pairs of convolution, linear, matrix product and attention; zero-padding taps
included, bias excluded. Every aten operator is *counted* as MACs, counted as *other* work, *free* by declaration, or
*unknown*; an unknown one is named in the result, never a silent zero.
"""

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from srnas.search_space import InputError

MACS_DEFINITION = (
    "MACs = multiply-accumulate pairs of convolution, linear, matrix product and attention; "
    "zero-padding taps included, bias excluded"
)

InputShape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Counts:
    """Sizes of a network at a stated input.

    Attributes:
        input_shape: ``(B, C, H, W)`` of the input.
        params: All parameters, frozen ones included.
        macs: Multiply-accumulates as defined above.
        other_ops: Results of elementwise, reduction, pooling and interpolation operators, and bias additions.
        activations: Elements of all convolution outputs.
        macs_by_operator: MACs per aten operator.
        other_by_operator: Other work per aten operator.
        bias_adds: The part of ``other_ops`` that adds biases of convolutions and linear layers.
        unknown: Operators that are neither counted nor declared free, and how often they ran.
    """

    input_shape: InputShape
    params: int
    macs: int
    other_ops: int
    activations: int
    macs_by_operator: Mapping[str, int]
    other_by_operator: Mapping[str, int]
    bias_adds: int
    unknown: Mapping[str, int]


def _convolution(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    x, weight, bias, transposed = args[0], args[1], args[2], args[6]
    positions = math.prod((x if transposed else out).shape[2:])
    return x.shape[0] * weight.numel() * positions, 0 if bias is None else out.numel()


def _addmm(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    return out.numel() * args[1].shape[-1], out.numel()


def _product(args: Sequence[Any], out: torch.Tensor) -> tuple[int, int]:
    return out.numel() * args[0].shape[-1], 0


# Operator -> (MACs, bias additions) of one call.
_MACS: dict[str, Callable[[Sequence[Any], torch.Tensor], tuple[int, int]]] = {
    "convolution": _convolution,
    "addmm": _addmm,
    "mm": _product,
    "bmm": _product,
}

# Work per element of the result.
# fmt: off
_ELEMENTWISE = frozenset((
    "abs", "add", "add_", "clamp", "div", "eq", "exp", "ge", "gelu", "gt", "le", "leaky_relu", "leaky_relu_", "log",
    "lt", "mul", "mul_", "ne", "pow", "relu", "relu_", "rsqrt", "sigmoid", "sigmoid_", "silu", "sqrt", "sub", "tanh",
    "where", "_softmax",
    "native_batch_norm", "_native_batch_norm_legit_no_training", "native_layer_norm",
))
# fmt: on
# Work per element of the input.
_REDUCTIONS = frozenset(("_adaptive_avg_pool2d", "amax", "logsumexp", "mean", "sum", "var"))
# Work per element of the result: taps of the interpolation, elements of the window.
_INTERPOLATION = {"grid_sampler_2d": 4, "upsample_bilinear2d": 4, "upsample_nearest2d": 1}
_WINDOWS = frozenset(("avg_pool2d", "max_pool2d_with_indices"))
# fmt: off
_FREE = frozenset((
    "_to_copy", "_unsafe_view", "alias", "arange", "cat", "clone", "constant_pad_nd", "detach", "empty", "empty_like",
    "expand", "full", "new_ones", "permute", "pixel_shuffle", "reshape", "select", "slice", "split",
    "split_with_sizes", "squeeze", "stack", "t", "transpose", "unbind", "unsqueeze", "view",
))
# fmt: on


def _other_work(name: str, args: Sequence[Any], out: torch.Tensor) -> int | None:
    """Return the work of an operator without MACs, or ``None`` if it is not known."""
    if name in _ELEMENTWISE:
        return out.numel()
    if name in _REDUCTIONS:
        return int(args[0].numel())
    if name in _INTERPOLATION:
        return out.numel() * _INTERPOLATION[name]
    if name in _WINDOWS:
        return out.numel() * int(math.prod(args[1]))
    return 0 if name in _FREE else None


class _CountingMode(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()
        self.other: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.bias_adds = 0
        self.activations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        out = result[0] if isinstance(result, (tuple, list)) else result
        if name in _MACS:
            macs, bias_adds = _MACS[name](args, out)
            self.macs[name] += macs
            self.bias_adds += bias_adds
            self.activations += out.numel() if name == "convolution" else 0
        elif (work := _other_work(name, args, out)) is not None:
            self.other[name] += work
        else:
            self.unknown[name] += 1
        return result


def count(network: nn.Module, input_shape: InputShape) -> Counts:
    """Count the sizes of ``network`` at ``input_shape`` without executing it.

    Args:
        network: Any module of one tensor argument; a copy on meta tensors in eval mode is counted.
        input_shape: ``(B, C, H, W)``, four positive integers.

    Raises:
        InputError: If ``input_shape`` is not four positive integers.
    """
    check_input_shape(input_shape)
    on_meta = to_meta(network)
    mode = _CountingMode()
    with torch.no_grad(), mode:
        on_meta(torch.empty(input_shape, device="meta"))
    other = {name: work for name, work in sorted(mode.other.items()) if work}
    if mode.bias_adds:
        other["bias"] = mode.bias_adds
    return Counts(
        input_shape=input_shape,
        params=sum(parameter.numel() for parameter in network.parameters()),
        macs=mode.macs.total(),
        other_ops=sum(other.values()),
        activations=mode.activations,
        macs_by_operator=dict(sorted(mode.macs.items())),
        other_by_operator=other,
        bias_adds=mode.bias_adds,
        unknown=dict(sorted(mode.unknown.items())),
    )


def to_meta(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose tensors have shapes but no data; ``network`` is not changed."""
    return copy.deepcopy(network).to("meta").eval()


def check_input_shape(input_shape: Sequence[int]) -> None:
    """Raise ``InputError`` unless ``input_shape`` is four positive integers."""
    if len(input_shape) != 4 or any(side < 1 for side in input_shape):
        raise InputError(f"input_shape must be four positive integers (B, C, H, W), but got {tuple(input_shape)}.")
