"""Images per second of training on a CPU: our patches, no patches at all, and the usual DataLoader.

Three feeds give batches to the same ``train``, with the same network (the ``plain-large`` design of space ``tiny`` at
scale 2), patch, batch and optimiser steps:

* ours: ``PatchSampler`` over the embedded training photographs, decoded once;
* limit: one ready pair of tensors, given again and again: what is left is the training itself;
* baseline: a ``DataLoader`` with two persistent workers, whose dataset decodes the PNG files of HR and LR with Pillow
  for each patch, crops them, flips and transposes.

The clock is the one of ``train``: all that happens in its steps, waiting for a batch included. Each training starts
with some steps that are not counted, so that neither the start of the workers nor the batches that they prepared
before the first step flatter or burden the baseline; between trainings its workers are idle. On a CPU the workers and
the network share the cores, which is part of the result. The feeds take turns in rounds, in a new order each, and a
ratio is the median of the rounds' ratios.

Run it with ``python benchmarks/training.py``; ``--rounds`` and ``--steps`` make it shorter or steadier.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image as PillowImage
from torch.utils.data import DataLoader, Dataset

from srnas.nas.cli.boundary import told_errors
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import embedded_photos
from srnas.nas.training.loop import Compute, TrainingProgress, build_seeded, train
from srnas.nas.training.schedule import MUON, TrainingConfig
from srnas.profiling import Target, describe_device
from srnas.search_space import Architecture, SearchSpace, human_designs

_SCALE = 2
_DESIGN = "plain-large"
_WORKERS = 2
_GOAL = 0.95
# Where `train` first reports, and longer than the batches that the workers prepare ahead (2 each).
_WARM_UP = 10
_WHOLE = slice(None)

Batch = tuple[torch.Tensor, torch.Tensor]


class _Feed(PatchSampler):
    """Gives the batches of an iterator in place of patches."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def draw(self, batch: int, generator: torch.Generator, share: slice = _WHOLE) -> Batch:
        lr, hr = next(self._batches)
        return lr[share], hr[share]


class _Files(Dataset[Batch]):
    """Random patches of PNG files that are decoded anew for each patch."""

    def __init__(self, pairs: Sequence[Pair], folder: Path, patch: int, length: int) -> None:
        self._patch, self._length = patch, length
        self._paths = [(folder / f"{pair.name}_lr.png", folder / f"{pair.name}_hr.png") for pair in pairs]
        for pair, (lr, hr) in zip(pairs, self._paths, strict=True):
            PillowImage.fromarray(pair.lr).save(lr)
            PillowImage.fromarray(pair.hr).save(hr)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        lr, hr = (PillowImage.open(path).convert("RGB") for path in self._paths[index % len(self._paths)])
        left, top = (int(torch.randint(side - self._patch + 1, ())) for side in lr.size)
        symmetry = int(torch.randint(8, ()))
        return self._cut(lr, left, top, 1, symmetry), self._cut(hr, left, top, _SCALE, symmetry)

    def _cut(self, image: PillowImage.Image, left: int, top: int, scale: int, symmetry: int) -> torch.Tensor:
        box = tuple(scale * side for side in (left, top, left + self._patch, top + self._patch))
        cut = torch.from_numpy(np.array(image.crop(box))).permute(2, 0, 1)  # type: ignore[arg-type]
        cut = cut.flip([axis for axis in (1, 2) if symmetry & axis])
        return (cut.transpose(1, 2) if symmetry & 4 else cut).to(torch.float32).div_(255)


def _images_per_s(architecture: Architecture, patches: PatchSampler, config: TrainingConfig) -> float:
    reports: list[TrainingProgress] = []
    network = build_seeded(architecture, config.seed)
    train(network, patches, config, Compute(torch.device("cpu")), on_step=reports.append)
    first, last = reports[0], reports[-1]
    return (last.iteration - first.iteration) * config.batch / (last.train_s - first.train_s)


def _feeds(config: TrainingConfig, folder: Path) -> dict[str, Callable[[], PatchSampler]]:
    """Return what makes each feed at the start of a training."""
    pairs = make_pairs(embedded_photos("train"), _SCALE)
    ours = PatchSampler(pairs, _SCALE, config.patch, torch.device("cpu"))
    shapes = [(config.batch, 3, side, side) for side in (config.patch, config.patch * _SCALE)]
    lr, hr = (torch.rand(shape).to(memory_format=torch.channels_last) for shape in shapes)
    # An epoch is a training: after it the workers have nothing left to prepare.
    files = _Files(pairs, folder, config.patch, config.iterations * config.batch)
    loader = DataLoader(files, config.batch, shuffle=True, num_workers=_WORKERS, persistent_workers=True)

    def loaded() -> Iterator[Batch]:
        return ((x.to(memory_format=torch.channels_last), y.to(memory_format=torch.channels_last)) for x, y in loader)

    return {
        "ours": lambda: ours,
        "limit": lambda: _Feed(itertools.repeat((lr, hr))),
        "baseline": lambda: _Feed(loaded()),
    }


def _measure(steps: int, rounds: int) -> dict[str, list[float]]:
    """Return the images per second of each feed in each round; a round before them is not kept."""
    space = SearchSpace.load("tiny", _SCALE)
    given = space.defaults.model_dump(include={"patch", "batch", "learning_rate"})
    config = TrainingConfig(iterations=_WARM_UP + steps, rungs=(1.0,), **MUON, **given)
    architecture = human_designs(space)[_DESIGN]
    rates: dict[str, list[float]] = {"ours": [], "limit": [], "baseline": []}
    with tempfile.TemporaryDirectory() as folder:
        feeds = _feeds(config, Path(folder))
        for turn in range(rounds + 1):
            names = list(feeds)[turn % 3 :] + list(feeds)[: turn % 3]
            for name in names:
                rate = _images_per_s(architecture, feeds[name](), config)
                if turn:
                    rates[name].append(rate)
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Images per second of training on a CPU, by what feeds it.")
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds, after one that is not")
    parser.add_argument("--steps", type=int, default=40, help=f"measured steps a round, after {_WARM_UP} that are not")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the training")
    options = parser.parse_args()
    if min(options.rounds, options.steps, options.threads) < 1:
        parser.error(f"all options must be at least 1, but got {vars(options)}")
    torch.set_num_threads(options.threads)
    profile = describe_device(Target(threads=torch.get_num_threads()))
    print(f"{profile.name}, {profile.threads} threads, torch {profile.torch_version}")
    print(f"{_DESIGN}, scale {_SCALE}, {options.rounds} rounds of {options.steps} steps\n")
    rates = _measure(options.steps, options.rounds)
    for name, values in rates.items():
        print(f"{name:<14} {median(values):8.1f} images/s  ({min(values):.1f} to {max(values):.1f})")
    for other, goal in (("limit", f"; goal: at least {_GOAL}"), ("baseline", "")):
        ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates[other], strict=True)]
        print(f"{'ours/' + other:<14} {median(ratios):8.3f}           ({min(ratios):.3f} to {max(ratios):.3f}{goal})")


if __name__ == "__main__":
    with told_errors("training.py"):
        main()
