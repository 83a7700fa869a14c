"""The rule that stops trials: its properties, examples, and how often it is wrong."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from srnas.leaderboard.rank.front import dominates
from srnas.nas.strategy.rungs import Halving, RungResult, false_stop_rate, wilson_interval
from srnas.search_space import InputError

# PSNR on a binary grid: adding an offset to it is exact.
psnr = st.integers(28 * 32, 32 * 32).map(lambda steps: steps / 32)
latency = st.sampled_from([0.5, 1.0, 1.1, 2.0, 4.0, 7.3, 8.0]) | st.floats(0.01, 1000)
rules = st.builds(
    Halving,
    eta=st.sampled_from([1.5, 2.0, 3.0, 4.0]),
    neighbours=st.integers(1, 10),
    least=st.integers(1, 7),
    margin_db=st.sampled_from([0.0, 0.125]),
    spared_share=st.sampled_from([0.0, 0.1, 0.5]),
)


@st.composite
def rungs(draw, **options):
    points = draw(st.lists(st.tuples(psnr, latency), min_size=2, max_size=24, **options))
    newcomer, *others = (RungResult(f"k{i}", *point) for i, point in enumerate(points))
    return newcomer, others


def ladder(count, fastest_ms=1.0):
    """Return results of rising PSNR at one latency."""
    return [RungResult(f"k{i}", 30 + i / 8, fastest_ms) for i in range(count)]


@given(rules, rungs(), st.randoms())
def test_the_order_of_the_others_does_not_matter(rule, rung, random):
    newcomer, others = rung
    shuffled = random.sample(others, len(others))
    assert rule.decide(newcomer, others) == rule.decide(newcomer, shuffled)


@given(rules, rungs())
def test_neither_the_unit_of_latency_nor_an_offset_of_psnr_matters(rule, rung):
    newcomer, others = rung
    decided = rule.decide(newcomer, others)
    for change in (lambda r: replace(r, fastest_ms=r.fastest_ms * 1000), lambda r: replace(r, psnr_db=r.psnr_db - 5)):
        changed = rule.decide(change(newcomer), [change(other) for other in others])
        assert (changed.survives, changed.spared) == (decided.survives, decided.spared)


@given(rules, rungs())
def test_the_non_dominated_are_never_stopped(rule, rung):
    """The fastest and the best of the front among them, and what dominates all."""
    newcomer, others = rung
    if not any(dominates(other.point, newcomer.point) for other in others):
        assert rule.decide(newcomer, others).survives
    fastest = replace(newcomer, fastest_ms=min(other.fastest_ms for other in others) / 2)
    best = replace(newcomer, psnr_db=max(other.psnr_db for other in others) + 1)
    assert rule.decide(fastest, others).survives
    assert rule.decide(best, others).survives


@given(rules, rungs(), st.floats(0.05, 2))
def test_a_better_psnr_never_turns_survival_into_a_stop(rule, rung, gain_db):
    newcomer, others = rung
    if rule.decide(newcomer, others).survives:
        better = replace(newcomer, psnr_db=newcomer.psnr_db + gain_db)
        assert rule.decide(better, others).survives


@given(st.integers(2, 30), st.sampled_from([2.0, 3.0, 4.0]), st.integers(1, 9))
def test_equal_latencies_are_plain_successive_halving(count, eta, neighbours):
    rule = Halving(eta=eta, neighbours=neighbours, least=1, spared_share=0, margin_db=0)
    results = ladder(count)
    survivors = [r for r in results if rule.decide(r, [o for o in results if o != r]).survives]
    assert survivors == results[-math.ceil(count / eta) :]


@given(rules, rungs())
def test_few_results_stop_nobody(rule, rung):
    newcomer, others = rung
    assert rule.decide(newcomer, others[: rule.least - 1]).survives


def test_a_slow_network_is_not_compared_with_fast_ones():
    fast, slow = ladder(8, 1.0), [replace(r, key=f"s{r.key}", fastest_ms=50.0) for r in ladder(8)]
    rule = Halving(eta=2, neighbours=8, least=3, spared_share=0, margin_db=0)
    newcomer = RungResult("new", 30.2, 2.0)
    assert not rule.decide(newcomer, [*fast, *slow]).survives
    assert rule.decide(replace(newcomer, fastest_ms=0.5), [*fast, *slow]).survives
    # Slower ones are nearer here, and none of them can dominate it.
    assert rule.decide(replace(newcomer, fastest_ms=40.0), [*fast, *slow]).survives


def test_the_reason_is_said():
    rule = Halving(eta=3, neighbours=8, least=5, spared_share=0, margin_db=0)
    decision = rule.decide(RungResult("new", 30.3, 1.0), ladder(8), 133)
    assert decision.reason == (
        "dominated by 5 of 8 neighbours in latency at 133 iterations: 30.30 dB, the best of them 30.88 dB and no slower"
    )
    assert not decision.survives
    assert rule.decide(RungResult("new", 30.3, 1.0), ladder(8), 133, is_yardstick=True).survives
    few = rule.decide(RungResult("new", 30, 1.0), ladder(3), 133)
    assert few.reason == "compared with none: 3 results at 133 iterations, 5 are needed"


def test_its_own_earlier_result_is_no_rival():
    rule = Halving(eta=2, least=1, spared_share=0, margin_db=0)
    again = RungResult("k0", 30.0, 1.0)
    assert rule.decide(again, [RungResult("k0", 31.0, 1.0)]).survives


def test_a_tenth_is_spared_and_all_workers_agree():
    others = ladder(20)
    rule = Halving(eta=2, spared_share=0.1, margin_db=0)
    spared = [rule.decide(RungResult(f"new{i}", 29.0, 1.0), others).spared for i in range(2000)]
    assert spared == [rule.decide(RungResult(f"new{i}", 29.0, 1.0), others).spared for i in range(2000)]
    # Five standard deviations of a binomial: sqrt(2000 * 0.1 * 0.9) = 13.4.
    assert abs(sum(spared) - 200) < 67
    salted = rule.model_copy(update={"salt": "other"})
    assert spared != [salted.decide(RungResult(f"new{i}", 29.0, 1.0), others).spared for i in range(2000)]


def test_false_stops():
    points = [(30.0, 1.0), (31.0, 2.0), (30.5, 3.0), (29.0, 4.0)]
    rate = false_stop_rate(points, [False, True, True, False])
    assert (rate.on_front, rate.spared) == (1, 2)
    assert str(rate) == "1 of 2 spared trials on the front (9% to 91%)"
    assert false_stop_rate([], []) == false_stop_rate(points, [False] * 4)


def test_the_interval_of_wilson():
    # Its definition: the shares p at which the seen one is 1.96 of p's own standard deviations away.
    for count in (3, 8):
        for p in wilson_interval(count, 10):
            assert abs(count / 10 - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 10), rel=1e-6)
    # Closed form of none: z^2 / (n + z^2).
    assert wilson_interval(0, 10) == pytest.approx((0.0, 1.959964**2 / (10 + 1.959964**2)), abs=1e-6)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("psnr_db", "fastest_ms"), [(math.nan, 1.0), (30.0, 0.0), (30.0, math.inf)])
def test_what_reaches_no_rung(psnr_db, fastest_ms):
    with pytest.raises(InputError, match="must be finite and fastest_ms positive"):
        RungResult("k", psnr_db, fastest_ms)


@pytest.mark.parametrize(
    "option", [{"eta": 0.5}, {"neighbours": 0}, {"spared_share": 1.1}, {"margin_db": -1}, {"other": 1}]
)
def test_bad_options(option):
    with pytest.raises(ValidationError):
        Halving(**option)
