"""Does the ranking after minutes hold after hours? Short schedules against one of ten times the length.

Networks of a space, half of them with attention in most positions (the human designs of more than one position first,
then random ones), are trained by each optimiser on each schedule, every one annealed to its end. Shown is Kendall's tau
at equal latency (pairs within 15 %, PSNR beside its trend over latency) of each length with the longest of the same
optimiser, with its 95 % bootstrap interval over networks, and what the longest gains over it on average: an attention
block that a short schedule under-rates gains more than a plain chain.

Every training is kept in ``--records`` when it is done, and one that was interrupted goes on; the same command again,
or in another process at the same time, trains what is missing. On one core 40 networks of ``tiny`` take about three
hours at 4,000 iterations.

    python benchmarks/ranking.py --records ranking.jsonl [--networks 40] [--lengths 400,4000] [--optimizers muon,adamw]
        [--space tiny] [--train FOLDER] [--val FOLDER] [--designs]
"""

import argparse
import json
import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from srnas.leaderboard.record.base import StoredArchitecture
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.judging.accounts import account
from srnas.nas.run.plan import latency_input, load_photos, training_config
from srnas.nas.run.request import SearchRequest
from srnas.nas.training.loop import Compute, build_seeded, train
from srnas.nas.training.optimizers import depth_of, hidden_rate
from srnas.nas.training.schedule import TrainingConfig, scaled_rate
from srnas.profiling import Target, measure_latency
from srnas.search_space import Architecture, SearchSpace, human_designs

_CPU = torch.device("cpu")
# Networks that are timed side by side.
_TOGETHER = 6


class Trained(BaseModel):
    """A network after one schedule.

    Attributes:
        name: Its short form, or the name of the human design.
        architecture: The network.
        fastest_ms: Its fastest round in milliseconds.
        optimizer: What trained it.
        iterations: Length of the schedule.
        muon_rate: Peak of Muon's rate; ``None`` of a network that AdamW trained.
        psnr_y_db: PSNR-Y of each held-out photograph at the end, in dB.
        train_s: Seconds spent in steps.
    """

    name: str
    architecture: StoredArchitecture
    fastest_ms: float
    optimizer: str
    iterations: int
    muon_rate: float | None
    psnr_y_db: tuple[float, ...]
    train_s: float

    @property
    def is_attentive(self) -> bool:
        """Whether most positions hold an attention block."""
        return is_attentive(self.architecture)


def is_attentive(architecture: Architecture) -> bool:
    """Return whether most positions hold an attention block."""
    blocks = [position.attention.name != "none" for position in architecture.positions]
    return sum(blocks) > len(blocks) / 2


def draw(space: SearchSpace, number: int, *, only_designs: bool) -> dict[str, Architecture]:
    """Return networks by name, in turn one with attention in most positions and one without."""
    named = {name: design for name, design in human_designs(space).items() if len(design.positions) > 1}
    rng = random.Random(0)
    groups = {kind: [(n, a) for n, a in named.items() if is_attentive(a) is kind] for kind in (True, False)}
    while not only_designs and min(map(len, groups.values())) < (number + 1) // 2:
        drawn = space.sample(rng)
        group = groups[is_attentive(drawn)]
        known = {architecture.key for _, architecture in group}
        if len(drawn.positions) > 1 and drawn.key not in known and len(group) < (number + 1) // 2:
            group.append((str(drawn), drawn))
    pairs = zip(*groups.values(), strict=False)
    return dict(named if only_designs else [one for pair in pairs for one in pair][:number])


