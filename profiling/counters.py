"""The two published counters beside the counter of record, and their reconciliation to the unit.

fvcore adds normalisation, pooling and interpolation; ptflops (https://github.com/sovrasov/flops-counter.pytorch,
backend ``aten``) adds biases. What they are known to add is declared here, per operator, and worked out from the calls
that the counter of record sees. Each works on its own copy without data: nothing is executed at any size.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ptflops import get_model_complexity_info
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from srnas.profiling.counting import CountingMode, Counts, InputShape, count_with, empty_input
from srnas.profiling.meta import RememberingMode, to_meta
from srnas.profiling.operators import Effort
from srnas.profiling.tracing import count_fvcore

_POOLING = "_adaptive_avg_pool2d"

_Adds = Callable[[Sequence[Any], torch.Tensor], int]


def _per_result(factor: int) -> _Adds:
    return lambda _, out: factor * out.numel()


def _norm(weight: int, training: int | None = None, always: bool = False) -> _Adds:
    """Return what fvcore counts of a norm: 5 per element with a weight and 4 without, of a running one 2 and 1.

    Args:
        weight: Place of the weight among the arguments.
        training: Place of the argument that says whether the statistics are the input's, or ``None``.
        always: Whether, without such an argument, they are.
    """

    def count(args: Sequence[Any], out: torch.Tensor) -> int:
        own = always if training is None else args[training]
        return out.numel() * ((4 if own else 1) + (args[weight] is not None))

    return count


# What fvcore adds to MACs. source: fvcore/nn/flop_count.py, jit_handles.py.
_FVCORE_ADDS: Mapping[str, _Adds] = {
    "grid_sampler_2d": _per_result(4),
    "grid_sampler_3d": _per_result(4),
    "upsample_bilinear2d": _per_result(4),
    "upsample_nearest2d": _per_result(1),
    "native_batch_norm": _norm(1, training=5),
    "_native_batch_norm_legit": _norm(1, training=5),
    "_native_batch_norm_legit_no_training": _norm(1),
    "native_group_norm": _norm(1, always=True),
    "native_layer_norm": _norm(2, always=True),
}
# What ptflops counts, and where it adds the bias. source: ptflops/aten_ops.py.
_PTFLOPS_COUNTS = frozenset(("addmm", "bmm", "convolution", "matmul", "mm"))


@dataclass(frozen=True)
class Reconciliation:
    """Three counts of one network, with the differences explained per operator.

    Attributes:
        record: The counter of record.
        fvcore_macs: What fvcore reports, with our handles for products that it does not know.
        fvcore_extras: What fvcore is known to add, by operator.
        fvcore_unsupported: Operators that fvcore counts as 0 without being told to, and how often they ran.
        fvcore_uncalled: Modules that fvcore saw no call of: what they do is counted where their weights are used.
        ptflops_macs: What ptflops (backend ``aten``) reports.
        ptflops_extras_by_operator: What ptflops is known to add, by operator: biases; and, negative, what it misses:
            products of a kind that it does not know.
    """

    record: Counts
    fvcore_macs: int
    fvcore_extras: Mapping[str, int]
    fvcore_unsupported: Mapping[str, int]
    fvcore_uncalled: tuple[str, ...]
    ptflops_macs: int
    ptflops_extras_by_operator: Mapping[str, int]

    @property
    def ptflops_extras(self) -> int:
        """All that ptflops is known to add."""
        return sum(self.ptflops_extras_by_operator.values())

    @property
    def fvcore_difference(self) -> int:
        """Fvcore less record and extras; 0 when reconciled."""
        return self.fvcore_macs - self.record.macs - sum(self.fvcore_extras.values())

    @property
    def ptflops_difference(self) -> int:
        """Ptflops less record and extras; 0 when reconciled."""
        return self.ptflops_macs - self.record.macs - self.ptflops_extras

    @property
    def agrees(self) -> bool:
        """Whether all three counters agree to the unit, and no operator is unknown to ours."""
        return not (self.fvcore_difference or self.ptflops_difference or self.record.unknown)

    @property
    def equations(self) -> tuple[str, str]:
        """The two counters as sums, such as ``fvcore 1,536 = record 1,152 + upsample_bilinear2d 384``."""
        return (
            self._equation("fvcore", self.fvcore_macs, self.fvcore_extras, self.fvcore_difference),
            self._equation("ptflops", self.ptflops_macs, self.ptflops_extras_by_operator, self.ptflops_difference),
        )

    def _equation(self, name: str, macs: int, extras: Mapping[str, int], difference: int) -> str:
        terms = {**extras, **({"unexplained": difference} if difference else {})}
        added = (f" {'-' if units < 0 else '+'} {term} {abs(units):,}" for term, units in terms.items())
        return f"{name} {macs:,} = record {self.record.macs:,}{''.join(added)}"


def reconcile(network: nn.Module, input_shape: InputShape) -> Reconciliation:
    """Count ``network`` three times, on copies without data: it is neither executed nor changed.

    Raises:
        InputError: If ``input_shape`` is not four positive integers.
        RuntimeError: If ptflops cannot count the network.
    """
    declaring = _DeclaringMode()
    with _PoolingMode(declaring.fvcore_adds):
        record = count_with(declaring, network, input_shape)
    counted, unsupported, uncalled = count_fvcore(on_meta := to_meta(network), empty_input(on_meta, input_shape))
    return Reconciliation(
        record=record,
        fvcore_macs=int(counted.total()),
        fvcore_extras={name: units for name, units in sorted(declaring.fvcore_adds.items()) if units},
        fvcore_unsupported=dict(unsupported),
        fvcore_uncalled=uncalled,
        ptflops_macs=_count_ptflops(network, input_shape),
        ptflops_extras_by_operator=dict(sorted(declaring.ptflops_adds.items())),
    )


class _DeclaringMode(CountingMode):
    """Counts, and notes what the other two are known to add."""

    def __init__(self) -> None:
        super().__init__()
        self.fvcore_adds: Counter[str] = Counter()
        self.ptflops_adds: Counter[str] = Counter()

    def on_operator(self, name: str, args: Sequence[Any], results: Any, spent: Effort) -> None:
        super().on_operator(name, args, results, spent)
        if name in _FVCORE_ADDS:
            self.fvcore_adds[name] += _FVCORE_ADDS[name](args, results[0] if isinstance(results, tuple) else results)
        adds = spent.bias_adds if name in _PTFLOPS_COUNTS else -spent.macs
        if adds:
            self.ptflops_adds[name] += adds


class _PoolingMode(TorchFunctionMode):
    """Notes adaptive average pooling, which fvcore counts: to 1x1 it is dispatched as a mean, which fvcore does not."""

    def __init__(self, adds: Counter[str]) -> None:
        super().__init__()
        self._adds = adds

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.adaptive_avg_pool2d, F.interpolate):
            x = args[0] if args else kwargs["input"]
            by_area = "area" in (*args[3:4], kwargs.get("mode")) and x.ndim == 4
            self._adds[_POOLING] += x.numel() if by_area or func is F.adaptive_avg_pool2d else 0
        return func(*args, **kwargs)


def _count_ptflops(network: nn.Module, input_shape: InputShape) -> int:
    on_meta, said = to_meta(network), io.StringIO()
    # It prints what goes wrong, and returns nothing.
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), torch.no_grad(), RememberingMode():
        macs, _ = get_model_complexity_info(
            on_meta,
            tuple(input_shape[1:]),
            print_per_layer_stat=False,
            as_strings=False,
            backend="aten",
            input_constructor=lambda _: empty_input(on_meta, input_shape),
        )
    if macs is None:
        raise RuntimeError(f"ptflops could not count the network: {said.getvalue().strip()}")
    return int(macs)
