"""What a table is made from: a folder that keeps what is trained and timed, so that nothing is done twice."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, reduce
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import Field, ValidationError
from torch import nn

from srnas.nas.errors import DivergedError
from srnas.nas.files import write_whole
from srnas.nas.images.evaluation import evaluate, evaluate_bicubic
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import PhotoSet
from srnas.nas.judging.judge import brief_protocol
from srnas.nas.revisit.tabular import Curve, TableHead, TabularBenchmark, TabulatedNetwork, joined
from srnas.nas.run.plan import latency_input
from srnas.nas.study.settings import digest
from srnas.nas.training.loop import Compute, TrainingProgress, build_seeded, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.nas.training.state import TrainingState
from srnas.profiling import Target, device_share, measure_latency
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.search_space import Architecture, InputError, SearchSpace

# Lengths of training, as multiples of the base length.
LADDER = (1, 3, 10)
_CPU = torch.device("cpu")


class Reached(TrainingState):
    """What a training has come to, by steps."""

    psnr_y_db: dict[int, tuple[float, ...]] = Field(default_factory=dict)
    after_s: dict[int, float] = Field(default_factory=dict)
    clock_s: float = 0.0


@dataclass(frozen=True)
class Maker:
    """Trains and times networks, and keeps what comes of it.

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

    def time(self, batch: Sequence[tuple[Architecture, str]]) -> None:
        """Time networks in runtimes, side by side in the same rounds, as briefly as a search times candidates."""
        target = Target(_CPU)
        names = {f"{architecture.key}@{runtime}": (architecture, runtime) for architecture, runtime in batch}
        networks = {architecture.key: build_seeded(architecture, 0).deploy() for architecture, _ in batch}
        try:
            timed = measure_latency(
                {name: networks[architecture.key] for name, (architecture, _) in names.items()},
                (1, 3, *latency_input(self.space, None)),
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
                self.keep(TabulatedNetwork(architecture=architecture, fastest_ms=fastest_ms))
            return
        for one in batch:
            self.time([one])


@cache
def _entry(line: str) -> TabulatedNetwork | None:
    """Return an entry of the log; ``None`` of half a line, whose training is still in the state that was saved."""
    try:
        return TabulatedNetwork.model_validate_json(line)
    except ValidationError:
        print(f"left out a line that a killed process left: {line[:40]}…", file=sys.stderr)
        return None
