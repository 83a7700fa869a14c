"""The two published counters beside the counter of record, and their reconciliation to the unit.

fvcore (https://github.com/facebookresearch/fvcore) runs the forward pass and adds normalisation and interpolation;
ptflops (https://github.com/sovrasov/flops-counter.pytorch, backend ``aten``) adds biases. Both work on copies.
"""

import contextlib
import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from fvcore.nn import FlopCountAnalysis
from ptflops import get_model_complexity_info
from torch import nn

from srnas.profiling.counting import Counts, InputShape, count, to_meta

# What fvcore adds to MACs per unit of our ``other_by_operator``. source: fvcore/nn/flop_count.py, jit_handles.py.
_FVCORE_EXTRAS = {
    "_adaptive_avg_pool2d": 1,
    "grid_sampler_2d": 1,
    "upsample_bilinear2d": 1,
    "upsample_nearest2d": 1,
    "native_batch_norm": 2,
    "_native_batch_norm_legit_no_training": 2,
    "native_layer_norm": 5,
}


@dataclass(frozen=True)
class Reconciliation:
    """Three counts of one network, with the differences explained.

    Attributes:
        record: The counter of record.
        fvcore_macs: What fvcore reports.
        fvcore_extras: What fvcore is known to add, by operator.
        fvcore_unsupported: Operators that fvcore counts as 0, and how often they ran.
        ptflops_macs: What ptflops (backend ``aten``) reports.
        ptflops_extras: What ptflops is known to add: the biases.
    """

    record: Counts
    fvcore_macs: int
    fvcore_extras: Mapping[str, int]
    fvcore_unsupported: Mapping[str, int]
    ptflops_macs: int
    ptflops_extras: int

    @property
    def fvcore_difference(self) -> int:
        """Fvcore less record and extras; 0 when reconciled."""
        return self.fvcore_macs - self.record.macs - sum(self.fvcore_extras.values())

    @property
    def ptflops_difference(self) -> int:
        """Ptflops less record and biases; 0 when reconciled."""
        return self.ptflops_macs - self.record.macs - self.ptflops_extras

    @property
    def agrees(self) -> bool:
        """Whether all three counters agree to the unit, and no operator is unknown to ours."""
        return not (self.fvcore_difference or self.ptflops_difference or self.record.unknown)


def reconcile(network: nn.Module, input_shape: InputShape) -> Reconciliation:
    """Count ``network`` three times; it is not changed.

    fvcore executes one forward pass at ``input_shape`` on the network's device; the others execute nothing.

    Raises:
        InputError: If ``input_shape`` is not four positive integers.
    """
    record = count(network, input_shape)
    fvcore_macs, unsupported = _count_fvcore(network, input_shape)
    extras = {
        name: record.other_by_operator[name] * factor
        for name, factor in _FVCORE_EXTRAS.items()
        if name in record.other_by_operator
    }
    return Reconciliation(
        record, fvcore_macs, extras, unsupported, _count_ptflops(network, input_shape), record.bias_adds
    )


def _count_fvcore(network: nn.Module, input_shape: InputShape) -> tuple[int, dict[str, int]]:
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        analysis = FlopCountAnalysis(copy.deepcopy(network).eval(), torch.zeros(input_shape, device=device))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.total()), dict(analysis.unsupported_ops())


def _count_ptflops(network: nn.Module, input_shape: InputShape) -> int:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        macs, _ = get_model_complexity_info(
            to_meta(network),
            tuple(input_shape[1:]),
            print_per_layer_stat=False,
            as_strings=False,
            backend="aten",
        )
    if macs is None:
        raise RuntimeError(f"ptflops could not count the network: {said.getvalue().strip()}")
    return int(macs)
