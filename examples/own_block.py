"""Search with a block of your own: ``SRNAS_BLOCKS=examples/blocks python examples/own_block.py``.

The block lies in ``examples/blocks/eca.py``; ``docs/blocks.md`` explains it. The space below names it beside LIA, so
that the search tells whether it is worth its latency.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from srnas.nas import search
from srnas.search_space import REGISTRY

SPACE = """
channels = [12, 18]
positions = 4
trunk = ["none", "conv"]
attention = ["none", { name = "lia", features = 4 }, "eca", { name = "eca", kernel = 7 }]

[defaults]
latency_output = [128, 128]
patch = 24
batch = 8
iterations = 400
"""


def main() -> None:
    """Search the space, and print the front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=16, help="Total number of candidates.")
    parser.add_argument("--iterations", type=int, default=400, help="Training steps per candidate.")
    parser.add_argument("--workspace", type=Path, default=Path("srnas-runs"), help="Folder of the study.")
    given = parser.parse_args()
    if "eca" not in {info.name for info in REGISTRY.infos()}:
        sys.exit("block 'eca' must be registered, but it is not; set SRNAS_BLOCKS=examples/blocks.")
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder, "with-eca.toml")
        space.write_text(SPACE, encoding="utf-8")
        outcome = search(
            space=str(space), trials=given.trials, iterations=given.iterations, workspace=given.workspace, workers=1
        )
    columns = ["trial", "architecture", "psnr_y_db", "latency_fastest_ms"]
    print(outcome.board.front[columns].to_string(index=False))


if __name__ == "__main__":
    main()
