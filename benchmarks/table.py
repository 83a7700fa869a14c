"""Makes a tabular benchmark: many networks of a space trained by one protocol, for searches to be replayed on.

Each part is a command of its own, is resumed by the same command, and can be run by several processes at once:

- ``halves``: in turn a network with attention in most positions and one without, to the base length, three and ten
  times that; the human designs first. Shows whether the ranking holds (``benchmarks/ranking.py``).
- ``uniform``: random networks, uniform over size, to the base length.
- ``searches``: searches of ``--trials`` by ``FrontSampler``, each of which knows only its own; to the base length. Unlike
  those of ``srnas search`` they begin without the human designs and stop nobody, and the hypervolume's reference point
  is bicubic's PSNR at the slowest latency so far.
- ``longer``: what is within 0.1 dB and 10 % of the base length's front, and as many at random, to ten times the length.
- ``seeds``: every third network that is there, with two more seeds, to the base length.
- ``latency``: all networks that are there, in each runtime, by one process, as briefly as candidates are. Run it before
  ``longer``, which needs latencies.

What is trained is kept in ``--work``, which is of one protocol as the table is, and what is known when a command ends
is written to the table. A training that reached a shorter length in the same ``--work`` goes on from there. A network
that diverges, or that a runtime refuses, is left out with a line that says so.

    python benchmarks/table.py uniform --number 500 --table benchmarks/tables/tiny-x2.jsonl.xz --work WORK
        --train FOLDER --every-image --val FOLDER --every 2
"""

import argparse
import hashlib
import itertools
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from pathlib import Path

import optuna
import torch
from filelock import FileLock, Timeout
from optuna.study import StudyDirection
from optuna.trial import TrialState
from pydantic import Field, ValidationError
from rich.console import Console
from rich.progress import Progress
from torch import nn

from srnas.leaderboard.rank.front import are_near
from srnas.nas.errors import DivergedError
from srnas.nas.files import write_whole
from srnas.nas.images.evaluation import evaluate, evaluate_bicubic
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import PhotoSet
from srnas.nas.judging.judge import brief_protocol
from srnas.nas.revisit.tabular import Curve, TableHead, TabularBenchmark, TabulatedNetwork, is_attentive, joined
from srnas.nas.run.ladder import GOES_ON_DB, GOES_ON_SHARE
from srnas.nas.run.plan import latency_input, load_photos, training_config
from srnas.nas.run.request import SearchRequest
from srnas.nas.strategy.front_sampler import FrontSampler
from srnas.nas.study.options import Budgets
from srnas.nas.study.settings import digest
from srnas.nas.study.space_domain import PartCounter, SpaceDomain
from srnas.nas.training.loop import Compute, TrainingProgress, build_seeded, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.nas.training.state import TrainingState
from srnas.profiling import Target, device_share, measure_latency
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.search_space import Architecture, InputError, SearchSpace, human_designs

SHARES = (0.1, 0.2, 1 / 3, 0.5, 2 / 3, 0.8, 1.0)
LADDER = (1, 3, 10)
RUNTIMES = ("eager", "onnxruntime", "openvino")
_CPU = torch.device("cpu")
# Networks that are timed side by side.
_TOGETHER = 6


class Reached(TrainingState):
    """What a training has come to, by steps."""

    psnr_y_db: dict[int, tuple[float, ...]] = Field(default_factory=dict)
    after_s: dict[int, float] = Field(default_factory=dict)
    clock_s: float = 0.0


