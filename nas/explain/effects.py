"""The block atlas: the effect of each block at each relative depth, from the trials of finished studies.

A trial that a rung stopped has no final PSNR: it is predicted from its last rung by a line through the trials that were
trained to the end, and counts by as much less as that line is wrong. (They were stopped for what they had reached, on
which the line conditions.) Latency needs no training: every timed trial counts, with its fastest round as a multiple of
the reference convolution's of the same rounds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.explain.ridge import Fit, Matrix, Vector, fit_hierarchical
from srnas.search_space import Architecture, InputError
from srnas.search_space.choice import NONE

# With fewer trials that reached a rung and the end, nothing is predicted from it.
_FEWEST_PAIRS = 8
# With fewer trials there is no regression.
FEWEST_TRIALS = 20


class Cell(NamedTuple):
    """A block in one of several equal parts of the depth, counted from 0."""

    block: str
    role: str
    depth: int


class Range(NamedTuple):
    """An effect with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval does not hold 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Effect:
    """What one more block of a kind in a part of the depth does, all else equal.

    Attributes:
        cell: Block and depth.
        psnr_db: Change of PSNR-Y in dB.
        latency: Change of the latency as a share of it.
        trials: Number of trials that have it, of those that tell of PSNR.
    """

    cell: Cell
    psnr_db: Range
    latency: Range
    trials: int


@dataclass(frozen=True, eq=False)
class Atlas:
    """The effects of all blocks.

    Attributes:
        effects: By block, and from the first part of the depth on.
        depths: Number of parts of the depth.
        complete: Number of trials that were trained to the end.
        predicted: Number of trials whose PSNR is predicted from a rung.
        timed: Number of trials whose latency counts.
        noise_db: Standard deviation of PSNR about the fit in dB.
        psnr_explained: Share of the variance of PSNR that the fit explains.
        latency_explained: Share of the variance of log latency that the fit explains.
    """

    effects: tuple[Effect, ...]
    depths: int
    complete: int
    predicted: int
    timed: int
    noise_db: float
    psnr_explained: float
    latency_explained: float


class Outcome(NamedTuple):
    """PSNR of a trial in dB, and the variance by which it is not known."""

    psnr_db: float
    variance: float


def cells_of(architecture: Architecture, depths: int) -> list[Cell]:
    """Return the blocks of an architecture with the part of the depth in which each stands."""
    total = len(architecture.positions)
    found = []
    for number, position in enumerate(architecture.positions):
        depth = min(int((number + 0.5) / total * depths), depths - 1)
        for choice, role in ((position.trunk, "trunk"), (position.attention, "attention")):
            if choice.name != NONE:
                found.append(Cell(choice.name, role, depth))
    return found


def outcomes(trials: Sequence[TrialRecord]) -> dict[int, Outcome]:
    """Return, by place in ``trials`` of one study, the PSNR of those trained to the end or stopped at a rung."""
    found = {i: Outcome(t.quality.mean_psnr_y_db, 0.0) for i, t in enumerate(trials) if _is_complete(t) and t.quality}
    lines: dict[int, tuple[float, float, float] | None] = {}
    for i, trial in enumerate(trials):
        if trial.state != "stopped" or not trial.rungs:
            continue
        iteration, reached = trial.rungs[-1].iteration, trial.rungs[-1].psnr_y_db
        if iteration not in lines:
            lines[iteration] = _line([t for t in trials if _is_complete(t)], iteration)
        line = lines[iteration]
        if line is not None:
            slope, intercept, variance = line
            found[i] = Outcome(intercept + slope * reached, variance)
    return found


def _is_complete(trial: TrialRecord) -> bool:
    return trial.state == "complete" and trial.quality is not None and math.isfinite(trial.quality.mean_psnr_y_db)


def _line(complete: Sequence[TrialRecord], iteration: int) -> tuple[float, float, float] | None:
    """Return slope, intercept and variance of the final PSNR given that at a rung."""
    pairs = [
        (rung.psnr_y_db, trial.quality.mean_psnr_y_db)
        for trial in complete
        for rung in trial.rungs
        if rung.iteration == iteration and trial.quality is not None
    ]
    if len(pairs) < _FEWEST_PAIRS or np.ptp([reached for reached, _ in pairs]) == 0:
        return None
    reached, final = np.array(pairs).T
    slope, intercept = np.polyfit(reached, final, 1)
    variance = float(((final - intercept - slope * reached) ** 2).sum()) / (len(pairs) - 2)
    return float(slope), float(intercept), variance