def time(networks: dict[str, Architecture], shape: tuple[int, int, int, int], path: Path) -> dict[str, float]:
    """Return the fastest round of each network in ms, from ``path`` where it was timed before."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    missing = [a for a in networks.values() if a.key not in known]
    for batch in (missing[i : i + _TOGETHER] for i in range(0, len(missing), _TOGETHER)):
        timed = measure_latency({a.key: build_seeded(a, 0).deploy() for a in batch}, shape, Target(_CPU))
        known |= {key: latency.fastest_ms for key, latency in timed.latencies.items()}
        path.write_text(json.dumps(known))
    return known


@dataclass(frozen=True)
class Job:
    """A network to be trained on one schedule."""

    name: str
    architecture: Architecture
    fastest_ms: float
    config: TrainingConfig

    def run(self, records: Path, pairs: tuple[Sequence[Pair], Sequence[Pair]]) -> None:
        """Train the network and keep the result, unless it is there or another process is at it."""
        what = (self.architecture.key, self.config.optimizer, self.config.iterations)
        saved = records.with_suffix(f".{'-'.join(map(str, what))}")
        with suppress(Timeout), FileLock(f"{saved}.lock", timeout=0):
            if what in {(one.architecture.key, one.optimizer, one.iterations) for one in load(records)}:
                return
            psnr, train_s = self._train(pairs, saved)
            depth = depth_of(build_seeded(self.architecture, self.config.seed))
            is_muon = self.config.optimizer == "muon"
            result = Trained(
                name=self.name,
                architecture=self.architecture,
                fastest_ms=self.fastest_ms,
                optimizer=self.config.optimizer,
                iterations=self.config.iterations,
                muon_rate=hidden_rate(self.config.learning_rate, depth) if is_muon else None,
                psnr_y_db=psnr,
                train_s=train_s,
            )
            with records.open("a") as file:
                file.write(result.model_dump_json() + "\n")
            saved.unlink(missing_ok=True)

    def _train(self, pairs: tuple[Sequence[Pair], Sequence[Pair]], saved: Path) -> tuple[tuple[float, ...], float]:
        scale = self.architecture.scale
        patches = PatchSampler(pairs[0], scale, self.config.patch, _CPU)
        network = build_seeded(self.architecture, self.config.seed)
        average, train_s = train(network, patches, self.config, Compute(_CPU), saved=saved)
        return evaluate(average, pairs[1], scale, _CPU, with_ssim=False).psnr_y_db, train_s


def load(path: Path) -> list[Trained]:
    """Return what is known."""
    return [Trained.model_validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows_of(known: Sequence[Trained]) -> Iterator[list[str]]:
    """Return a row for each optimiser and length."""
    for optimizer in dict.fromkeys(one.optimizer for one in known):
        theirs = [one for one in known if one.optimizer == optimizer]
        longest = max(one.iterations for one in theirs)
        ends = {one.architecture.key: statistics.fmean(one.psnr_y_db) for one in theirs if one.iterations == longest}
        latency = {one.architecture.key: one.fastest_ms for one in theirs}
        numbers = {key: number for number, key in enumerate(ends)}
        for length in sorted({one.iterations for one in theirs}):
            at = [one for one in theirs if one.iterations == length]
            scores = {one.architecture.key: statistics.fmean(one.psnr_y_db) for one in at}
            both = [key for key in scores if key in ends]
            row = [optimizer, f"{length:,}", str(len(at)), f"{statistics.fmean(scores.values()):.3f}"]
            for kind in (True, False):
                gains = [
                    ends[o.architecture.key] - scores[o.architecture.key]
                    for o in at
                    if o.is_attentive is kind and o.architecture.key in ends
                ]
                row.append(f"{statistics.fmean(gains):+.3f}" if gains else "")
            found = account(
                {"tau": {numbers[key]: scores[key] for key in both}},
                {numbers[key]: ends[key] for key in both},
                {numbers[key]: latency[key] for key in both},
            )
            row += [f"{one.tau:.2f} ({one.low:.2f} to {one.high:.2f})" for one in found] or [""]
            yield [*row, f"{statistics.fmean(one.train_s for one in at):.1f}"]


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--designs", action="store_true", help="the human designs only")
    parser.add_argument("--lengths", default="400,4000")
    parser.add_argument("--optimizers", default="muon,adamw")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--val", type=Path)
    parser.add_argument("--patch", type=int)
    parser.add_argument("--batch", type=int)
    given = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    request = SearchRequest(
        space=given.space,
        train=given.train,
        validation=given.val,
        patch=given.patch,
        batch=given.batch,
    )
    space = SearchSpace.load(request.space, request.scale)
    base = training_config(request, space)
    train_pairs, held_out = (make_pairs(photos, request.scale) for photos in load_photos(request, space, base))
    networks = draw(space, given.networks, only_designs=given.designs)
    latency = time(networks, (1, 3, *latency_input(space, None)), given.records.with_suffix(".ms.json"))
    lengths, optimizers = [int(text) for text in given.lengths.split(",")], given.optimizers.split(",")
    jobs = [(name, o, n) for name in networks for o in optimizers for n in lengths]
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("training", total=len(jobs))
        for name, optimizer, iterations in jobs:
            bars.update(task, description=f"{name[:40]} {optimizer} {iterations:,}")
            # AdamW had one rate for every length.
            suits = scaled_rate(iterations, base.learning_rate, base.iterations)
            rate = suits if optimizer == "muon" else base.learning_rate
            changes = {"optimizer": optimizer, "iterations": iterations, "learning_rate": rate}
            config = base.model_copy(update=changes)
            job = Job(name, networks[name], latency[networks[name].key], config)
            job.run(given.records, (train_pairs, held_out))
            bars.advance(task)
    shown = {architecture.key for architecture in networks.values()}
    attentive = sum(map(is_attentive, networks.values()))
    table = Table(title=f"{len(shown)} networks of '{space.name}', {attentive} with attention in most positions")
    heads = ("by", "steps", "nets", "PSNR-Y", "gain, attention", "gain, others", "tau (95 %)", "s each")
    for head in heads:
        table.add_column(head, justify="left" if head == "by" else "right")
    for row in rows_of([one for one in load(given.records) if one.architecture.key in shown]):
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