@dataclass(frozen=True)
class Maker:
    """Trains networks and keeps what comes of them.

    Attributes:
        table: The table's file.
        work: Folder of what is not in it yet, and of the states of trainings.
        space: Where networks come from.
        config: Schedule of the base length.
        train: The photographs to train on.
        held_out: The photographs to judge by.
    """

    table: Path
    work: Path
    space: SearchSpace
    config: TrainingConfig
    train: PhotoSet
    held_out: PhotoSet

    @cached_property
    def _pairs(self) -> tuple[Sequence[Pair], Sequence[Pair]]:
        train, held_out = (make_pairs(photos, self.space.scale) for photos in (self.train, self.held_out))
        return train, held_out

    @property
    def log(self) -> Path:
        """The file that entries are appended to."""
        return self.work / "entries.jsonl"

    @cached_property
    def head(self) -> TableHead:
        """What the table's networks share."""
        bicubic = evaluate_bicubic(self._pairs[1], self.space.scale)
        return TableHead(
            space=self.space.name,
            scale=self.space.scale,
            space_digest=digest(self.space),
            training=self.config,
            train=self.train.described,
            validation=self.held_out.described,
            photographs=bicubic.images,
            bicubic_psnr_y_db=tuple(round(one, 3) for one in bicubic.psnr_y_db),
        )

    def known(self) -> dict[str, TabulatedNetwork]:
        """Return everything that is known, by key.

        Raises:
            InputError: If the table or ``work`` is of another protocol.
        """
        with self._alone():
            return self._known(self._at_first)

    @property
    def timing(self) -> FileLock:
        """The lock of whoever times networks."""
        return FileLock(self.work / "timing.lock")

    def _alone(self) -> FileLock:
        return FileLock(f"{self.log}.lock")

    def _tabulated(self) -> tuple[TabulatedNetwork, ...]:
        if not self.table.exists():
            return ()
        made = TabularBenchmark.load(self.table)
        self._check(self.table, made.head)
        return tuple(made.networks.values())

    def _check(self, path: Path, made: TableHead) -> None:
        ours, theirs = self.head.model_dump(), made.model_dump()
        if differing := [name for name, value in ours.items() if theirs[name] != value]:
            shown = "; ".join(f"{name} is {theirs[name]}, here {ours[name]}" for name in differing)
            raise InputError(f"'{path}' must be of the protocol that is asked for, but its {shown}; give another.")

    @cached_property
    def _at_first(self) -> tuple[TabulatedNetwork, ...]:
        # What is added to the table later is in the log too, and a table of a thousand takes a second to read.
        begun = self.work / "head.json"
        if begun.exists():
            self._check(begun, TableHead.model_validate_json(begun.read_text()))
        else:
            write_whole(begun, self.head.model_dump_json().encode())
        return self._tabulated()

    def _known(self, tabulated: Sequence[TabulatedNetwork]) -> dict[str, TabulatedNetwork]:
        entries = list(tabulated)
        if self.log.exists():
            entries += filter(None, map(_entry, self.log.read_text().splitlines()))
        return joined(entries)

    def keep(self, entry: TabulatedNetwork) -> None:
        """Append an entry; several processes may do so at once."""
        with self._alone(), self.log.open("ab+") as file:
            # A process that was killed may have left half a line.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    file.write(b"\n")
            file.write(f"{entry.model_dump_json()}\n".encode())

    def pack(self) -> TabularBenchmark:
        """Write the table, and return it."""
        with self._alone():
            made = TabularBenchmark(self.head, self._known(self._tabulated()))
            made.save(self.table)
        return made

    def trained(
        self, architecture: Architecture, source: str, length: int = 1, seed: int = 0, *, waits: bool = False
    ) -> None:
        """Train a network to a multiple of the base length, unless it is known; leave it to another process at it.

        Args:
            architecture: The network.
            source: Which part of the table it is for.
            length: The multiple.
            seed: Seed of weights and patches.
            waits: Whether the training of another process is waited for.
        """
        name = f"{architecture.key}-{seed}"
        steps = length * self.config.iterations
        with suppress(Timeout), FileLock(self.work / f"{name}.lock", timeout=-1 if waits else 0):
            entry = TabulatedNetwork(architecture=architecture, sources=(source,))
            before = self.known().get(architecture.key, entry)
            if before.curve(steps, seed) is None:
                try:
                    entry = entry.model_copy(update={"curves": (self._curve(architecture, length, seed),)})
                except DivergedError as error:
                    print(f"left out {architecture}, seed {seed}: {error}", file=sys.stderr)
            elif source in before.sources:
                return
            self.keep(entry)

    def _curve(self, architecture: Architecture, length: int, seed: int) -> Curve:
        config = self.config.model_copy(update={"seed": seed})
        ladder = [multiple for multiple in LADDER if multiple <= length]
        config = reduce(lambda shorter, multiple: shorter.longer(multiple), ladder[1:], config)
        pairs, held_out = self._pairs
        state = Reached()

        def judge(iterations: int, average: nn.Module) -> None:
            judged = evaluate(average, held_out, self.space.scale, _CPU, with_ssim=False)
            state.psnr_y_db[iterations] = judged.psnr_y_db
            state.after_s[iterations] = state.clock_s

        with device_share(_CPU) as share:

            def tick(progress: TrainingProgress) -> None:
                state.clock_s = progress.train_s
                # A search in another process may be waiting to time a network.
                share.give_way()

            train(
                build_seeded(architecture, seed),
                PatchSampler(pairs, self.space.scale, config.patch, _CPU),
                config,
                Compute(_CPU),
                state=state,
                saved=self.work / f"{architecture.key}-{seed}.state",
                on_step=tick,
                on_rung=judge,
            )
        return Curve(seed=seed, psnr_y_db=state.psnr_y_db, train_s=state.after_s)


