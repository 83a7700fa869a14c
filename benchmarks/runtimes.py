"""What runs where: every block, or every published network, in every runtime of this machine.

Blocks have 24 channels and maps of 64x64 pixels; networks are at the given scale, with inputs of 64x64 pixels. Eight at
a time are timed in the same rounds, each in all runtimes, in random order: compare within a row. A cell is the time
beside eager's, which stands in ms, with the largest difference to eager float32 where it is above 1e-4; ``no``: the
runtime refuses it, for the reason below the table.

    python benchmarks/runtimes.py [--runtimes onnxruntime,openvino,ncnn] [--networks] [--only lia,aab] [--scale 2]
"""

import argparse
import sys
from collections.abc import Mapping

from torch import nn

from srnas.nas.cli.boundary import told_errors
from srnas.profiling import Latency, LatencyProtocol, Target, measure_latency
from srnas.profiling.runtimes import RUNTIMES, RuntimeFailedError, prepare
from srnas.search_space import PUBLISHED, REGISTRY, Network, build_block, published
from srnas.search_space.registry import fold_all

CHANNELS, SIDE = 24, 64
# What is timed side by side.
_TOGETHER = 8
_PROTOCOL = LatencyProtocol(warmup_min_s=0.05, warmup_cap_s=0.5, window_calls=4, min_rounds=6, max_rounds=6, gap_ms=0)
_SHOWN_GAP = 1e-4


def time_all(
    subjects: Mapping[str, nn.Module], channels: int, runtimes: list[str]
) -> tuple[dict[str, dict[str, Latency]], dict[str, dict[str, float]], dict[str, str]]:
    """Return latencies and differences by subject and runtime, and why a runtime refuses a subject."""
    shape, refused = (1, channels, SIDE, SIDE), {}
    latencies: dict[str, dict[str, Latency]] = {name: {} for name in subjects}
    gaps: dict[str, dict[str, float]] = {name: {} for name in subjects}
    names = list(subjects)
    for first in range(0, len(names), _TOGETHER):
        networks, targets = {}, {}
        for name in names[first : first + _TOGETHER]:
            for runtime in runtimes:
                target = Target(runtime=runtime)
                try:
                    prepare(subjects[name], shape, target)
                except RuntimeFailedError as error:
                    refused[f"{name} in {runtime}"] = str(error)
                    continue
                networks[f"{name}@{runtime}"], targets[f"{name}@{runtime}"] = subjects[name], target
        measured = measure_latency(networks, shape, targets, protocol=_PROTOCOL)
        for key in networks:
            name, _, runtime = key.partition("@")
            latencies[name][runtime] = measured.latencies[key]
            gaps[name][runtime] = measured.max_abs_difference[key]
        print(f"{min(first + _TOGETHER, len(names))} of {len(names)}", file=sys.stderr, flush=True)
    return latencies, gaps, refused


def cell(latency: Latency | None, eager: Latency, gap: float) -> str:
    """Return what stands in the table for a runtime."""
    if latency is None:
        return "no"
    return f"{latency.fastest_ms / eager.fastest_ms:.2f}" + (f" ({gap:.0e})" if gap > _SHOWN_GAP else "")


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", default="onnxruntime,openvino,ncnn", help="beside eager")
    parser.add_argument("--networks", action="store_true", help="published networks in place of blocks")
    parser.add_argument("--only", help="names of blocks or networks")
    parser.add_argument("--scale", type=int, default=2)
    given = parser.parse_args()
    others = [name for name in given.runtimes.split(",") if name != "eager"]
    if unknown := set(others) - set(RUNTIMES):
        parser.error(f"--runtimes must be of {', '.join(RUNTIMES)}, but got {', '.join(sorted(unknown))}")
    runtimes = ["eager", *others]
    every = list(PUBLISHED) if given.networks else [info.name for info in REGISTRY.infos("trunk", "attention")]
    names = given.only.split(",") if given.only else every
    if unknown := set(names) - set(every):
        parser.error(f"--only must be of {', '.join(every)}, but got {', '.join(sorted(unknown))}")
    if given.networks:
        subjects: dict[str, nn.Module] = {name: Network(published(name, given.scale)).deploy() for name in names}
    else:
        subjects = {name: fold_all(build_block(name, CHANNELS).eval()) for name in names}
    latencies, gaps, refused = time_all(subjects, 3 if given.networks else CHANNELS, runtimes)
    versions = [RUNTIMES[name].version() or "torch" for name in runtimes]
    print(f"{', '.join(dict.fromkeys(versions))}; one thread, float32, {SIDE}x{SIDE} pixels\n")
    print(f"| | eager ms | {' | '.join(others)} |")
    print(f"|---|{'---|' * len(runtimes)}")
    for name, timed in latencies.items():
        cells = [cell(timed.get(runtime), timed["eager"], gaps[name].get(runtime, 0.0)) for runtime in others]
        print(f"| `{name}` | {timed['eager'].fastest_ms:.2f} | {' | '.join(cells)} |")
    for what, why in refused.items():
        print(f"\n{what}: {why}")


if __name__ == "__main__":
    with told_errors("runtimes.py"):
        main()
