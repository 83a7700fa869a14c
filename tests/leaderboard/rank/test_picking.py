"""Which network is picked, how sure it is, and what it is compared with, on hand-made trials."""

import math

import numpy as np
import pytest
from handmade import study, trial
from hypothesis import given, settings
from hypothesis import strategies as st

from srnas.leaderboard.rank.board import rank_records
from srnas.leaderboard.rank.budget import meets, within_probability
from srnas.leaderboard.rank.picking import pick
from srnas.leaderboard.record.trials import Sizes
from srnas.nas.study.options import Budgets
from srnas.search_space import InputError

SLOW = trial(0, (33.0, 33.5, 34.0), (9.0, 9.1, 9.2), images="abc")
GOOD = trial(1, (32.0, 32.5, 33.0), (4.0, 4.2, 4.4), images="abc")
NEAR = trial(2, (31.9, 32.5, 32.8), (3.0, 3.1, 3.2), images="abc")
HUMAN = trial(3, (31.0, 31.4, 32.1), (2.0, 2.1, 2.2), images="abc").model_copy(update={"design": "EDSR-like"})
TRIALS = [SLOW, GOOD, NEAR, HUMAN]


def picked(trials, budget_ms, confidence=None, others=()):
    def load(number):
        [found] = [one for one in trials if one.number == number]
        return found, (found.quality, *(others if number == 1 else ()))

    return pick(rank_records(study(), trials), budget_ms, confidence, load)


def test_the_best_within_the_budget():
    found = picked(TRIALS, 5.0)
    assert found.chosen.trial is GOOD
    assert found.chosen.psnr_y_db == pytest.approx(32.5)
    assert found.chosen.within == 1.0
    assert [duel.rival.trial for duel in found.runners_up] == [NEAR, HUMAN]
    assert picked(TRIALS, 100.0).chosen.trial is SLOW
    assert picked(TRIALS, 2.5).chosen.trial is HUMAN


def test_the_human_design_is_paired_by_photograph():
    human = picked(TRIALS, 5.0).human
    assert human.rival.trial is HUMAN
    # Closed form: differences 1.0, 1.1, 0.9, of mean 1 and deviation 0.1; Student's t of 2 degrees is 4.3027.
    assert human.difference.mean_db == pytest.approx(1.0)
    assert human.difference.se_db == pytest.approx(0.1 / math.sqrt(3))
    assert human.difference.verdict == "better"
    assert picked(TRIALS, 5.0).runners_up[0].difference.verdict == "undecided"
    assert picked(TRIALS, 2.5).human is None
    assert picked([GOOD, NEAR], 5.0).human is None


def test_other_trainings_count():
    more = [
        quality.model_copy(update={"psnr_y_db": (30.0, 30.0, 30.0), "mean_psnr_y_db": 30.0})
        for quality in [GOOD.quality]
    ]
    found = picked(TRIALS, 5.0, others=more)
    assert found.chosen.psnr_y_db == pytest.approx(31.25)
    assert found.chosen.quality.psnr_y_db == (31.0, 31.25, 31.5)


def test_a_network_that_often_exceeds_the_budget_needs_less_confidence():
    unsteady = trial(4, (35.0, 35.0, 35.0), (3.0, 8.0, 8.0, 8.0, 8.0), images="abc")
    # Closed form: none of five draws is the one round of five that is within it with probability (4/5)^5.
    assert picked([*TRIALS, unsteady], 5.0).chosen.within == pytest.approx(1 - 0.8**5)
    assert picked([*TRIALS, unsteady], 5.0).chosen.trial is unsteady
    assert picked([*TRIALS, unsteady], 5.0, confidence=0.6).chosen.trial is unsteady
    assert picked([*TRIALS, unsteady], 5.0, confidence=0.7).chosen.trial is GOOD


def test_the_probability_of_the_fastest_round():
    # 1 - (1 - j/n)^n of j rounds out of n, by hand for n of 3: 1 - 8/27, 1 - 1/27, and certainty.
    rounds = (1.0, 2.0, 3.0)
    found = [within_probability(rounds, budget_ms) for budget_ms in (0.9, 1.0, 2.5, 3.0)]
    assert found == pytest.approx([0.0, 19 / 27, 26 / 27, 1.0])
    assert math.isnan(within_probability((), 1.0))
    rng = np.random.default_rng(0)
    drawn = rng.choice(np.array(rounds), (20_000, 3)).min(axis=1)
    assert (drawn <= 1.0).mean() == pytest.approx(19 / 27, abs=0.01)


def test_a_network_that_was_not_timed_meets_no_budget():
    assert [meets(fastest_ms, 5.0) for fastest_ms in (4.0, 5.0, 5.1, math.nan, None)] == [
        True,
        True,
        False,
        False,
        False,
    ]


@given(
    st.lists(st.lists(st.floats(0.5, 20.0), min_size=1, max_size=5), min_size=1, max_size=6),
    st.sampled_from([1.0, 2.5, 5.0, 10.0]),
)
@settings(deadline=None, max_examples=50)
def test_what_a_search_keeps_is_never_refused(rounds, budget_ms):
    """What meets the budget of a search is on the leaderboard under it, and one of it is picked under it."""
    trials = [trial(number, 30.0 + number, taken) for number, taken in enumerate(rounds)]
    budgets = Budgets(max_latency_ms=budget_ms)
    kept = [one for one in trials if not budgets.exceeded(fastest_ms=one.latency.fastest_ms)]
    shown = rank_records(study(), trials).selected(max_latency_ms=budget_ms).rows["trial"]
    assert set(shown) == {one.number for one in kept}
    if kept:
        assert picked(trials, budget_ms).chosen.trial is kept[-1]
    else:
        with pytest.raises(InputError, match="must take at most"):
            picked(trials, budget_ms)