def _entry(line: str) -> TabulatedNetwork | None:
    """Return an entry of the log; ``None`` of half a line, whose training is still in the state that was saved."""
    try:
        return TabulatedNetwork.model_validate_json(line)
    except ValidationError:
        print(f"left out a line that a killed process left: {line[:40]}…", file=sys.stderr)
        return None


def distinct(space: SearchSpace, seed: int) -> Iterator[Architecture]:
    """Yield random networks, each once, until the space has no other."""
    rng, seen = random.Random(seed), set[str]()
    while len(seen) < space.size:
        drawn = space.sample(rng)
        if drawn.key not in seen:
            seen.add(drawn.key)
            yield drawn


def halves(space: SearchSpace, number: int) -> list[tuple[str, Architecture]]:
    """Return networks with their sources, in turn one with attention in most positions and one without."""
    designs = [(f"design {name}", one) for name, one in human_designs(space).items() if len(one.positions) > 1]
    groups = {kind: [(s, a) for s, a in designs if is_attentive(a) is kind] for kind in (True, False)}
    for drawn in distinct(space, 0):
        if min(map(len, groups.values())) >= (number + 1) // 2:
            break
        group = groups[is_attentive(drawn)]
        if len(drawn.positions) > 1 and all(drawn.key != one.key for _, one in group):
            group.append(("half", drawn))
    pairs = zip(*groups.values(), strict=False)
    return [one for pair in pairs for one in pair][:number]


def uniform(space: SearchSpace, number: int) -> list[tuple[str, Architecture]]:
    """Return distinct random networks with their sources."""
    return [(f"uniform {i}", drawn) for i, drawn in enumerate(itertools.islice(distinct(space, 1), number))]


def search(maker: Maker, number: int, trials: int) -> Iterator[None]:
    """Run one search, or go on with it."""
    known = maker.known()
    own = sorted(
        (int(source.partition(".")[2]), key)
        for key, network in known.items()
        for source in network.sources
        if source.startswith(f"search {number}.")
    )
    keys = [key for _, key in own]
    if untimed := [key for key in keys if "eager" not in known[key].fastest_ms]:
        raise SystemExit(
            f"search {number} must know latencies to go on, but {len(untimed)} are missing: run part latency"
        )
    counter = PartCounter(latency_input(maker.space, None))
    while len(keys) < trials:
        tried = [known[key] for key in keys]
        measured = {one.architecture: one.fastest_ms["eager"] for one in tried}
        domain = SpaceDomain(maker.space, Budgets(), counter, measured)
        bicubic = sum(maker.head.bicubic_psnr_y_db) / len(maker.head.bicubic_psnr_y_db)
        reference = (bicubic, max(measured.values())) if measured else None
        sampler = FrontSampler(domain, seed=1000 * number + len(keys), reference_point=reference)
        directions = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
        study = optuna.create_study(directions=directions, sampler=sampler)
        for one in tried:
            study.enqueue_trial(maker.space.params(one.architecture))
            trial = study.ask()
            maker.space.suggest(trial)
            if curve := one.curve(maker.config.iterations):
                study.tell(trial, (curve.mean_db(maker.config.iterations), one.fastest_ms["eager"]))
            else:
                study.tell(trial, state=TrialState.FAIL)
        architecture = maker.space.suggest(study.ask())
        # Another search may have timed it, and every figure of a table is of one timing.
        with maker.timing:
            if not maker.known().get(architecture.key, TabulatedNetwork(architecture=architecture)).fastest_ms:
                time(maker, [(architecture, "eager")])
        maker.trained(architecture, f"search {number}.{len(keys)}", waits=True)
        keys.append(architecture.key)
        known = maker.known()
        yield


def time(maker: Maker, batch: Sequence[tuple[Architecture, str]]) -> None:
    """Time networks in runtimes, side by side in the same rounds, as briefly as a search times candidates."""
    target = Target(_CPU)
    names = {f"{architecture.key}@{runtime}": (architecture, runtime) for architecture, runtime in batch}
    networks = {architecture.key: build_seeded(architecture, 0).deploy() for architecture, _ in batch}
    try:
        timed = measure_latency(
            {name: networks[architecture.key] for name, (architecture, _) in names.items()},
            (1, 3, *latency_input(maker.space, None)),
            {name: replace(target, runtime=runtime) for name, (_, runtime) in names.items()},
            protocol=brief_protocol(target, len(names)),
        )
    except RuntimeFailedError as error:
        if len(batch) == 1:
            print(f"left out {batch[0][0]} in {batch[0][1]}: {error}", file=sys.stderr)
            return
    else:
        for name, (architecture, runtime) in names.items():
            fastest_ms = {runtime: timed.latencies[name].fastest_ms}
            maker.keep(TabulatedNetwork(architecture=architecture, fastest_ms=fastest_ms))
        return
    for one in batch:
        time(maker, [one])


