"""What rungs save and what they cost, replayed in many random orders on the learning curves of a table.

The table (``benchmarks/table.py``) holds PSNR at seven shares of the base length, trained as ``srnas search`` trains.
Each rule is shown on all networks and on the halves of them. Human designs run to their end by every rule, as in a
search. Baselines: no stopping; stopping about as many of the others at random, or by PSNR alone.

    python benchmarks/rungs.py [--table benchmarks/tables/tiny-x2.jsonl.xz] [--networks 48] [--orders 200] [--json]
"""

import argparse
import itertools
import json
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from srnas.leaderboard.rank.front import hypervolume
from srnas.nas.cli.boundary import told_errors
from srnas.nas.revisit.tabular import TabularBenchmark
from srnas.nas.strategy.rungs import Halving, RungResult

_TABLE = Path(__file__).parent / "tables" / "tiny-x2.jsonl.xz"
_LEAST = Halving().least


@dataclass(frozen=True)
class Curve:
    """A network: its key, whether it is a human design, its latency, and PSNR by the share of the schedule."""

    key: str
    is_yardstick: bool
    fastest_ms: float
    psnr_db: dict[float, float]

    @property
    def point(self) -> tuple[float, float]:
        """PSNR at the end, and latency."""
        return self.psnr_db[1.0], self.fastest_ms


def curves_of(table: TabularBenchmark, runtime: str) -> list[Curve]:
    """Return the whole curves of a table, shuffled: it holds networks of one kind after another."""
    head, curves = table.head, []
    for key, network in table.networks.items():
        curve = network.curve(head.iterations)
        if curve and runtime in network.fastest_ms and curve.psnr_y_db.keys() >= set(head.rungs):
            shares = {steps / head.iterations: curve.mean_db(steps) for steps in head.rungs}
            curves.append(Curve(key, bool(network.design), network.fastest_ms[runtime], shares))
    return random.Random(0).sample(curves, len(curves))


def nearest(curve: Curve, share: float) -> float:
    """Return the recorded share that is nearest to one."""
    return min(curve.psnr_db, key=lambda recorded: abs(recorded - share))


def reached(curve: Curve, share: float) -> float:
    """Return the PSNR at a share of the schedule."""
    return curve.psnr_db[nearest(curve, share)]


def expected(curve: Curve, share: float, weight: float) -> float:
    """Return the PSNR at a share, and so much of what a line over the logarithm of steps adds until the end.

    The line goes through the share before; the first has none.
    """
    shares = sorted(curve.psnr_db)
    number = shares.index(nearest(curve, share))
    before = shares[number - 1]
    if not number:
        return reached(curve, share)
    slope = (reached(curve, share) - reached(curve, before)) / math.log(share / before)
    return reached(curve, share) - weight * slope * math.log(share)


@dataclass(frozen=True)
class Rule:
    """A way of stopping.

    Attributes:
        name: What the table calls it.
        rungs: Shares of the schedule at which it decides.
        survives: The decision for a newcomer at a rung.
        seen: What it compares of a curve at a share.
    """

    name: str
    rungs: tuple[float, ...]
    survives: Callable[[RungResult, list[RungResult]], bool]
    seen: Callable[[Curve, float], float] = reached


def ours(rungs: tuple[float, ...], eta: float, neighbours: int, margin_db: float = 0.0) -> Rule:
    """Return the rule of ``nas/strategy/rungs.py``; nobody is spared."""
    halving = Halving(eta=eta, neighbours=neighbours, margin_db=margin_db, spared_share=0.0)
    shown = ", ".join(f"{rung:.2g}" for rung in rungs)
    name = f"ours: eta {eta:g}, {neighbours} neighbours, rungs at {shown}" + (f", {margin_db} dB" if margin_db else "")
    return Rule(name, rungs, lambda newcomer, others: halving.decide(newcomer, others).survives)


def as_in_a_search() -> Rule:
    """Return our rule as a search runs it: a random share goes on whatever the rule says."""
    default, rng = Halving(), random.Random(3)
    rule = ours((1 / 3,), default.eta, default.neighbours, default.margin_db)

    def survives(newcomer: RungResult, others: list[RungResult]) -> bool:
        return rule.survives(newcomer, others) or rng.random() < default.spared_share

    return replace(rule, name=f"{rule.name}, {default.spared_share:.0%} spared", survives=survives)


def by_slope(weight: float) -> Rule:
    """Return the rule of ``nas/strategy/rungs.py``, where what a curve is expected to gain counts with a weight."""
    rule = ours((1 / 3,), Halving().eta, Halving().neighbours, Halving().margin_db)
    return replace(rule, name=f"ours, with {weight:g} of its slope", seen=partial(expected, weight=weight))


def by_psnr(rungs: tuple[float, ...], kept: float) -> Rule:
    """Return successive halving by PSNR alone, whatever the latency."""

    def survives(newcomer: RungResult, others: list[RungResult]) -> bool:
        better = sum(other.psnr_db > newcomer.psnr_db for other in others)
        return len(others) < _LEAST or better < math.ceil((len(others) + 1) * kept)

    return Rule("PSNR alone", rungs, survives)


