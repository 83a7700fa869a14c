"""What counters report of single blocks, as a deviation from the exact MACs, and how long each takes.

The exact MACs are the closed forms that the blocks state (``Block.macs``), not a count. The blocks are in eval mode and
not folded, since batch norm is what some counters add. The counters are used as their users use them:

* ours: ``srnas.profiling.count``, on tensors without data;
* fvcore: ``FlopCountAnalysis`` as shipped, without our handles; it executes the block;
* ptflops with the backend ``pytorch``, which executes the block too: without data it would count what PyTorch's own
  Python code for such tensors calls; and with the backend ``aten``, without data;
* torch: half of what ``FlopCounterMode`` reports, once without data and once executed, where the CPU's kernel of
  scaled dot-product attention is one that it does not know;
* thop and torchinfo execute the block; they are optional.

The second table is ours for all published networks in deploy form, at the input of a 1280x720 output and at a 4K
output's; a time is the fastest of some, copying of the network included.

Run it with ``python benchmarks/counting.py``; executing the non-local block takes some seconds and 3 GB.
"""

import argparse
import contextlib
import copy
import importlib.util
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from fvcore.nn import FlopCountAnalysis
from ptflops import get_model_complexity_info
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from srnas.nas.cli.boundary import told_errors
from srnas.profiling import InputShape, count
from srnas.profiling.meta import to_meta
from srnas.search_space import PUBLISHED, REGISTRY, Network, build_block, published
from srnas.search_space.blocks.nonlocal_ import NonLocal

_BLOCKS: Mapping[str, tuple[str, dict[str, object]]] = {
    "LIA": ("lia", {}),
    "AAB": ("aab", {}),
    "MLKA": ("mlka", {}),
    "PSA": ("psa_parallel", {}),
    "CBAM": ("cbam", {}),
    "SKConv": ("sk", {"form": "port", "groups": 8, "norm": "batch"}),
    "Non-local, matmul": ("nonlocal", {"sub_sample": "none"}),
    "Non-local, SDPA": ("nonlocal", {"sub_sample": "none"}),
}
_OUTPUTS = {"1280x720": (1280, 720), "3840x2160": (3840, 2160)}

Counter = Callable[[nn.Module, InputShape], float | None]


