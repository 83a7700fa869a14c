"""Does the ranking after minutes hold after hours? The lengths of a ladder, read from a table of trained networks.

The table (``benchmarks/table.py halves``) holds networks of which half have attention in most positions, each trained
to every length, at whose end the rate is 0; a longer training goes on from the shorter. Shown is Kendall's tau of each
length with the longest, over all pairs and at equal latency (pairs within 15 %, PSNR beside its trend over latency),
with its 95 % bootstrap interval over networks; of the latter pairs also that of those which the longest tells apart by
more than 0.05 dB. Beside it stands what the longest gains on average: an attention block that a short schedule
under-rates gains more than a plain chain. Where networks were trained with other seeds, the same is shown of one seed
with another at the base length, on average over pairs of seeds: no length can rank better than that.

The last lines climb the ladder with what was trained: from each length only what ``srnas search --ladder`` takes goes
on, or what other rules take. Shown is the time in steps beside that of training all to the longest length, what of the
front of all is missed, by how many dB, and the hypervolume.

    python benchmarks/ranking.py [--table benchmarks/tables/tiny-x2.jsonl.xz] [--sources design,half]
"""

import argparse
import math
import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from srnas.leaderboard.rank.front import Point, are_near, hypervolume, non_dominated
from srnas.nas.cli.boundary import told_errors
from srnas.nas.judging.accounts import CLOSE, Account, account, beside_trend
from srnas.nas.revisit.tabular import Curve, TabularBenchmark, TabulatedNetwork, is_attentive
from srnas.nas.run.ladder import GOES_ON_DB, GOES_ON_SHARE

APART_DB = 0.05
# Two seeds are compared only where both were trained for at least so many networks.
_FEWEST = 3
_TABLE = Path(__file__).parent / "tables" / "tiny-x2.jsonl.xz"


@dataclass(frozen=True)
class Trained:
    """A network that was trained to the longest length.

    Attributes:
        network: The network.
        curve: Its training.
        fastest_ms: Its fastest round in milliseconds.
    """

    network: TabulatedNetwork
    curve: Curve
    fastest_ms: float

    def point(self, steps: int) -> Point:
        """Return ``(PSNR-Y in dB, fastest round in ms)`` after so many steps."""
        return self.curve.mean_db(steps), self.fastest_ms


@dataclass(frozen=True)
class Taus:
    """Kendall's tau of one ranking with another.

    Attributes:
        over_all: Over all pairs.
        at_equal: Over pairs of equal latency, with its interval; ``None`` where there are too few.
        apart: The same of what is then told apart; ``None`` where nothing is.
    """

    over_all: float
    at_equal: Account | None
    apart: float | None

    @classmethod
    def of(cls, first: Sequence[float], last: Sequence[float], fastest_ms: Sequence[float]) -> Self:
        """Return those of a PSNR in dB with a later one."""
        ranked, reached = beside_trend(first, fastest_ms), beside_trend(last, fastest_ms)
        found = account({"tau": dict(enumerate(ranked))}, dict(enumerate(last)), dict(enumerate(fastest_ms)))
        signs = [
            ((a - b) * (c - d) > 0) - ((a - b) * (c - d) < 0)
            for (a, c, ms), (b, d, other_ms) in combinations(zip(ranked, reached, fastest_ms, strict=True), 2)
            if abs(math.log(ms / other_ms)) <= math.log(1 + CLOSE) and abs(c - d) > APART_DB
        ]
        apart = statistics.fmean(signs) if signs else None
        return cls(kendalltau(first, last).statistic, found[0] if found else None, apart)

    def cells(self) -> list[str]:
        """Return how a row shows them."""
        one = self.at_equal
        at_equal = f"{one.tau:.2f} ({one.low:.2f}-{one.high:.2f})" if one else ""
        return [f"{self.over_all:.2f}", at_equal, "" if self.apart is None else f"{self.apart:.2f}"]


def rows_of(known: Sequence[Trained], lengths: Sequence[int]) -> Iterator[list[str]]:
    """Yield a row for each length."""
    longest = [one.curve.mean_db(lengths[-1]) for one in known]
    for length in lengths:
        at = [one.curve.mean_db(length) for one in known]
        row = [f"{length:,}", str(len(known)), f"{statistics.fmean(at):.3f}"]
        for kind in (True, False):
            pairs = zip(known, at, longest, strict=True)
            gains = [last - first for one, first, last in pairs if is_attentive(one.network.architecture) is kind]
            row.append(f"{statistics.fmean(gains):+.3f}" if gains else "")
        row += Taus.of(at, longest, [one.fastest_ms for one in known]).cells()
        yield [*row, f"{statistics.fmean(one.curve.train_s[length] for one in known):.1f}"]