def longer(networks: Sequence[TabulatedNetwork], base: int, number: int) -> list[Architecture]:
    """Return what goes on: half of it near the front of the base length, the nearest first, the others at random.

    Among the others, what is at it already comes first.
    """
    whole = [(one, curve) for one in networks if (curve := one.curve(base)) and "eager" in one.fastest_ms]
    points = [(curve.mean_db(base), one.fastest_ms["eager"]) for one, curve in whole]
    kept = [one for one, is_near in enumerate(are_near(points, GOES_ON_DB, GOES_ON_SHARE)) if is_near]
    # By what the best of those as fast is ahead.
    kept.sort(key=lambda one: max(db for db, ms in points if ms <= points[one][1]) - points[one][0])
    near = [whole[one][0] for one in kept][: number // 2]
    # By a hash of the key, so that what joins the table changes no order.
    drawn = sorted((one for one, _ in whole), key=lambda one: ("longer" not in one.sources, hash_of(one)))
    chosen = {one.architecture.key: one.architecture for one in (*near, *drawn)}
    return list(chosen.values())[:number]


def hash_of(network: TabulatedNetwork) -> str:
    """Return a random place in an order that never changes."""
    return hashlib.sha256(network.architecture.key.encode()).hexdigest()


def run(maker: Maker, part: str, number: int, trials: int) -> Iterator[tuple[int, int]]:
    """Make a part; yield how many steps of it are done and how many there are."""
    base = maker.config.iterations
    known = list(maker.known().values())
    if part == "searches":
        for done in range(number):
            with suppress(Timeout), FileLock(maker.work / f"search-{done}.lock", timeout=0):
                yield from ((done, number) for _ in search(maker, done, trials))
    elif part == "latency":
        with maker.timing:
            known = list(maker.known().values())
            missing = [one.architecture for one in known if not one.fastest_ms.keys() >= set(RUNTIMES)]
            for first in range(0, len(missing), _TOGETHER):
                yield first, len(missing)
                time(maker, list(itertools.product(missing[first : first + _TOGETHER], RUNTIMES)))
    else:
        jobs = {
            "halves": lambda: [partial(maker.trained, a, s, LADDER[-1]) for s, a in halves(maker.space, number)],
            "uniform": lambda: [partial(maker.trained, a, s) for s, a in uniform(maker.space, number)],
            "longer": lambda: [partial(maker.trained, a, "longer", LADDER[-1]) for a in longer(known, base, number)],
            "seeds": lambda: [
                partial(maker.trained, one.architecture, "seeds", seed=seed)
                for one in known[::3][:number]
                for seed in (1, 2)
            ],
        }[part]()
        for done, job in enumerate(jobs):
            yield done, len(jobs)
            job()


def main() -> None:
    """Make what is missing of a part, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("halves", "uniform", "searches", "longer", "seeds", "latency"))
    parser.add_argument("--number", type=int, default=40, help="of networks; of searches in part searches")
    parser.add_argument("--trials", type=int, default=50, help="of each search")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--val", type=Path)
    parser.add_argument("--every-image", action="store_true", help="whatever its folder is called")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth held-out photograph")
    parser.add_argument("--iterations", type=int, help="the base length; by default that of the space")
    parser.add_argument("--patch", type=int)
    parser.add_argument("--batch", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared = {name: getattr(given, name) for name in ("space", "train", "every_image", "patch", "batch", "iterations")}
    request = SearchRequest(validation=given.val, **shared)
    space = SearchSpace.load(request.space, request.scale)
    config = training_config(request, space).model_copy(update={"rungs": SHARES})
    photos, held_out = load_photos(request, space, config)
    held_out = replace(held_out, photos=held_out.photos[:: given.every])
    given.work.mkdir(parents=True, exist_ok=True)
    maker = Maker(given.table, given.work, space, config, photos, held_out)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(given.part, total=None)
        try:
            for done, total in run(maker, given.part, given.number, given.trials):
                bars.update(task, completed=done, total=total)
        finally:
            made = maker.pack()
    curves = [curve for network in made.networks.values() for curve in network.curves]
    long = sum(max(curve.psnr_y_db) >= LADDER[-1] * config.iterations for curve in curves)
    print(
        f"{given.table}: {len(made.networks)} networks, {len(curves)} trainings, {long} of {LADDER[-1]} times the base "
        f"length, {sum(bool(one.fastest_ms) for one in made.networks.values())} timed; "
        f"{given.table.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
