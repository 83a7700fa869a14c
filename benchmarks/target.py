"""Does the agent measure as this machine does? Networks are timed by both in turn, on one core.

The agent runs in an environment of its own Python (``--python``), as it would on a board, on loopback. In each round
all networks are timed by the agent and then here, in the same runtime, so that what else the machine does befalls both.
Printed is the mean ratio of the fastest rounds, with its range over networks, and Kendall's tau between both.

    python benchmarks/target.py [--python PYTHON] [--runtime onnxruntime] [--networks 10] [--rounds 3]
"""

import argparse
import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scipy.stats import kendalltau

from srnas.nas.cli.boundary import told_errors
from srnas.profiling import Target, measure_latency
from srnas.profiling.agent.bundle import script
from srnas.profiling.boards.board import Board
from srnas.profiling.boards.registry import ask
from srnas.search_space import Network, SearchSpace

SHAPE = (1, 3, 64, 64)


@contextlib.contextmanager
def agent(python: str) -> Iterator[Board]:
    """Run an agent on a free port of loopback."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.py")
        path.write_text(script(), encoding="utf-8")
        process = subprocess.Popen([python, str(path), "--port", "0"], stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr
            said = process.stderr.readline()
            if "http" not in said:
                raise SystemExit(f"the agent must start with {python}, but it said: {said}{process.stderr.read()}")
            yield ask(Board("agent", said.split()[3])).board
        finally:
            process.terminate()
            process.communicate()


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the agent's Python, with numpy and the runtime")
    parser.add_argument("--runtime", default="onnxruntime", help="onnxruntime, ncnn or executorch")
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    space, rng = SearchSpace.load("tiny", 2), random.Random(0)
    networks = {f"{number}": Network(space.sample(rng)).deploy().eval() for number in range(given.networks)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
    with agent(given.python) as board:
        print(f"{board.machine}, {board.version(given.runtime)} in {given.python}")
        there, here = Target(runtime=given.runtime, board=board), Target(runtime=given.runtime)
        for number in range(given.rounds):
            both = [measure_latency(networks, SHAPE, target, seed=number) for target in (there, here)]
            for name in networks:
                found[name].append((both[0].latencies[name].fastest_ms, both[1].latencies[name].fastest_ms))
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
    fastest = [tuple(map(min, zip(*pairs, strict=True))) for pairs in found.values()]
    ratios = [agent_ms / here_ms for agent_ms, here_ms in fastest]
    tau = kendalltau(*zip(*fastest, strict=True)).statistic
    print(
        f"agent/here {statistics.fmean(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) over {len(ratios)} "
        f"networks of {min(ms for _, ms in fastest):.2f} to {max(ms for _, ms in fastest):.2f} ms, tau {tau:.2f}"
    )


if __name__ == "__main__":
    with told_errors("target.py"):
        main()
