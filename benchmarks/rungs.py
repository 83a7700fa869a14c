"""What rungs save and what they cost, replayed on learning curves of real networks.

Curves: the human designs of space 'tiny', random networks of it and mutations of the best of those, trained as
``srnas search`` trains them (scale 2, embedded photographs), with PSNR at seven shares of the schedule and the measured
latency. They are recorded once into a file, which takes about a quarter of an hour, and replayed in many random orders.

Each rule is shown on all networks and on the halves of them. Baselines: no stopping; stopping as many at random;
successive halving by PSNR alone, of as many.

    python benchmarks/rungs.py --curves curves.json [--networks 48] [--orders 200] [--json]
"""

import argparse
import itertools
import json
import math
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from srnas.leaderboard.rank.front import hypervolume, non_dominated
from srnas.nas.images.evaluation import evaluate_bicubic
from srnas.nas.images.pairs import make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import embedded_photos
from srnas.nas.judging.cache import ResultCache
from srnas.nas.judging.candidate import CandidateTraining
from srnas.nas.judging.draft import Draft
from srnas.nas.judging.materials import Materials
from srnas.nas.judging.observer import Observer
from srnas.nas.run.plan import latency_input, load_photos, study_settings, training_config
from srnas.nas.run.request import SearchRequest
from srnas.nas.strategy.rungs import Halving, RungResult
from srnas.nas.training.loop import build_seeded
from srnas.profiling import Target, measure_latency
from srnas.search_space import Architecture, SearchSpace, human_designs

SHARES = (0.1, 0.2, 1 / 3, 0.5, 2 / 3, 0.8, 1.0)
_TOGETHER = 6
_LEAST = Halving().least


@dataclass(frozen=True)
class Curve:
    """A network: its architecture, latency and PSNR at each of ``SHARES``."""

    key: str
    architecture: dict[str, Any]
    fastest_ms: float
    psnr_db: tuple[float, ...]

    @property
    def point(self) -> tuple[float, float]:
        """PSNR at the end, and latency."""
        return self.psnr_db[-1], self.fastest_ms


def record(path: Path, number: int, iterations: int | None, console: Console) -> list[Curve]:
    """Return curves from ``path``; train what is missing, and write after each network."""
    curves = (
        [Curve(**{**c, "psnr_db": tuple(c["psnr_db"])}) for c in json.loads(path.read_text())] if path.exists() else []
    )
    request = SearchRequest(workspace=Path(tempfile.mkdtemp()), device="cpu", iterations=iterations)
    space = SearchSpace.load(request.space, request.scale)
    config = training_config(request, space).model_copy(update={"rungs": SHARES})
    photos = load_photos(request, space, config)
    size = latency_input(space, None)
    settings = study_settings(request, space, torch.device("cpu"), config, size, photos)
    pairs, held_out = (make_pairs(p, request.scale) for p in photos)
    cache = ResultCache(request.workspace, "curves")
    patches = PatchSampler(pairs, request.scale, config.patch, torch.device("cpu"))
    materials = Materials(settings, patches, held_out, photos[1].name, cache, Observer())
    rng = random.Random(0)
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("recording curves", total=number, completed=len(curves))
        while len(curves) < number:
            batch = _draw(space, curves, min(_TOGETHER, number - len(curves)), rng)
            networks = {a.key: build_seeded(a, 0).deploy() for a in batch}
            timed = measure_latency(networks, (1, 3, *size), Target(torch.device("cpu")))
            for architecture in batch:
                rungs = CandidateTraining(materials, architecture, Draft()).run().rungs
                latency = timed.latencies[architecture.key].fastest_ms
                curves.append(
                    Curve(architecture.key, architecture.to_dict(), latency, tuple(r.psnr_y_db for r in rungs))
                )
                path.write_text(json.dumps([asdict(curve) for curve in curves]))
                bars.update(task, completed=len(curves))
    return curves


