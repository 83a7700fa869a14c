"""The block atlas: effects that were put in come out, and nothing is said of what has none."""

import math

import numpy as np
import pytest

from srnas.leaderboard.record.trials import Quality, Rung, TrialRecord
from srnas.nas.explain import block_atlas, sentences
from srnas.nas.explain.effects import Cell, cells_of, depth_name, outcomes
from srnas.nas.explain.ridge import fit_hierarchical
from srnas.profiling import Latency
from srnas.search_space import Architecture, Choice, InputError, Position

BLOCKS = ("none", "pa", "lia", "mlka", "se")


def latency(ms):
    return Latency(ms, ms, ms, ms, ms, ms, (ms,) * 6, (1.0,) * 6, ())


def record(number, architecture, *, ms=1.0, psnr=None, rung=None, state="complete"):
    quality = None
    if psnr is not None:
        quality = Quality(images=("a",), psnr_y_db=(psnr,), ssim_y=(0.9,), mean_psnr_y_db=psnr, mean_ssim_y=0.9)
    rungs = () if rung is None else (Rung(iteration=10, psnr_y_db=rung),)
    return TrialRecord(
        study="s", number=number, state=state, architecture=architecture, protocol="p", validation="v",
        latency=latency(ms), quality=quality, rungs=rungs, started_ms=0, ended_ms=1,
    )  # fmt: skip


def chain(names, channels=12):
    conv = Choice(name="conv")
    return Architecture(
        scale=2,
        channels=channels,
        positions=tuple(Position(trunk=conv, attention=Choice(name=name)) for name in names),
    )


def simulated(number=90, seed=0):
    """Return trials whose PSNR gains 0.1 dB by MLKA in the last third, and whose latency 20 % by any MLKA."""
    rng = np.random.default_rng(seed)
    trials = []
    for i in range(number):
        names = rng.choice(BLOCKS, 6)
        psnr = 30 + 0.1 * sum(name == "mlka" for name in names[4:]) + rng.normal(0, 0.03)
        ms = 5 * 1.2 ** sum(name == "mlka" for name in names)
        rung = psnr - 1 + rng.normal(0, 0.01)
        stopped = i >= 20 and psnr < 30.03
        given = {"state": "stopped"} if stopped else {"psnr": psnr}
        trials.append(record(i, chain(names), ms=ms, rung=rung, **given))
    return trials


def test_effects_that_were_put_in_come_out():
    atlas = block_atlas([simulated()])
    found = {(one.cell.block, one.cell.depth): one for one in atlas.effects}
    late = found["mlka", 2]
    assert late.psnr_db.low < 0.1 < late.psnr_db.high
    assert late.psnr_db.low > 0.05
    assert late.latency.value == pytest.approx(0.2, abs=0.01)
    others = [one for place, one in found.items() if one.cell.role == "attention" and place != ("mlka", 2)]
    # Intervals of 95 % miss now and then.
    assert sum(one.psnr_db.is_sure for one in others) <= 2
    assert atlas.predicted > 10
    assert atlas.complete + atlas.predicted == atlas.timed == 90


def test_sentences_say_what_intervals_support():
    said = sentences(block_atlas([simulated()]))
    assert said[0].startswith("mlka, last third: +0.")
    assert "+20% latency" in said[0]


def test_stopped_trials_count_with_the_variance_of_the_line_from_their_rung():
    finals = np.array([1.0, 2.0, 3.0, 4.0] * 3)
    errors = np.array([0.1, -0.1] * 6)
    trials = [
        record(i, chain(("pa",)), psnr=float(final + error), rung=float(final))
        for i, (final, error) in enumerate(zip(finals, errors, strict=True))
    ]
    trials += [record(12, chain(("pa",)), rung=5.0, state="stopped"), record(13, chain(("pa",)), state="over_budget")]
    found = outcomes(trials)
    slope, intercept = np.polyfit(finals, finals + errors, 1)
    left = finals + errors - slope * finals - intercept
    assert found[12] == pytest.approx((slope * 5 + intercept, float(left @ left) / 10))
    assert found[0] == (1.1, 0.0)
    assert 13 not in found


def test_relative_depths():
    assert [cell for cell in cells_of(chain(("pa", "none", "lia")), 3) if cell.role == "attention"] == [
        Cell("pa", "attention", 0),
        Cell("lia", "attention", 2),
    ]
    assert {cell.depth for cell in cells_of(chain(("pa",) * 7), 2)} == {0, 1}
    assert (depth_name(0, 3), depth_name(1, 4)) == ("first third", "25% to 50%")


def test_with_much_data_the_ridge_is_least_squares():
    rng = np.random.default_rng(0)
    effects, covariates = rng.integers(0, 2, (150, 4)).astype(float), rng.normal(size=(150, 1))
    y = effects @ [1.0, 0.5, 0.0, -1.0] + 3 * covariates[:, 0] + 7 + rng.normal(0, 0.2, 150)
    groups = [("a", "x"), ("a", "x"), ("a", "y"), ("a", "y")]
    fit = fit_hierarchical(effects, groups, covariates, y, np.zeros(150))
    least = np.linalg.lstsq(np.column_stack([effects, covariates, np.ones(150)]), y, rcond=None)[0]
    assert fit.effects == pytest.approx(least[:4], abs=0.02)
    assert fit.noise == pytest.approx(0.2, rel=0.15)
    # Of an indicator of half the trials: 1.96 * 2 * 0.2 / sqrt(150).
    assert fit.highs - fit.effects == pytest.approx([1.96 * 2 * 0.2 / math.sqrt(150)] * 4, rel=0.15)


def test_too_few_trials_are_refused():
    with pytest.raises(InputError, match="at least 20 trials"):
        block_atlas([simulated(10)])
