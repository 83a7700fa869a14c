"""How often does the front change with the runtime? One study, timed in several runtimes of this machine.

The trained networks of a study are timed in each runtime, as ``srnas retime STUDY --runtime RUNTIME`` does, which keeps
each result in MLflow. Printed are how many networks of the study's own front are still on the runtime's, Kendall's tau
between the latencies of every two runtimes, and the network with the best PSNR within each budget.

    python benchmarks/fronts.py STUDY [--workspace WORKSPACE] [--runtimes eager,onnxruntime,openvino,ncnn,executorch]
        [--budgets 1,2,4,8,16] [--limit NUMBER]
"""

import argparse
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

from scipy.stats import kendalltau

from srnas.leaderboard.rank.front import front_numbers
from srnas.nas.cli.boundary import told_errors
from srnas.nas.revisit.retime import Retimed, retime
from srnas.nas.run.request import DEFAULT_WORKSPACE
from srnas.nas.workspace.studies import load_snapshot
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target


def latencies(retimed: Retimed) -> dict[int, float]:
    """Return the fastest round of each network in ms, by trial."""
    rows = retimed.board.rows
    return dict(zip(map(int, rows["trial"]), map(float, rows["latency_fastest_ms"]), strict=True))


def on_front(retimed: Retimed) -> set[int]:
    """Return the trials on the front."""
    return set(map(int, retimed.board.front["trial"]))


def best_within(retimed: Retimed, budget_ms: float) -> str:
    """Return the network with the best PSNR within a budget."""
    rows = retimed.board.selected(sort="psnr", max_latency_ms=budget_ms).rows
    if rows.empty:
        return "none"
    best = rows.iloc[0]
    return f"#{best['trial']} {best['ranked_db']:.2f} dB"


def print_fronts(found: Mapping[str, Retimed], front: frozenset[int]) -> None:
    """Print how the fronts differ from that of the study, whose members a runtime may refuse."""
    print("| runtime | timed | on the study's front and on this one | on this one only | runtime refuses |")
    print("|---|---|---|---|---|")
    for name, retimed in found.items():
        kept, new = front & on_front(retimed), on_front(retimed) - front
        shares = f"{len(kept)} of {len(front)} | {len(new)}"
        print(f"| `{name}` | {len(latencies(retimed))} | {shares} | {len(retimed.failed)} |")


def print_taus(found: Mapping[str, Retimed]) -> None:
    """Print Kendall's tau between every two runtimes, over the networks that both run."""
    print(f"\n| tau | {' | '.join(f'`{name}`' for name in found)} |")
    print(f"|---|{'---|' * len(found)}")
    for name, retimed in found.items():
        cells = []
        for other in found.values():
            one, two = latencies(retimed), latencies(other)
            both = sorted(one.keys() & two.keys())
            tau = kendalltau([one[trial] for trial in both], [two[trial] for trial in both]).statistic
            cells.append(f"{tau:.2f}")
        print(f"| `{name}` | {' | '.join(cells)} |")


def print_best(found: Mapping[str, Retimed], budgets: list[float]) -> None:
    """Print the best network within each budget, by runtime."""
    print(f"\n| at most | {' | '.join(f'`{name}`' for name in found)} |")
    print(f"|---|{'---|' * len(found)}")
    for budget in budgets:
        print(f"| {budget:g} ms | {' | '.join(best_within(retimed, budget) for retimed in found.values())} |")
    architectures = {
        int(row["trial"]): row["architecture"] for retimed in found.values() for row in retimed.board.records()
    }
    named = {best_within(retimed, budget) for budget, retimed in itertools.product(budgets, found.values())} - {"none"}
    for trial in sorted({int(text.split()[0][1:]) for text in named}):
        print(f"\n#{trial}: `{architectures[trial]}`")


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--workspace", type=Path, default=DEFAULT_WORKSPACE)
    parser.add_argument("--runtimes", default="eager,onnxruntime,openvino,ncnn,executorch")
    parser.add_argument("--budgets", default="1,2,4,8,16", help="in ms")
    parser.add_argument("--limit", type=int, help="time so many networks at most, the front first")
    given = parser.parse_args()
    budgets = [float(budget) for budget in given.budgets.split(",")]
    workspace = Workspace(given.workspace)
    front = front_numbers(load_snapshot(workspace, given.study).ranked)
    found = {}
    for name in given.runtimes.split(","):
        print(name, file=sys.stderr, flush=True)
        found[name] = retime(workspace, given.study, Target(runtime=name), limit=given.limit)
    print_fronts(found, front)
    print_taus(found)
    print_best(found, budgets)


if __name__ == "__main__":
    with told_errors("fronts.py"):
        main()
