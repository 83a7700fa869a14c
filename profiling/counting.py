"""The counter of record: sizes of a network from one pass over meta tensors, exact at any resolution.

Definition: MACs = multiply-accumulate pairs of convolution, linear, matrix product and attention; zero-padding taps
included, bias excluded. Every aten operator is *counted* as MACs, counted as *other* work, *free* by declaration, or
*unknown*; an unknown one is named in the result, never a silent zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from srnas.profiling.meta import RememberingMode, to_meta
from srnas.profiling.operators import Effort, effort, operator_name
from srnas.search_space import InputError

MACS_DEFINITION = (
    "MACs = multiply-accumulate pairs of convolution, linear, matrix product and attention; "
    "zero-padding taps included, bias excluded"
)

InputShape = tuple[int, int, int, int]


@dataclass(frozen=True)
class ModuleCounts:
    """Sizes of a part of a network; the words are those of :class:`Counts`. Parts can be added and subtracted."""

    params: int = 0
    macs: int = 0
    other_ops: int = 0
    activations: int = 0
    bytes_moved: int = 0

    def __add__(self, other: "ModuleCounts") -> "ModuleCounts":
        return ModuleCounts(*(a + b for a, b in zip(self._values, other._values, strict=True)))

    def __sub__(self, other: "ModuleCounts") -> "ModuleCounts":
        return ModuleCounts(*(a - b for a, b in zip(self._values, other._values, strict=True)))

    @property
    def _values(self) -> tuple[int, ...]:
        return self.params, self.macs, self.other_ops, self.activations, self.bytes_moved


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
        bytes_moved: Bytes that operators read and write, as if nothing was fused and no cache held: each reads its
            tensors and writes its results once, a view moves nothing, and an unknown operator is left out.
        operators: Calls of operators that move bytes: what a runtime that fuses nothing launches.
        dtype: Data type of the input, for which ``bytes_moved`` is stated: ``float32``, ``float16``, ...
        by_module: Sizes of every module by its path, with those of its submodules: ``""`` is the network. An operator
            belongs to the innermost module that was called, a shared parameter to the first that has it.
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
    bytes_moved: int
    operators: int
    dtype: str
    by_module: Mapping[str, ModuleCounts]


class CountingMode(RememberingMode):
    """Counts what runs, in all and for the module that is being called."""

    def __init__(self) -> None:
        super().__init__()
        self.macs: Counter[str] = Counter()
        self.other: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.bias_adds = 0
        self.operators = 0
        # MACs, other work, activations and bytes by path, and those of the modules that are being called.
        self.parts: dict[str, list[int]] = {}
        self._called = [[0, 0, 0, 0]]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = super().__torch_dispatch__(func, types, args, kwargs)
        name = operator_name(func)
        spent = effort(name, args, kwargs or {}, results)
        if spent is None:
            self.unknown[name] += 1
        else:
            self.on_operator(name, args, results, spent)
        return results

    def on_operator(self, name: str, args: Sequence[Any], results: Any, spent: Effort) -> None:
        """Add what a call of a known operator cost."""
        self.macs[name] += spent.macs
        self.other[name] += spent.other
        self.bias_adds += spent.bias_adds
        self.operators += spent.bytes_moved > 0
        part = self._called[-1]
        part[0] += spent.macs
        part[1] += spent.other + spent.bias_adds
        part[2] += results.numel() if name == "convolution" else 0
        part[3] += spent.bytes_moved

    def watch(self, network: nn.Module) -> None:
        """Register hooks that tell which module is being called."""
        for path, module in network.named_modules():
            part = self.parts[path] = [0, 0, 0, 0]
            module.register_forward_pre_hook(lambda *_, part=part: self._called.append(part))
            module.register_forward_hook(lambda *_: self._leave())

    def _leave(self) -> None:
        self._called.pop()


def count(network: nn.Module, input_shape: InputShape, *, dtype: torch.dtype | None = None) -> Counts:
    """Count the sizes of ``network`` at ``input_shape`` without executing it.

    Args:
        network: Any module of one tensor argument; a copy on meta tensors in eval mode is counted.
        input_shape: ``(B, C, H, W)``, four positive integers.
        dtype: Data type in which it runs, or ``None`` for that of its parameters.

    Raises:
        InputError: If ``input_shape`` is not four positive integers.
    """
    return count_with(CountingMode(), network, input_shape, dtype)


def count_with(
    mode: CountingMode, network: nn.Module, input_shape: InputShape, dtype: torch.dtype | None = None
) -> Counts:
    """Count by means of a mode that may note more than the counts."""
    check_input_shape(input_shape)
    on_meta = to_meta(network, dtype)
    x = empty_input(on_meta, input_shape)
    mode.watch(on_meta)
    with torch.no_grad(), mode:
        on_meta(x)
    by_module = _by_module(on_meta, mode.parts)
    total = by_module[""]
    other = {name: work for name, work in sorted(mode.other.items()) if work}
    if mode.bias_adds:
        other["bias"] = mode.bias_adds
    return Counts(
        input_shape=input_shape,
        params=total.params,
        macs=total.macs,
        other_ops=total.other_ops,
        activations=total.activations,
        macs_by_operator={name: macs for name, macs in sorted(mode.macs.items()) if macs},
        other_by_operator=other,
        bias_adds=mode.bias_adds,
        unknown=dict(sorted(mode.unknown.items())),
        bytes_moved=total.bytes_moved,
        operators=mode.operators,
        dtype=str(x.dtype).removeprefix("torch."),
        by_module=by_module,
    )


def _by_module(network: nn.Module, parts: Mapping[str, Sequence[int]]) -> dict[str, ModuleCounts]:
    """Return the sizes of every module with its submodules, from those of each module itself."""
    seen: set[int] = set()
    found: dict[str, list[int]] = {}
    for path, module in network.named_modules():
        own = {id(p): p.numel() for p in module.parameters(recurse=False) if id(p) not in seen}
        seen.update(own)
        found[path] = [sum(own.values()), *parts[path]]
    # Parents stand before their children.
    for path in reversed(found):
        if path:
            parent = found[path.rpartition(".")[0]]
            parent[:] = map(sum, zip(parent, found[path], strict=True))
    return {path: ModuleCounts(*sizes) for path, sizes in found.items()}


def empty_input(network: nn.Module, input_shape: InputShape) -> torch.Tensor:
    """Return an input without data, of the type of the network's parameters."""
    types = (parameter.dtype for parameter in network.parameters() if parameter.is_floating_point())
    return torch.empty(input_shape, device="meta", dtype=next(types, None))


def check_input_shape(input_shape: Sequence[int]) -> None:
    """Raise ``InputError`` unless ``input_shape`` is four positive integers."""
    if len(input_shape) != 4 or any(side < 1 for side in input_shape):
        raise InputError(f"input_shape must be four positive integers (B, C, H, W), but got {tuple(input_shape)}.")
