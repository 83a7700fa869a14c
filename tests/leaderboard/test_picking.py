"""Which network is picked, how sure it is, and what it is compared with, on hand-made trials."""

import math

import pytest
from handmade import study, trial

from srnas.leaderboard import pick, rank_records
from srnas.leaderboard.picking import within_budget
from srnas.search_space import InputError

SLOW = trial(0, (33.0, 33.5, 34.0), (9.0, 9.1, 9.2), images="abc")
GOOD = trial(1, (32.0, 32.5, 33.0), (4.0, 4.2, 4.4), images="abc")
NEAR = trial(2, (31.9, 32.5, 32.8), (3.0, 3.1, 3.2), images="abc")
HUMAN = trial(3, (31.0, 31.4, 32.1), (2.0, 2.1, 2.2), images="abc").model_copy(update={"design": "EDSR-like"})
TRIALS = [SLOW, GOOD, NEAR, HUMAN]


def picked(trials, budget_ms, confidence=0.95, others=()):
    def load(number):
        [found] = [one for one in trials if one.number == number]
        return found, others if number == 1 else ()

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
    assert human.difference_db == pytest.approx(1.0)
    assert human.se_db == pytest.approx(0.1 / math.sqrt(3))
    assert human.high_db - human.low_db == pytest.approx(2 * 4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert human.verdict == "better"
    assert picked(TRIALS, 5.0).runners_up[0].verdict == "tie"
    assert picked(TRIALS, 2.5).human is None
    assert picked([GOOD, NEAR], 5.0).human is None


def test_other_trainings_count():
    more = [
        quality.model_copy(update={"psnr_y_db": (30.0, 30.0, 30.0), "mean_psnr_y_db": 30.0})
        for quality in [GOOD.quality]
    ]
    found = picked(TRIALS, 5.0, others=more)
    assert found.chosen.psnr_y_db == pytest.approx(31.25)
    assert found.chosen.by_image_db == [31.0, 31.25, 31.5]


def test_a_network_that_often_exceeds_the_budget_needs_less_confidence():
    unsteady = trial(4, (35.0, 35.0, 35.0), (3.0, 3.0, 3.0, 8.0, 8.0), images="abc")
    assert 0.3 < within_budget(unsteady.latency.rounds_ms, 5.0) < 0.95
    assert picked([*TRIALS, unsteady], 5.0).chosen.trial is GOOD
    assert picked([*TRIALS, unsteady], 5.0, confidence=0.3).chosen.trial is unsteady
    # The median of three is within 2 if two of them are: 3 (1/3)^2 2/3 + (1/3)^3 of 7/27.
    assert within_budget((1.0, 3.0, 3.0), 2.0) == pytest.approx(7 / 27, abs=0.03)


def test_a_single_photograph_gives_no_interval():
    first, second = trial(0, (31.0,), images="a"), trial(1, (30.0,), images="a")
    [duel] = picked([first, second], 5.0).runners_up
    assert (duel.difference_db, duel.se_db, duel.verdict) == (1.0, None, "tie")


@pytest.mark.parametrize(
    ("budget_ms", "confidence", "said"),
    [
        (1.0, 0.95, r"the fastest, trial 3, takes 2\.2 ms \[2, 2\.2\]"),
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
