"""How fast samplers find the front of a problem like the search's, where latency is known and PSNR costs a training.

The suite: 12 positions with one of 7 blocks each, a width of 4 and a tail of 3: 14 categorical choices. Latency is an
overhead plus, per position, a cost of the block times the width, and that of the tail. PSNR rises with each block's
merit, the later of a kind the less (1 / sqrt(k)), and with the logarithm of the width. In the ``smooth`` variant few
pairs of kinds work together; in the ``rugged`` one every pair of neighbouring positions has an effect of its own, as
large as a block's. The ``dying`` one is the smooth one where the training of one network in twenty dies. What a trial
sees is noisy: 0.015 dB, 1 % of latency; what counts is the truth. The reference hypervolume is that of the front that a
long evolution without noise and all runs together have found.

With ``--table`` samplers search a table of trained networks (``benchmarks/table.py``) as ``srnas replay`` does: a
proposal that the table lacks stands for the nearest one that it holds. ``front`` knows which it holds and proposes no
other; ``front-anywhere`` proposes from the whole space, as all others do, and loses as they do by what its proposals
stand for. Both know the latencies of all that the table holds, and ``front-anywhere`` fits those of its proposals to
them: in a search a latency is known once a network was timed. The reference is the hypervolume of them all.

What each run has found is printed when it ends: its hypervolume, since the reference is known when all have ended, and
with ``--table`` the shares of it. The seconds per proposal are those of the last ten proposals alone, and of a table's
replay as a whole.

    python benchmarks/samplers.py [--table benchmarks/tables/tiny-x2.jsonl.xz] [--seeds 5] [--trials 200]
        [--samplers front,front-anywhere,gp] [--variants smooth,rugged,dying] [--json]
"""

import argparse
import itertools
import json
import math
import random
import statistics
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from srnas.leaderboard.rank.front import hypervolume, non_dominated
from srnas.nas.cli.boundary import told_errors
from srnas.nas.revisit.replay import ReplayedSearch, sampler_factory
from srnas.nas.revisit.tabular import TabularBenchmark
from srnas.nas.strategy.domain import Choices
from srnas.nas.strategy.front_sampler import FrontSampler

POSITIONS, BLOCKS, WIDTHS, TAILS = 12, 7, (16, 24, 36, 48), 3
PSNR_NOISE_DB, LATENCY_NOISE = 0.015, 0.01
DEAD_DB, ONE_DIES_OF = 25.0, 20
CHECKS = (25, 50, 100, 200)
VARIANTS = ("smooth", "rugged", "dying")