def test_a_single_photograph_gives_no_interval():
    first, second = trial(0, (31.0,), images="a"), trial(1, (30.0,), images="a")
    [duel] = picked([first, second], 5.0).runners_up
    assert (duel.difference.mean_db, duel.difference.se_db, duel.difference.verdict) == (1.0, None, "undecided")


def tied(number, psnr, ms, params=100, macs=100, **changes):
    """Return a trial of three photographs; ``psnr`` is what each differs by from 32 dB."""
    sizes = Sizes(input_shape=(1, 3, 8, 8), params=params, macs=macs, other_ops=0, activations=1)
    made = trial(number, tuple(32.0 + db for db in psnr), (ms,), images="abc")
    return made.model_copy(update={"sizes": sizes, **changes})


BEST = tied(0, (0.0, 0.0, 0.0), 4.0)
TIE = tied(1, (-0.06, 0.02, -0.02), 3.0)


def test_of_ties_the_fastest_is_chosen():
    found = picked([BEST, TIE, HUMAN], 5.0)
    assert (found.chosen.trial, found.best.trial) == (TIE, BEST)
    assert [tie.rival.trial for tie in found.ties] == [TIE]
    assert [duel.rival.trial for duel in found.runners_up] == [BEST, HUMAN]
    assert found.runners_up[0].difference.mean_db == pytest.approx(-0.02)
    assert found.human.rival.trial is HUMAN
    slower = tied(1, (-0.06, 0.02, -0.02), 4.5)
    found = picked([BEST, slower], 5.0)
    assert found.chosen.trial is found.best.trial is BEST
    assert [tie.rival.trial for tie in found.ties] == [slower]


def test_what_is_told_apart_or_large_is_no_tie():
    sure = tied(1, (-0.05, -0.051, -0.049), 3.0)
    wide = tied(2, (-3.0, 1.0, 0.5), 2.0)
    found = picked([BEST, sure, wide], 5.0)
    assert (found.chosen.trial, found.ties) == (BEST, ())
    assert [duel.difference.verdict for duel in found.runners_up] == ["better", "undecided"]


def test_a_tie_of_a_tie_is_none():
    """The third ties with the second, but is more than 0.05 dB below the best."""
    third = tied(2, (-0.11, 0.0, -0.06), 2.0)
    assert picked([TIE, third], 5.0).chosen.trial is third
    found = picked([BEST, TIE, third], 5.0)
    assert (found.chosen.trial, [tie.rival.trial for tie in found.ties]) == (TIE, [TIE])


def test_of_a_single_photograph_only_small_differences_tie():
    first, near, far = (trial(i, (31.0 - db,), (4.0 - i,), images="a") for i, db in enumerate((0.0, 0.04, 0.06)))
    found = picked([first, near, far], 5.0)
    assert (found.chosen.trial, [tie.rival.trial for tie in found.ties]) == (near, [near])


def test_of_equally_fast_ties_the_simplest_is_chosen():
    fastest = tied(2, (0.01, -0.05, 0.0), 2.95)
    assert picked([BEST, TIE, fastest], 5.0).chosen.trial is fastest
    simpler = tied(1, (-0.06, 0.02, -0.02), 3.0, params=99, macs=200)
    assert picked([BEST, simpler, fastest], 5.0).chosen.trial is simpler
    lighter = tied(1, (-0.06, 0.02, -0.02), 3.0, macs=99)
    assert picked([BEST, lighter, fastest], 5.0).chosen.trial is lighter
    # More than 3 % slower than the fastest: not equally fast.
    slower = tied(1, (-0.06, 0.02, -0.02), 3.1, params=1)
    assert picked([BEST, slower, fastest], 5.0).chosen.trial is fastest
    uncounted = TIE.model_copy(update={"sizes": None})
    assert picked([BEST, uncounted, fastest], 5.0).chosen.trial is fastest


def test_every_tie_is_named_beyond_the_runners_up():
    many = [tied(number, (-0.06, 0.02, -0.02 - number / 1000), 4.0 + number / 10) for number in range(1, 7)]
    far = [tied(number, (-1.0, -1.0, -1.0), 1.0) for number in range(7, 12)]
    found = picked([BEST, *many, *far], 5.0)
    assert [tie.rival.trial.number for tie in found.ties] == [1, 2, 3, 4, 5, 6]
    assert [duel.rival.trial.number for duel in found.runners_up] == [1, 2, 3, 4, 5, 6]
    assert [duel.rival.trial.number for duel in picked([BEST, *far], 5.0).runners_up] == [7, 8, 9]


@pytest.mark.parametrize(
    ("budget_ms", "confidence", "said"),
    [
        (1.0, 0.95, r"that of trial 3 takes 2 ms, its median 2\.2 ms"),
        (0.0, 0.95, "--latency-ms must be positive"),
        (math.nan, 0.95, "--latency-ms must be positive"),
        (5.0, 0.0, "--confidence"),
    ],
)
def test_what_cannot_be_picked(budget_ms, confidence, said):
    with pytest.raises(InputError, match=said):
        picked(TRIALS, budget_ms, confidence)


def test_a_study_without_a_trained_network():
    with pytest.raises(InputError, match="must hold a trained network"):
        picked([], 5.0)
    with pytest.raises(InputError, match="must hold a trained network"):
        picked([trial(0, 31.0, state="failed")], 5.0)