def _draw(space: SearchSpace, curves: Sequence[Curve], number: int, rng: random.Random) -> list[Architecture]:
    """Return unseen networks: human designs first, then random ones and mutations of the front in turn."""
    known = {curve.key for curve in curves}
    front = non_dominated([curve.point for curve in curves])
    good = [Architecture.from_dict(c.architecture) for c, kept in zip(curves, front, strict=True) if kept]
    drawn = [design for design in human_designs(space).values() if design.key not in known][:number]
    while len(drawn) < number:
        mutate = good and len(drawn) % 2
        architecture = space.mutate(rng.choice(good), rng) if mutate else space.sample(rng)
        if architecture.key not in known | {other.key for other in drawn}:
            drawn.append(architecture)
    return drawn


def reached(curve: Curve, share: float) -> float:
    """Return the PSNR at a share of the schedule."""
    return curve.psnr_db[SHARES.index(share)]


def expected(curve: Curve, share: float, weight: float) -> float:
    """Return the PSNR at a share, and so much of what a line over the logarithm of steps adds until the end.

    The line goes through the share before; the first has none.
    """
    before = SHARES[max(0, SHARES.index(share) - 1)]
    if before == share:
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
    """Return the rule of ``nas/strategy/rungs.py``; nobody is spared here."""
    halving = Halving(eta=eta, neighbours=neighbours, margin_db=margin_db, spared_share=0.0)
    shown = ", ".join(f"{rung:.2g}" for rung in rungs)
    name = f"ours: eta {eta:g}, {neighbours} neighbours, rungs at {shown}" + (f", {margin_db} dB" if margin_db else "")
    return Rule(name, rungs, lambda newcomer, others: halving.decide(newcomer, others).survives)


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
            survives = rule.survives(result, known[share])
            known[share].append(result)
            if not survives:
                spent += share
                break
        else:
            spent += 1
            finished.append(curve.point)
    whole = hypervolume([curve.point for curve in curves], reference)
    return 1 - spent / len(curves), 1 - hypervolume(finished, reference) / whole


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
    """Return the rows of the table: ours by default, in other settings, and the baselines that save as much."""
    default = Halving()
    rows = [evaluate(curves, ours((1 / 3,), default.eta, default.neighbours, default.margin_db), reference, orders)]
    for rungs, eta, neighbours in itertools.product(((1 / 3,), (0.2,), (1 / 3, 2 / 3)), (3.0, 8.0, 17.0), (8, 16)):
        rows.append(evaluate(curves, ours(rungs, eta, neighbours), reference, orders))
    rows += [evaluate(curves, by_slope(weight), reference, orders) for weight in (0.5, 1.0)]
    rows += [evaluate(curves, ours((1 / 3,), 17.0, 16, margin_db), reference, orders) for margin_db in (0.1, 0.2)]
    kept = 1 - rows[0]["saved"] * 1.5
    rows.append(evaluate(curves, by_psnr((1 / 3,), kept), reference, orders))
    rows.append(evaluate(curves, at_random((1 / 3,), kept, random.Random(2)), reference, orders))
    rows.append({"rule": "no stopping", "saved": 0.0, "lost": 0.0, "lost_95_percent": 0.0})
    return rows


def main() -> None:
    """Record what is missing, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--iterations", type=int, help="of each recorded training; by default those of the space")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    console = Console(stderr=True)
    curves = record(given.curves, given.networks, given.iterations, console)
    bicubic = evaluate_bicubic(make_pairs(embedded_photos("held-out"), 2), 2).mean_psnr_y_db
    reference = bicubic, max(curve.fastest_ms for curve in curves)
    parts = {"all": curves, "one half": curves[::2], "other half": curves[1::2]}
    with console.status("replaying"):
        rows = {name: compare(part, reference, given.orders) for name, part in parts.items()}
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        title=f"{len(curves)} networks of 'tiny', {given.orders} orders: training saved, hypervolume lost (95 %)"
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
    main()