def block_atlas(studies: Sequence[Sequence[TrialRecord]], depths: int = 3) -> Atlas:
    """Return the effects of blocks over the trials of one or several studies.

    Args:
        studies: The trials of each study.
        depths: Number of equal parts of the relative depth.

    Raises:
        InputError: If too few trials tell anything.
    """
    known = [(s, trials[i], one) for s, trials in enumerate(studies) for i, one in outcomes(trials).items()]
    timed = [(s, trial) for s, trials in enumerate(studies) for trial in trials if trial.latency is not None]
    if min(len(known), len(timed)) < FEWEST_TRIALS:
        raise InputError(
            f"an atlas needs at least {FEWEST_TRIALS} trials that were timed and trained, at least to a rung, but got "
            f"{len(known)}; extend the study."
        )
    cells = sorted({cell for _, trial, _ in known for cell in cells_of(trial.architecture, depths)}, key=_order)
    psnr = _fit(cells, [(s, t.architecture) for s, t, _ in known], [one.psnr_db for *_, one in known],
                [one.variance for *_, one in known], depths)  # fmt: skip
    # As a multiple of the reference of the same rounds, so that the load of the machine at that moment cancels.
    logs = [math.log(trial.latency.reference_ratio) for _, trial in timed if trial.latency]
    latency = _fit(cells, [(s, t.architecture) for s, t in timed], logs, [0.0] * len(logs), depths)
    counts = [sum(cell in cells_of(t.architecture, depths) for _, t, _ in known) for cell in cells]
    effects = tuple(
        Effect(cell, _range(psnr, i), Range(*(math.expm1(value) for value in _range(latency, i))), counts[i])
        for i, cell in enumerate(cells)
    )
    predicted = sum(one.variance > 0 for *_, one in known)
    return Atlas(
        effects, depths, len(known) - predicted, predicted, len(timed), psnr.noise, psnr.explained, latency.explained
    )


def _order(cell: Cell) -> tuple[str, str, int]:
    return cell.role, cell.block, cell.depth


def _range(fit: Fit, i: int) -> Range:
    return Range(float(fit.effects[i]), float(fit.lows[i]), float(fit.highs[i]))


def _fit(
    cells: Sequence[Cell],
    subjects: Sequence[tuple[int, Architecture]],
    responses: Sequence[float],
    variances: Sequence[float],
    depths: int,
) -> Fit:
    place = {cell: i for i, cell in enumerate(cells)}
    effects = np.zeros((len(subjects), len(cells)))
    for row, (_, architecture) in enumerate(subjects):
        for cell in cells_of(architecture, depths):
            if cell in place:
                effects[row, place[cell]] += 1
    groups = [(cell.role, cell.block) for cell in cells]
    return fit_hierarchical(effects, groups, _covariates(subjects), np.array(responses), np.array(variances))


def _covariates(subjects: Sequence[tuple[int, Architecture]]) -> Matrix:
    """Return what else networks differ in: study, channels, tail, skip, how often attention is before its trunk."""
    columns: list[Vector] = [np.array([math.log(a.channels) for _, a in subjects])]
    for values in (
        [str(study) for study, _ in subjects],
        [str(a.tail) for _, a in subjects],
        [a.global_skip for _, a in subjects],
    ):
        columns += [np.array([float(value == one) for value in values]) for one in sorted(set(values))[1:]]
    columns.append(np.array([float(sum(p.order == "before" for p in a.positions)) for _, a in subjects]))
    return np.column_stack(columns)


def sentences(atlas: Atlas) -> list[str]:
    """Return one sentence for each block and depth whose interval of PSNR does not hold 0, the greatest first."""
    sure = sorted((e for e in atlas.effects if e.psnr_db.is_sure), key=lambda e: -e.psnr_db.value)
    return [_sentence(effect, atlas.depths) for effect in sure]


def _sentence(effect: Effect, depths: int) -> str:
    psnr, latency = effect.psnr_db, effect.latency
    slower = f"{latency.value:+.0%} latency" if latency.is_sure else "no sure change of latency"
    return (
        f"{effect.cell.block}, {depth_name(effect.cell.depth, depths)}: {psnr.value:+.3f} dB ({psnr.low:+.3f} to "
        f"{psnr.high:+.3f}), {slower}, {effect.trials} trials"
    )


def depth_name(depth: int, depths: int) -> str:
    """Return a part of the depth in words."""
    if depths == 3:
        return f"{('first', 'middle', 'last')[depth]} third"
    return f"{depth / depths:.0%} to {(depth + 1) / depths:.0%}"
