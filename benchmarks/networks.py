"""All published networks beside each other: sizes, and latency in two runtimes, in one run.

Sizes are those of the deploy form. Every round times every network in every runtime once, in random order, so that what
else the machine does befalls all of them alike; the fastest round stands in the table.

Run it with ``python benchmarks/networks.py``. ``--networks`` takes some of them only.
"""

import argparse
import sys
from dataclasses import dataclass, replace

import torch

from srnas.nas.cli.boundary import told_errors
from srnas.nas.run.request import parse_size
from srnas.profiling import Counts, LatencyProtocol, Measurement, Target, count, default_protocol, measure_latency
from srnas.search_space import PUBLISHED, Network, published

# No round is to be cut off: the largest network takes longer than all others together.
_PATIENCE_S = 24 * 3600.0


@dataclass(frozen=True)
class _Sizes:
    name: str
    counts: Counts


def _protocol(target: Target, rounds: int) -> LatencyProtocol:
    endless = {"max_time_s": _PATIENCE_S, "give_up_s": _PATIENCE_S}
    return replace(default_protocol(target), min_rounds=rounds, max_rounds=rounds, warmup_min_s=0.0, **endless)


def _print(sizes: list[_Sizes], runtimes: list[str], measured: Measurement, rounds: int) -> None:
    profiles = "; ".join(dict.fromkeys(map(str, measured.devices.values())))
    print(f"{profiles}; fastest of {rounds} rounds, all networks and runtimes in each")
    heads = ["network", "params", "MACs G", "acts M", *(f"ms {runtime}" for runtime in runtimes)]
    print(f"\n| {' | '.join(heads)} |")
    print(f"|{'---|' * len(heads)}")
    for one in sizes:
        counts = one.counts
        row = [f"`{one.name}`", f"{counts.params:,}", f"{counts.macs / 1e9:,.2f}", f"{counts.activations / 1e6:,.1f}"]
        row += [f"{measured.latencies[f'{one.name}@{runtime}'].fastest_ms:,.1f}" for runtime in runtimes]
        print(f"| {' | '.join(row)} |")
    disturbed = [name for name, latency in measured.latencies.items() if "disturbed" in latency.flags]
    print(f"\ndisturbed by other work: {len(disturbed)} of {len(measured.latencies)}")


def main() -> None:
    """Count, measure and print."""
    parser = argparse.ArgumentParser(description="Published networks: sizes, and latency in two runtimes.")
    parser.add_argument("--networks", nargs="+", choices=PUBLISHED, default=list(PUBLISHED), help="published networks")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4, help="upscaling factor")
    parser.add_argument("--output", default="1280x720", help="width and height of the output")
    parser.add_argument("--runtimes", nargs="+", default=["eager", "onnxruntime"], help="runtimes of 'srnas profile'")
    parser.add_argument("--rounds", type=int, default=6, help="rounds, of which the fastest stands")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    height, width = parse_size(options.output, "--output")
    shape = (1, 3, height // options.scale, width // options.scale)
    target = Target(torch.device("cpu"), threads=options.threads)
    sizes, networks, targets = [], {}, {}
    for name in options.networks:
        network = Network(published(name, options.scale)).deploy()
        sizes.append(_Sizes(name, count(network, shape)))
        for runtime in options.runtimes:
            networks[f"{name}@{runtime}"] = network
            targets[f"{name}@{runtime}"] = replace(target, runtime=runtime)
    measured = measure_latency(
        networks,
        shape,
        targets,
        protocol=_protocol(target, options.rounds),
        on_round=lambda done: print(f"round {done} of {options.rounds}", file=sys.stderr, flush=True),
    )
    _print(sizes, options.runtimes, measured, options.rounds)


if __name__ == "__main__":
    with told_errors("networks.py"):
        main()