class Problem:
    """A synthetic search space with a known truth."""

    def __init__(self, variant: str, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self.variant = variant
        self.cost = np.array([0.0, *rng.uniform(0.1, 1.2, BLOCKS - 1)])
        # Dearer blocks tend to be better, with exceptions.
        self.merit = np.array([0.0, *(0.25 * np.sqrt(self.cost[1:]) * rng.uniform(0.4, 1.6, BLOCKS - 1))])
        self.place = rng.uniform(0.8, 1.2, POSITIONS)
        self.tail_cost, self.tail_merit = np.array([0.2, 0.5, 1.0]), np.array([0.0, 0.08, 0.12])
        few = rng.normal(0, 0.05, (BLOCKS, BLOCKS)) * (rng.random((BLOCKS, BLOCKS)) < 0.15)
        many = rng.normal(0, 0.06, (POSITIONS - 1, BLOCKS, BLOCKS))
        self.pairs = many if variant == "rugged" else np.broadcast_to(few, many.shape)
        self.distributions = {f"p{i:02d}": CategoricalDistribution(range(BLOCKS)) for i in range(POSITIONS)}
        self.distributions |= {"width": CategoricalDistribution(WIDTHS), "tail": CategoricalDistribution(range(TAILS))}

    def latency_ms(self, params: dict[str, Any]) -> float:
        """Return the true latency."""
        blocks = [params[f"p{i:02d}"] for i in range(POSITIONS)]
        return float(0.5 + (self.cost[blocks].sum() + self.tail_cost[params["tail"]]) * params["width"] / 24)

    def psnr_db(self, params: dict[str, Any]) -> float:
        """Return the true PSNR."""
        if self.variant == "dying" and zlib.crc32(repr(sorted(params.items())).encode()) % ONE_DIES_OF == 0:
            return DEAD_DB
        blocks = [params[f"p{i:02d}"] for i in range(POSITIONS)]
        total, counts = 28.0 + 0.35 * math.log(params["width"] / 16), [0] * BLOCKS
        for place, block in enumerate(blocks):
            counts[block] += 1
            total += self.merit[block] * self.place[place] / math.sqrt(counts[block])
        total += sum(
            self.pairs[i, blocks[i], blocks[i + 1]] for i in range(POSITIONS - 1) if blocks[i] and blocks[i + 1]
        )
        return float(total + self.tail_merit[params["tail"]])

    def point(self, params: dict[str, Any]) -> tuple[float, float]:
        """Return the true objectives."""
        return self.psnr_db(params), self.latency_ms(params)

    @property
    def reference(self) -> tuple[float, float]:
        """Return the reference point: no block at the least width, and the dearest everywhere at the greatest."""
        dearest = int(np.argmax(self.cost))
        empty = {f"p{i:02d}": 0 for i in range(POSITIONS)} | {"width": WIDTHS[0], "tail": 0}
        full = {f"p{i:02d}": dearest for i in range(POSITIONS)} | {"width": WIDTHS[-1], "tail": TAILS - 1}
        return self.psnr_db(empty), self.latency_ms(full)

    def best_known(self, generations: int, seed: int = 0) -> list[tuple[float, float]]:
        """Return the front of a long evolution without noise."""
        rng, domain = random.Random(seed), Choices(self.distributions, self.latency_ms)
        members = [domain.sample(rng) for _ in range(200)]
        for _ in range(generations):
            points = [self.point(member) for member in members]
            members = [m for m, kept in zip(members, non_dominated(points), strict=True) if kept]
            distinct = {domain.key(member): member for member in members}
            members = list(distinct.values())
            children = []
            for _ in range(200):
                child = domain.cross_over(rng.choice(members), rng.choice(members), rng)
                for _ in range(rng.randint(1, 2)):
                    child = domain.mutate(child, rng)
                children.append(child)
            members += children
        return [self.point(member) for member in members]


def samplers(problem: Problem) -> dict[str, Callable[[int], BaseSampler]]:
    """Return what is compared, by name."""
    domain = Choices(problem.distributions, problem.latency_ms)
    return {
        "front": lambda seed: FrontSampler(domain, seed=seed, reference_point=problem.reference),
        "gp": lambda seed: GPSampler(seed=seed),
        "nsga2-50": lambda seed: NSGAIISampler(seed=seed, population_size=50),
        "nsga2-20": lambda seed: NSGAIISampler(seed=seed, population_size=20),
        "tpe": lambda seed: TPESampler(seed=seed),
        "tpe-multivariate": lambda seed: TPESampler(seed=seed, multivariate=True),
        "random": lambda seed: RandomSampler(seed=seed),
    }


def run(problem: Problem, sampler: BaseSampler, seed: int, trials: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the parameters of each trial, and the seconds that each proposal took."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    rng, found, seconds = random.Random(seed), [], []
    for _ in range(trials):
        started = time.perf_counter()
        trial = study.ask(problem.distributions)
        seconds.append(time.perf_counter() - started)
        psnr, latency = problem.point(trial.params)
        study.tell(trial, [psnr + rng.gauss(0, PSNR_NOISE_DB), latency * math.exp(rng.gauss(0, LATENCY_NOISE))])
        found.append(dict(trial.params))
    return found, seconds


def synthetic(
    given: argparse.Namespace, names: Sequence[str], variants: Sequence[str], told: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return the rows of the synthetic problems."""
    rows = []
    for variant in variants:
        problem = Problem(variant)
        runs: dict[str, list[tuple[list[dict[str, Any]], list[float]]]] = {}
        for name, seed in itertools.product(names, range(given.seeds)):
            found, seconds = run(problem, samplers(problem)[name](seed), seed, given.trials)
            runs.setdefault(name, []).append((found, seconds))
            points = [problem.point(params) for params in found]
            told(f"{variant} {name}, seed {seed}: {hypervolume(points, problem.reference):.4f}")
        union = problem.best_known(given.generations) + [
            problem.point(p) for many in runs.values() for one, _ in many for p in one
        ]
        whole = hypervolume(union, problem.reference)
        for name, many in runs.items():
            shares = {
                check: [
                    hypervolume([problem.point(p) for p in one[:check]], problem.reference) / whole for one, _ in many
                ]
                for check in CHECKS
                if check <= given.trials
            }
            repeats = sum(len(one) - len({tuple(p.items()) for p in one}) for one, _ in many) / len(many)
            proposal_s = statistics.fmean(statistics.fmean(s[-10:]) for _, s in many)
            rows.append(row_of(variant, name, shares, repeats, proposal_s))
    return rows


def on_table(given: argparse.Namespace, names: Sequence[str], told: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the rows of a table, none of whose networks is found twice."""
    recording = TabularBenchmark.load(given.table).recording(given.runtime, given.space)
    whole = hypervolume([(one.psnr_db, one.fastest_ms) for one in recording.trials], recording.reference_point)
    anywhere, reference = recording.space_domain, recording.reference_point
    factories = samplers(Problem("smooth")) | {
        "front": sampler_factory("front", recording),
        "front-anywhere": lambda seed: FrontSampler(anywhere, seed=seed, reference_point=reference),
    }
    rows = []
    for name in names:
        shares: dict[int, list[float]] = {}
        started, num_proposals = time.perf_counter(), 0
        for seed in range(given.seeds):
            volumes = (
                ReplayedSearch(recording, factories[name], None, seed, "iterations").run(given.trials).hypervolumes
            )
            num_proposals += len(volumes)
            for check in CHECKS:
                if check <= len(volumes):
                    shares.setdefault(check, []).append(volumes[check - 1] / whole)
            told(f"table {name}, seed {seed}: {' '.join(f'{shares[check][-1]:.4f}' for check in shares)}")
        rows.append(row_of("table", name, shares, 0.0, (time.perf_counter() - started) / num_proposals))
    return rows


def row_of(
    variant: str, sampler: str, shares: Mapping[int, Sequence[float]], repeats: float, proposal_s: float
) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "variant": variant,
        "sampler": sampler,
        **{f"share_at_{check}": statistics.fmean(values) for check, values in shares.items()},
        **{f"least_at_{check}": min(values) for check, values in shares.items()},
        "repeats": repeats,
        "proposal_s": proposal_s,
    }


def main() -> None:
    """Run the suite and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a table of trained networks, in place of synthetic problems")
    parser.add_argument("--runtime", default="eager", help="whose latencies count, of a table")
    parser.add_argument("--space", help="file of the table's space, where it is not a shipped one")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--samplers", default="front,gp,nsga2-50,nsga2-20,tpe,tpe-multivariate,random")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--generations", type=int, default=400, help="of the evolution that finds the reference")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names, console = given.samplers.split(","), Console()
    kinds = ["table"] if given.table else given.variants.split(",")
    known = [*samplers(Problem("smooth")), *(["front-anywhere"] if given.table else [])]
    for what, chosen, valid in (("samplers", names, known), ("variants", given.variants.split(","), VARIANTS)):
        if unknown := set(chosen) - set(valid):
            parser.error(f"--{what} must be of {', '.join(valid)}, but got {', '.join(sorted(unknown))}")
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("runs", total=len(names) * len(kinds) * given.seeds)

        def told(run: str) -> None:
            bars.console.print(run, highlight=False)
            bars.advance(task)

        rows = on_table(given, names, told) if given.table else synthetic(given, names, kinds, told)
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title=f"Share of the reference hypervolume after so many trials, mean (least) of {given.seeds} seeds")
    checks = [check for check in CHECKS if f"share_at_{check}" in rows[0]]
    for head in ("variant", "sampler", *map(str, checks), "repeats", "s per proposal"):
        table.add_column(head, justify="left" if head in ("variant", "sampler") else "right")
    for row in rows:
        shares = [f"{row[f'share_at_{check}']:.3f} ({row[f'least_at_{check}']:.3f})" for check in checks]
        table.add_row(row["variant"], row["sampler"], *shares, f"{row['repeats']:.1f}", f"{row['proposal_s']:.3f}")
    console.print(table)


if __name__ == "__main__":
    with told_errors("samplers.py"):
        main()
