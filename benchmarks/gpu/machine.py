"""What is checked, the list of checks, and the small networks and programs that they share."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import embedded_photos
from srnas.nas.training.loop import build_seeded
from srnas.search_space import REGISTRY, Architecture, Network, Position

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-P", "-c", "from srnas.nas.cli import main; main()")


@dataclass(frozen=True)
class Seen:
    """What a check expected and what it saw."""

    expected: str
    seen: str
    passed: bool


@dataclass(frozen=True)
class Machine:
    """A GPU, or the doubles of one.

    Attributes:
        device: What trains and is timed; the CPU on doubles.
        dry: Whether it is doubles.
        folder: For files.
    """

    device: torch.device
    dry: bool
    folder: Path

    @property
    def blocks(self) -> list[str]:
        """The blocks that are checked; few of them on doubles."""
        names = [info.name for info in REGISTRY.infos("trunk", "attention")]
        return names[:: len(names) // 3] if self.dry else names


Check = Callable[[Machine], Seen]


def within(what: str, seen: float, low: float, high: float) -> Seen:
    """Return whether a figure is where it is expected."""
    return Seen(f"{what}: {low:g} to {high:g}", f"{seen:.4g}", low <= seen <= high)


def small(*attention: str, channels: int = 12) -> Network:
    """Return a network of such blocks, with the same weights each time."""
    positions = tuple(Position(trunk="conv", attention=name) for name in attention or ("mlka", "cbam", "aab"))
    return build_seeded(Architecture(scale=2, channels=channels, positions=positions), 0)


def pairs(count: int = 2) -> tuple[Pair, ...]:
    """Return small held-out photographs."""
    return make_pairs(embedded_photos("held-out"), 2)[:count]


def patches(machine: Machine, patch: int = 16) -> PatchSampler:
    """Return what batches are drawn from."""
    return PatchSampler(pairs(), 2, patch, machine.device)


Rows = list[dict[str, Any]]


def search(machine: Machine, name: str, space: str, trials: int, workers: int, *options: str) -> tuple[float, Rows]:
    """Run a search, in a workspace of its own on a GPU; return its seconds and the rows of its candidates."""
    folder = machine.folder / name
    folder.mkdir()
    (folder / "space.toml").write_text(space)
    # To make a store takes most of the time of a search of few steps.
    workspace = (machine.folder if machine.dry else folder) / "runs"
    device = "cpu" if machine.dry else "cuda"
    asked = ("--workspace", workspace, "--study", name, "--space", folder / "space.toml", "--device", device, "--json")
    sizes = ("--trials", trials, "--workers", workers, "--patch", 8, "--latency-input", "16x16", "--rungs", "none")
    command = [*PROGRAM, "search", *map(str, (*asked, *sizes, *options))]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a search must end well, but said: {done.stderr[-500:]}")
    return time.perf_counter() - started, json.loads(done.stdout)