def between_seeds(networks: Sequence[TabulatedNetwork], steps: int, runtime: str) -> str:
    """Return in words how well one seed ranks as another does; empty where no two seeds were trained."""
    several = [
        one for one in networks if runtime in one.fastest_ms and sum(steps in c.psnr_y_db for c in one.curves) > 1
    ]
    if not several:
        return ""
    seeds = sorted({curve.seed for one in several for curve in one.curves})
    found: list[Taus] = []
    for first, second in combinations(seeds, 2):
        both = [(one, a, b) for one in several if (a := one.curve(steps, first)) and (b := one.curve(steps, second))]
        if len(both) < _FEWEST:
            continue
        ends = [
            [curve.mean_db(steps) for curve in curves] for curves in zip(*((a, b) for _, a, b in both), strict=True)
        ]
        found.append(Taus.of(*ends, [one.fastest_ms[runtime] for one, _, _ in both]))
    spread = [
        statistics.stdev(curve.mean_db(steps) for curve in one.curves if steps in curve.psnr_y_db) for one in several
    ]
    if not found:
        return ""
    over_all = statistics.fmean(one.over_all for one in found)
    accounts = [one.at_equal for one in found if one.at_equal]
    tau, low, high = (statistics.fmean(getattr(one, end) for one in accounts) for end in ("tau", "low", "high"))
    return (
        f"one seed with another after {steps:,} steps, {len(several)} networks, pairs of seeds: {len(found)}: mean "
        f"tau {over_all:.2f}, at equal latency {tau:.2f} ({low:.2f}-{high:.2f}); standard deviation "
        f"{statistics.median(spread):.3f} dB in the median"
    )


@dataclass(frozen=True)
class Rule:
    """What goes on to the next length: the front, what is so near it, and what is so called."""

    name: str
    near_db: float
    near_share: float
    designs: Collection[str] = ()


def climb(known: Sequence[Trained], lengths: Sequence[int], rule: Rule) -> str:
    """Return in words what a ladder costs by a rule, beside training all to the longest length, and what it misses."""
    longest, chosen = lengths[-1], list(known)
    counts, spent_s, before = [], 0.0, 0
    at = chosen
    for length in lengths:
        at = chosen
        counts.append(len(at))
        spent_s += sum(one.curve.train_s[length] - one.curve.train_s.get(before, 0.0) for one in at)
        before = length
        near = are_near([one.point(length) for one in at], rule.near_db, rule.near_share)
        chosen = [one for one, is_near in zip(at, near, strict=True) if is_near or one.network.design in rule.designs]
    whole = non_dominated([one.point(longest) for one in known])
    front = [one for one, is_on in zip(known, whole, strict=True) if is_on]
    missed = [one.point(longest) for one in front if one not in at]
    ended = [one.point(longest) for one in at]
    left_db = [psnr - max((other for other, ms in ended if ms <= limit), default=0.0) for psnr, limit in missed]
    reference = (min(one.point(longest)[0] for one in known), 1.01 * max(one.fastest_ms for one in known))
    volumes = [hypervolume(some, reference) for some in (ended, [one.point(longest) for one in known])]
    all_s = sum(one.curve.train_s[longest] for one in known)
    return (
        f"{rule.name}: {', '.join(f'{number} at {length:,}' for number, length in zip(counts, lengths, strict=True))}: "
        f"{spent_s / all_s:.2f} of the {all_s:,.0f} s that all to {longest:,} take; of the front of {len(front)} it "
        f"misses {len(missed)}, by {max(left_db, default=0.0):.2f} dB at most; hypervolume "
        f"{volumes[0] / volumes[1]:.4f} of that of all"
    )


def numbers(text: str) -> list[int]:
    """Return whole numbers that stand between commas."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Read the table and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--table", type=Path, default=_TABLE)
    parser.add_argument("--sources", default="design,half", help="kinds of networks")
    parser.add_argument("--lengths", type=numbers, default="1,3,10", help="multiples of the base length")
    parser.add_argument("--runtime", default="eager")
    given = parser.parse_args()
    made, console = TabularBenchmark.load(given.table), Console()
    lengths = [multiple * made.head.iterations for multiple in given.lengths]
    kinds = set(given.sources.split(","))
    networks = [one for one in made.networks.values() if kinds & {source.split()[0] for source in one.sources}]
    known = [
        Trained(one, curve, one.fastest_ms[given.runtime])
        for one in networks
        if (curve := one.curve(lengths[-1])) and given.runtime in one.fastest_ms
    ]
    known = [one for one in known if one.curve.psnr_y_db.keys() >= set(lengths)]
    if len(known) < 2:
        every = ", ".join(f"{length:,}" for length in lengths)
        raise SystemExit(f"two or more networks must be judged after {every} steps, but {len(known)} are.")
    attentive = sum(is_attentive(one.network.architecture) for one in known)
    title = f"{len(known)} networks of '{made.head.space}', {attentive} with attention in most positions"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    heads = f"steps|nets|PSNR-Y|gain, att.|others|tau, all|at equal latency|> {APART_DB} dB|s each"
    for head in heads.split("|"):
        table.add_column(head, justify="right")
    for row in rows_of(known, lengths):
        table.add_row(*row)
    console.print(table)
    if said := between_seeds(networks, made.head.iterations, given.runtime):
        console.print(said, soft_wrap=True)
    designs = {one.network.design for one in known} - {""}
    rules = [Rule("ours", GOES_ON_DB, GOES_ON_SHARE, designs), Rule("the front alone", 0.0, 0.0)]
    rules += [Rule(f"within {near_db} dB and 10 %", near_db, 0.1) for near_db in (0.05, 0.1, 0.2)]
    for rule in rules:
        console.print(climb(known, lengths, rule), soft_wrap=True)


if __name__ == "__main__":
    with told_errors("ranking.py"):
        main()
