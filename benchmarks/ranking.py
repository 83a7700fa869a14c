"""Does the ranking after minutes hold after hours? The lengths of a ladder, the longest of ten times the first.

Networks of a space, half of them with attention in most positions (the human designs of more than one position, then
random ones), are trained to each length, at whose end the rate is 0. ``muon`` is today's schedule, where a longer
training goes on from the shorter; with ``adamw``, the schedule of before, each begins anew, and at one rate. The table
shows Kendall's tau of each length with the longest, over all pairs and at equal latency (pairs within 15 %, PSNR beside
its trend over latency), with its 95 % bootstrap interval over networks, and what the longest gains on average: an
attention block that a short schedule under-rates gains more than a plain chain.

The last lines climb the ladder with what was trained: from each length only what ``srnas search --ladder`` takes goes
on, or what other rules take. Shown is the time in steps beside that of training all to the longest length, what of the
front of all is missed, by how many dB, and the hypervolume.

Networks are trained in the order of their latency. Every training is kept in ``--records`` when it is done, and one
that was interrupted goes on; the same command again, or in another process at the same time, trains what is missing. On
one core 40 networks of ``tiny`` take about three hours.

    python benchmarks/ranking.py --records ranking.jsonl [--networks 40] [--ladder 1,3,10] [--optimizers muon,adamw]
        [--space tiny] [--train FOLDER] [--val FOLDER] [--designs]
"""

import argparse
import json
import random
import statistics
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import kendalltau
from torch import nn

from srnas.leaderboard.rank.front import Point, are_near, hypervolume, non_dominated
from srnas.leaderboard.record.base import StoredArchitecture
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.judging.accounts import account
from srnas.nas.run.ladder import NEAR_DB, NEAR_SHARE
from srnas.nas.run.plan import latency_input, load_photos, training_config
from srnas.nas.run.request import SearchRequest
from srnas.nas.training.loop import Compute, TrainingProgress, build_seeded, train
from srnas.nas.training.optimizers import depth_of, hidden_rate
from srnas.nas.training.schedule import TrainingConfig
from srnas.nas.training.state import TrainingState
from srnas.profiling import Target, measure_latency
from srnas.search_space import Architecture, SearchSpace, human_designs

_CPU = torch.device("cpu")
# Networks that are timed side by side.
_TOGETHER = 6