class _FusedNonLocal(NonLocal):
    """The same block with PyTorch's scaled dot-product attention."""

    def _attend_in_budget(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        # The fused kernel of a CPU takes contiguous tensors only.
        heads = (tensor[:, None].contiguous() for tensor in (query, key.mT, value))
        return F.scaled_dot_product_attention(*heads, scale=1.0)[:, 0]


def _ours(block: nn.Module, shape: InputShape) -> float:
    return count(block, shape).macs


def _fvcore(block: nn.Module, shape: InputShape) -> float:
    analysis = FlopCountAnalysis(block, torch.zeros(shape))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return float(analysis.total())


def _ptflops(backend: str) -> Counter:
    def counted(block: nn.Module, shape: InputShape) -> float | None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            own = to_meta(block) if backend == "aten" else block
            macs, _ = get_model_complexity_info(
                own, shape[1:], print_per_layer_stat=False, as_strings=False, backend=backend
            )
        return None if macs is None else float(macs)

    return counted


def _torch(device: str) -> Counter:
    def counted(block: nn.Module, shape: InputShape) -> float:
        there = to_meta(block) if device == "meta" else block
        with FlopCounterMode(display=False) as mode:
            there(torch.zeros(shape, device=device))
        return mode.get_total_flops() / 2

    return counted


def _thop(block: nn.Module, shape: InputShape) -> float:
    from thop import profile

    return float(profile(block, (torch.zeros(shape),), verbose=False)[0])


def _torchinfo(block: nn.Module, shape: InputShape) -> float:
    from torchinfo import summary

    return float(summary(block, shape, verbose=0, device="cpu").total_mult_adds)


_COUNTERS: Mapping[str, Counter] = {
    "ours": _ours,
    "fvcore": _fvcore,
    "ptflops pytorch": _ptflops("pytorch"),
    "ptflops aten": _ptflops("aten"),
    "torch meta": _torch("meta"),
    "torch CPU": _torch("cpu"),
    "thop": _thop,
    "torchinfo": _torchinfo,
}


def _build(label: str, channels: int) -> tuple[nn.Module, Callable[[int, int], int]]:
    """Return a block and its closed form of height and width."""
    name, options = _BLOCKS[label]
    cls = REGISTRY.block(name)
    config = cls.Config(**options)
    fused = label.endswith("SDPA")
    block = _FusedNonLocal(channels, config) if fused else build_block(name, channels, **options)  # type: ignore[arg-type]
    return block.eval(), lambda height, width: cls.macs(channels, height, width, config)


def _run(counter: Counter, block: nn.Module, shape: InputShape) -> tuple[float | None, float]:
    """Return what a counter reports of a copy, and its time in ms."""
    own = copy.deepcopy(block)
    started = time.perf_counter()
    with torch.no_grad():
        macs = counter(own, shape)
    return macs, 1e3 * (time.perf_counter() - started)


def _print_blocks(channels: int, size: int) -> None:
    absent = [name for name in ("thop", "torchinfo") if importlib.util.find_spec(name) is None]
    counters = {name: counter for name, counter in _COUNTERS.items() if name not in absent}
    shape = (1, channels, size, size)
    deviations, times = [], []
    for counter in counters.values():  # The first call of each loads more than it counts.
        _run(counter, _build("LIA", channels)[0], (1, channels, 7, 7))
    for label in _BLOCKS:
        block, macs = _build(label, channels)
        exact = macs(size, size)
        found = {name: _run(counter, block, shape) for name, counter in counters.items()}
        reported = {name: "failed" if got is None else _deviation(got, exact) for name, (got, _) in found.items()}
        reported |= dict.fromkeys(absent, "not installed")
        deviations.append([label, f"{exact / 1e6:,.3f}", *(reported[name] for name in _COUNTERS)])
        times.append([label, "", *(f"{found[name][1]:,.1f}" if name in found else "" for name in _COUNTERS)])
    print(f"Deviation from the exact MACs, {channels} channels, {size}x{size}; torch: FlopCounterMode / 2\n")
    _print_table(["block", "exact M", *_COUNTERS], deviations)
    print("\nTime in ms of one call; fvcore, ptflops pytorch, torch CPU, thop and torchinfo execute the block\n")
    _print_table(["block", "", *_COUNTERS], times)


def _deviation(got: float, exact: int) -> str:
    return "0" if got == exact else f"{100 * (got - exact) / exact:+.2f} %"


def _print_networks(names: Sequence[str], repeats: int) -> None:
    rows = []
    for name in names:
        for scale in (2, 3, 4):
            network = Network(published(name, scale)).deploy()
            row = [name, f"x{scale}", f"{len(list(network.modules())):,}"]
            for width, height in _OUTPUTS.values():
                shape = (1, 3, height // scale, width // scale)
                fastest = min(_run(_ours, network, shape)[1] for _ in range(repeats))
                row += [f"{count(network, shape).macs / 1e9:,.1f}", f"{fastest:.1f}"]
            rows.append(row)
    heads = [head for output in _OUTPUTS for head in (f"{output} GMACs", "ms")]
    print(f"\nOurs, published networks in deploy form, by output; fastest of {repeats}\n")
    _print_table(["network", "scale", "modules", *heads], rows)


def _print_table(heads: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]))


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description="What counters report of single blocks, and how long they take.")
    parser.add_argument("--channels", type=int, default=48, help="of the blocks; a multiple of 24")
    parser.add_argument("--size", type=int, default=128, help="height and width of the blocks' input")
    parser.add_argument("--networks", nargs="+", choices=PUBLISHED, default=list(PUBLISHED), help="published networks")
    parser.add_argument("--repeats", type=int, default=5, help="counts of each network, of which the fastest stands")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of what is executed")
    options = parser.parse_args()
    if min(options.channels, options.size, options.repeats, options.threads) < 1:
        parser.error(f"all options must be at least 1, but got {vars(options)}")
    if options.channels % 24:
        parser.error(f"channels must be a multiple of 24, but got {options.channels}; use 24 or 48.")
    warnings.filterwarnings("ignore", "`torch.jit.*is deprecated", DeprecationWarning)
    torch.set_num_threads(options.threads)
    _print_blocks(options.channels, options.size)
    _print_networks(options.networks, options.repeats)


if __name__ == "__main__":
    with told_errors("counting.py"):
        main()