def at_random(rungs: tuple[float, ...], kept: float, rng: random.Random) -> Rule:
    """Return stopping by chance."""
    return Rule("random", rungs, lambda newcomer, others: len(others) < _LEAST or rng.random() < kept)


def replay(curves: Sequence[Curve], rule: Rule, reference: tuple[float, float]) -> tuple[float, float]:
    """Return the share of the training that is saved and that of the hypervolume that is lost, in this order."""
    known: dict[float, list[RungResult]] = {share: [] for share in rule.rungs}
    spent, finished = 0.0, []
    for curve in curves:
        for share in rule.rungs:
            result = RungResult(curve.key, rule.seen(curve, share), curve.fastest_ms)
            survives = curve.is_yardstick or rule.survives(result, known[share])
            known[share].append(result)
            if not survives:
                spent += share
                break
        else:
            spent += 1
            finished.append(curve.point)
    whole = hypervolume([curve.point for curve in curves], reference)
    return 1 - spent / len(curves), 1 - hypervolume(finished, reference) / whole if whole else 0.0


def evaluate(curves: Sequence[Curve], rule: Rule, reference: tuple[float, float], orders: int) -> dict[str, Any]:
    """Return means over random orders."""
    rng = random.Random(1)
    found = [replay(rng.sample(curves, len(curves)), rule, reference) for _ in range(orders)]
    saved, lost = zip(*found, strict=True)
    return {
        "rule": rule.name,
        "saved": statistics.fmean(saved),
        "lost": statistics.fmean(lost),
        "lost_95_percent": sorted(lost)[math.ceil(0.95 * orders) - 1],
    }


def compare(curves: Sequence[Curve], reference: tuple[float, float], orders: int) -> list[dict[str, Any]]:
    """Return the rows: our rule as in a search, in other settings, and the baselines that stop about as many."""
    default = Halving()
    rows = [evaluate(curves, as_in_a_search(), reference, orders)]
    rows.append(evaluate(curves, ours((1 / 3,), default.eta, default.neighbours, default.margin_db), reference, orders))
    for rungs, eta, neighbours in itertools.product(((1 / 3,), (0.2,), (1 / 3, 2 / 3)), (3.0, 8.0, 17.0), (8, 16)):
        rows.append(evaluate(curves, ours(rungs, eta, neighbours), reference, orders))
    rows += [evaluate(curves, by_slope(weight), reference, orders) for weight in (0.5, 1.0)]
    rows += [evaluate(curves, ours((1 / 3,), 17.0, 16, margin_db), reference, orders) for margin_db in (0.1, 0.2)]
    candidates = sum(not curve.is_yardstick for curve in curves)
    # What is stopped at a third saves two thirds, and nobody is stopped before the least number of others is there.
    stopped, stoppable = rows[0]["saved"] * 1.5 * len(curves), candidates * (1 - _LEAST / len(curves))
    kept = 1 - stopped / stoppable if stoppable > 0 else 1.0
    rows.append(evaluate(curves, by_psnr((1 / 3,), kept), reference, orders))
    rows.append(evaluate(curves, at_random((1 / 3,), kept, random.Random(2)), reference, orders))
    rows.append({"rule": "no stopping", "saved": 0.0, "lost": 0.0, "lost_95_percent": 0.0})
    return rows


def main() -> None:
    """Replay, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=_TABLE)
    parser.add_argument("--networks", type=int, help="so many of the table's; by default all")
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.orders < 1:
        parser.error(f"--orders >= 1 must hold, but got {given.orders}")
    made = TabularBenchmark.load(given.table)
    curves = curves_of(made, given.runtime)[: given.networks]
    if len(curves) < 2:
        raise SystemExit(f"two or more whole curves must be there, but '{given.table}' holds {len(curves)}.")
    reference = statistics.fmean(made.head.bicubic_psnr_y_db), max(curve.fastest_ms for curve in curves)
    parts = {"all": curves, "one half": curves[::2], "other half": curves[1::2]}
    with Console(stderr=True).status("replaying"):
        rows = {name: compare(part, reference, given.orders) for name, part in parts.items()}
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        title=(
            f"{len(curves)} networks of '{made.head.space}', {given.orders} orders: training saved, "
            "hypervolume lost (95 %)"
        )
    )
    table.add_column("rule")
    for name, part in parts.items():
        table.add_column(f"{name} ({len(part)})", justify="right")
    for number, row in enumerate(rows["all"]):
        shown = (rows[name][number] for name in parts)
        cells = (f"{r['saved']:.0%}, {r['lost']:.1%} ({r['lost_95_percent']:.1%})" for r in shown)
        table.add_row(row["rule"], *cells)
    Console().print(table)


if __name__ == "__main__":
    with told_errors("rungs.py"):
        main()