class Trained(BaseModel):
    """A network at the end of a length.

    Attributes:
        name: Its short form, or the name of the human design.
        architecture: The network.
        fastest_ms: Its fastest round in milliseconds.
        optimizer: What trained it.
        iterations: The length.
        muon_rate: Muon's first peak; ``None`` of a network that AdamW trained.
        psnr_y_db: PSNR-Y of each held-out photograph, in dB.
        train_s: Seconds spent in all steps so far.
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
    def mean_db(self) -> float:
        """Mean PSNR-Y over the photographs, in dB."""
        return statistics.fmean(self.psnr_y_db)

    @property
    def point(self) -> Point:
        """``(PSNR-Y in dB, fastest round in ms)``."""
        return self.mean_db, self.fastest_ms

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


class Reached(TrainingState):
    """What a training has come to, by iterations: PSNR of each photograph, and seconds in steps."""

    psnr_y_db: dict[int, tuple[float, ...]] = Field(default_factory=dict)
    after_s: dict[int, float] = Field(default_factory=dict)
    clock_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """A network to be trained on one schedule."""

    name: str
    architecture: Architecture
    fastest_ms: float
    config: TrainingConfig

    def run(self, records: Path, pairs: tuple[Sequence[Pair], Sequence[Pair]]) -> None:
        """Train the network and keep the results, unless they are there or another process is at it."""
        config, key = self.config, self.architecture.key
        saved = records.with_suffix(f".{key}-{config.optimizer}-{config.iterations}")
        with suppress(Timeout), FileLock(f"{saved}.lock", timeout=0):
            known = {
                one.iterations
                for one in load(records)
                if (one.architecture.key, one.optimizer) == (key, config.optimizer)
            }
            if config.iterations in known:
                return
            # A shorter ladder may have led to the same shorter lengths.
            results = [one for one in self._train(pairs, saved) if one.iterations not in known]
            with records.open("a") as file:
                file.write("".join(f"{one.model_dump_json()}\n" for one in results))
            saved.unlink(missing_ok=True)

    def _train(self, pairs: tuple[Sequence[Pair], Sequence[Pair]], saved: Path) -> list[Trained]:
        config, scale, state = self.config, self.architecture.scale, Reached()
        patches = PatchSampler(pairs[0], scale, config.patch, _CPU)
        network = build_seeded(self.architecture, config.seed)
        rate = hidden_rate(config.learning_rate, depth_of(network)) if config.optimizer == "muon" else None

        def judge(iterations: int, average: nn.Module) -> None:
            if iterations in config.lengths:
                state.psnr_y_db[iterations] = evaluate(average, pairs[1], scale, _CPU, with_ssim=False).psnr_y_db
                state.after_s[iterations] = state.clock_s

        def tick(progress: TrainingProgress) -> None:
            state.clock_s = progress.train_s

        train(network, patches, config, Compute(_CPU), state=state, saved=saved, on_step=tick, on_rung=judge)
        return [
            Trained(
                name=self.name,
                architecture=self.architecture,
                fastest_ms=self.fastest_ms,
                optimizer=config.optimizer,
                iterations=iterations,
                muon_rate=rate,
                psnr_y_db=psnr,
                train_s=state.after_s[iterations],
            )
            for iterations, psnr in state.psnr_y_db.items()
        ]


def schedules_of(base: TrainingConfig, optimizer: str, ladder: Sequence[int]) -> list[TrainingConfig]:
    """Return what trains a network to every length: one schedule that goes on, or one for each length."""
    if optimizer == "muon":
        return [reduce(lambda config, multiple: config.longer(multiple), ladder[1:], base)]
    # AdamW had one rate for every length.
    lengths = [base.iterations * multiple for multiple in ladder]
    return [base.model_copy(update={"optimizer": optimizer, "iterations": length}) for length in lengths]


def load(path: Path) -> list[Trained]:
    """Return what is known."""
    return [Trained.model_validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows_of(known: Sequence[Trained]) -> Iterator[list[str]]:
    """Return a row for each optimiser and length."""
    for optimizer in dict.fromkeys(one.optimizer for one in known):
        theirs = [one for one in known if one.optimizer == optimizer]
        longest = max(one.iterations for one in theirs)
        ends = {one.architecture.key: one.mean_db for one in theirs if one.iterations == longest}
        numbers = {key: number for number, key in enumerate(ends)}
        for length in sorted({one.iterations for one in theirs}):
            at = [one for one in theirs if one.iterations == length and one.architecture.key in ends]
            row = [optimizer, f"{length:,}", str(len(at)), f"{statistics.fmean(one.mean_db for one in at):.3f}"]
            for kind in (True, False):
                gains = [ends[one.architecture.key] - one.mean_db for one in at if one.is_attentive is kind]
                row.append(f"{statistics.fmean(gains):+.3f}" if gains else "")
            of_all = kendalltau([one.mean_db for one in at], [ends[one.architecture.key] for one in at])
            row.append(f"{of_all.statistic:.2f}")
            found = account(
                {"tau": {numbers[one.architecture.key]: one.mean_db for one in at}},
                {numbers[key]: end for key, end in ends.items()},
                {numbers[one.architecture.key]: one.fastest_ms for one in at},
            )
            row += [f"{one.tau:.2f} ({one.low:.2f}-{one.high:.2f})" for one in found] or [""]
            yield [*row, f"{statistics.fmean(one.train_s for one in at):.1f}"]


@dataclass(frozen=True)
class Rule:
    """What goes on to the next length: the front, what is so near it, and what is so called."""

    name: str
    near_db: float
    near_share: float
    designs: Collection[str] = ()


def climb(known: Sequence[Trained], rule: Rule) -> str:
    """Return in words what a ladder costs by a rule, beside training all to the longest length, and what it misses."""
    by_length: dict[int, dict[str, Trained]] = {}
    for one in known:
        by_length.setdefault(one.iterations, {})[one.architecture.key] = one
    *_, longest = lengths = sorted(by_length)
    ends, chosen = by_length[longest], set(by_length[longest])
    counts, spent_s, before_s = [], 0.0, dict.fromkeys(chosen, 0.0)
    for length in lengths:
        at = {key: by_length[length][key] for key in chosen}
        counts.append(len(at))
        spent_s += sum(one.train_s - before_s[key] for key, one in at.items())
        before_s = {key: one.train_s for key, one in at.items()}
        near = are_near([one.point for one in at.values()], rule.near_db, rule.near_share)
        chosen = {key for key, is_near in zip(at, near, strict=True) if is_near or at[key].name in rule.designs}
    whole = non_dominated([one.point for one in ends.values()])
    front = [one for one, is_on in zip(ends.values(), whole, strict=True) if is_on]
    missed = [one for one in front if one.architecture.key not in at]
    left_db = [one.mean_db - max(o.mean_db for o in at.values() if o.fastest_ms <= one.fastest_ms) for one in missed]
    reference = (min(one.mean_db for one in ends.values()), 1.01 * max(one.fastest_ms for one in ends.values()))
    volumes = [hypervolume([one.point for one in some], reference) for some in (at.values(), ends.values())]
    all_s = sum(one.train_s for one in ends.values())
    return (
        f"{rule.name}: {', '.join(f'{number} at {length:,}' for number, length in zip(counts, lengths, strict=True))}: "
        f"{spent_s / all_s:.2f} of the {all_s:,.0f} s that all to {longest:,} take; of the front of {len(front)} it "
        f"misses {len(missed)}, by {max(left_db, default=0.0):.2f} dB at most; hypervolume "
        f"{volumes[0] / volumes[1]:.4f} of that of all"
    )


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--designs", action="store_true", help="the human designs only")
    parser.add_argument("--ladder", default="1,3,10")
    parser.add_argument("--optimizers", default="muon,adamw")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--val", type=Path)
    parser.add_argument("--patch", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--iterations", type=int)
    given = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    request = SearchRequest(
        space=given.space,
        train=given.train,
        validation=given.val,
        patch=given.patch,
        batch=given.batch,
        iterations=given.iterations,
        ladder=given.ladder,
    )
    space = SearchSpace.load(request.space, request.scale)
    base = training_config(request, space)
    train_pairs, held_out = (make_pairs(photos, request.scale) for photos in load_photos(request, space, base))
    networks = draw(space, given.networks, only_designs=given.designs)
    latency = time(networks, (1, 3, *latency_input(space, None)), given.records.with_suffix(".ms.json"))
    schedules = [one for name in given.optimizers.split(",") for one in schedules_of(base, name, request.ladder)]
    order = sorted(networks, key=lambda name: latency[networks[name].key])
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("training", total=len(order) * len(schedules))
        for name, config in product(order, schedules):
            bars.update(task, description=f"{name[:40]} {config.optimizer} {config.iterations:,}")
            Job(name, networks[name], latency[networks[name].key], config).run(given.records, (train_pairs, held_out))
            bars.advance(task)
    shown = {architecture.key for architecture in networks.values()}
    attentive = sum(map(is_attentive, networks.values()))
    title = f"{len(shown)} networks of '{space.name}', {attentive} with attention in most positions"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    heads = ("by", "steps", "nets", "PSNR-Y", "gain, att.", "others", "tau, all", "at equal latency", "s each")
    for head in heads:
        table.add_column(head, justify="left" if head == "by" else "right")
    lengths = {base.iterations * multiple for multiple in request.ladder}
    known = [one for one in load(given.records) if one.architecture.key in shown and one.iterations in lengths]
    for row in rows_of(known):
        table.add_row(*row)
    console.print(table)
    if climbed := [one for one in known if one.optimizer == "muon"]:
        designs = human_designs(space)
        rules = [Rule("ours", NEAR_DB, NEAR_SHARE, designs), Rule("the front alone", 0.0, 0.0)]
        rules += [Rule(f"within {near_db} dB and 10 %", near_db, 0.1) for near_db in (0.05, 0.1, 0.2)]
        for rule in rules:
            console.print(climb(climbed, rule), soft_wrap=True)


if __name__ == "__main__":
    main()
