"""Makes a tabular benchmark: many networks of a space trained by one protocol, for searches to be replayed on.

Each part is a command of its own, is resumed by the same command, and can be run by several processes at once:

- ``halves``: in turn a network with attention in most positions and one without, to the base length, three and ten
  times that; the human designs first. Shows whether the ranking holds (``benchmarks/ranking.py``).
- ``uniform``: random networks, uniform over size, to the base length.
- ``searches``: searches of ``--trials`` by ``FrontSampler``, each of which knows only its own; to the base length.
  Unlike those of ``srnas search`` they begin without the human designs and stop nobody, and the hypervolume's reference
  point is bicubic's PSNR at the slowest latency so far.
- ``longer``: what is within 0.1 dB and 10 % of the base length's front, and as many at random, to ten times the length.
- ``seeds``: random networks of those that are there, with two more seeds, to the base length.
- ``latency``: in one of ``--runtimes`` after the other, what was not timed in it, by one process, as briefly as
  candidates are; if all was, all again in another order. The fastest round of all timings counts, since other work
  only slows: run it twice. ``longer`` needs the latencies of eager mode.

What is trained is kept in ``--work``, which is of one protocol as the table is, and what is known when a command ends
is written to the table. A training that reached a shorter length in the same ``--work`` goes on from there. A network
that diverges, or that a runtime refuses, is left out with a line that says so.

    python benchmarks/table.py uniform --number 500 --table benchmarks/tables/tiny-x2.jsonl.xz --work WORK
        --train FOLDER --every-image --val FOLDER --every 2
"""

import argparse
import hashlib
import itertools
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import torch
from filelock import FileLock, Timeout
from optuna.study import StudyDirection
from optuna.trial import TrialState
from rich.console import Console
from rich.progress import Progress

from srnas.leaderboard.rank.front import are_near
from srnas.nas.cli.boundary import told_errors
from srnas.nas.revisit.tabular import TabulatedNetwork, is_attentive
from srnas.nas.run.ladder import GOES_ON_DB, GOES_ON_SHARE
from srnas.nas.run.plan import latency_input, load_photos, training_config
from srnas.nas.run.request import SearchRequest
from srnas.nas.strategy.front_sampler import FrontSampler
from srnas.nas.study.options import Budgets
from srnas.nas.study.space_domain import PartCounter, SpaceDomain
from srnas.search_space import Architecture, SearchSpace, human_designs

sys.path.insert(0, str(Path(__file__).parent))
from tables.maker import LADDER, Maker

SHARES = (0.1, 0.2, 1 / 3, 0.5, 2 / 3, 0.8, 1.0)
# Networks that are timed side by side.
_TOGETHER = 12


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
        with maker.timing:
            timed = maker.known().get(architecture.key, TabulatedNetwork(architecture=architecture)).fastest_ms
            if "eager" not in timed:
                maker.time([(architecture, "eager")])
        maker.trained(architecture, f"search {number}.{len(keys)}", waits=True)
        keys.append(architecture.key)
        known = maker.known()
        yield


def longer(networks: Sequence[TabulatedNetwork], base: int, number: int) -> list[Architecture]:
    """Return what goes on: half of it near the front of the base length, the nearest first, the others at random.

    Among the others, what is at it already comes first.
    """
    whole = [(one, curve) for one in networks if (curve := one.curve(base)) and "eager" in one.fastest_ms]
    points = [(curve.mean_db(base), one.fastest_ms["eager"]) for one, curve in whole]
    kept = [one for one, is_near in enumerate(are_near(points, GOES_ON_DB, GOES_ON_SHARE)) if is_near]
    # By what the best of those as fast is ahead, which of a front is nothing.
    behind = [max(db for db, ms in points if ms <= limit) - psnr for psnr, limit in points]
    kept.sort(key=lambda one: (behind[one], hash_of(whole[one][0])))
    near = [whole[one][0] for one in kept][: number // 2]
    chosen = {
        one.architecture.key: one.architecture
        for one in (*near, *in_lasting_order([one for one, _ in whole], "longer"))
    }
    return list(chosen.values())[:number]


def in_lasting_order(networks: Sequence[TabulatedNetwork], part: str) -> list[TabulatedNetwork]:
    """Return networks in a random order that does not change when others join, what a part has begun first."""
    return sorted(networks, key=lambda one: (part not in one.sources, hash_of(one)))


def hash_of(network: TabulatedNetwork) -> str:
    """Return a random place in an order that never changes."""
    return hashlib.sha256(network.architecture.key.encode()).hexdigest()


def due(known: Sequence[TabulatedNetwork], runtimes: Sequence[str]) -> list[tuple[Architecture, str]]:
    """Return what is to be timed: what was not yet, else all in a random order, in one runtime after the other."""
    missing = [(one.architecture, name) for name in runtimes for one in known if name not in one.fastest_ms]
    return missing or [(one.architecture, name) for name in runtimes for one in random.sample(known, len(known))]


def run(maker: Maker, part: str, number: int, trials: int, runtimes: Sequence[str]) -> Iterator[tuple[int, int]]:
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
            timings = due(known, runtimes)
            for first in range(0, len(timings), _TOGETHER):
                yield first, len(timings)
                maker.time(timings[first : first + _TOGETHER])
    else:
        jobs = {
            "halves": lambda: [partial(maker.trained, a, s, LADDER[-1]) for s, a in halves(maker.space, number)],
            "uniform": lambda: [partial(maker.trained, a, s) for s, a in uniform(maker.space, number)],
            "longer": lambda: [partial(maker.trained, a, "longer", LADDER[-1]) for a in longer(known, base, number)],
            "seeds": lambda: [
                partial(maker.trained, one.architecture, "seeds", seed=seed)
                for one in in_lasting_order(known, "seeds")[:number]
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
    parser.add_argument("--runtimes", nargs="+", default=["eager", "onnxruntime", "openvino"], help="for part latency")
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
    if given.every < 1:
        parser.error(f"--every >= 1 must hold, but got {given.every}")
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
            for done, total in run(maker, given.part, given.number, given.trials, given.runtimes):
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
    with told_errors("table.py"):
        main()
