"""Which scores a front ranks: those of the training in float32, in every other data type only the network's own."""

import math

import pytest
from handmade import as_timed, quality, replicate, study, trial

from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.timed_quality import (
    TimedQuality,
    as_hoped,
    as_ranked,
    over_seeds,
    qualities_by_seed,
    replicates_as_ranked,
)
from srnas.leaderboard.record.trials import Quality

SCORED, UNSCORED = as_timed(trial(0, 31.0), 30.5), trial(1, 32.0)
REFUSED = TimedQuality(number=2, seed=0, dtype="int8", runtime="onnxruntime 1.2", reason="no kernel").of(trial(2, 33.0))


def points(trials):
    return [one.point and one.point[0] for one in trials]


def test_in_float32_it_is_that_of_the_training():
    assert as_ranked(study(), [SCORED, UNSCORED, REFUSED]) == as_hoped(study(), [SCORED, UNSCORED, REFUSED])
    assert points(as_ranked(study(), [SCORED, UNSCORED, REFUSED])) == [31.0, 32.0, 33.0]
    assert replicates_as_ranked(study(), [replicate(0, 31.2)]) == [replicate(0, 31.2)]
    assert study().ranked_by == "psnr_y_db"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_in_another_type_it_is_the_networks_own(dtype):
    assert points(as_ranked(study(dtype), [SCORED, UNSCORED, REFUSED])) == [30.5, None, None]
    assert points(as_hoped(study(dtype), [SCORED, UNSCORED, REFUSED])) == [30.5, 32.0, None]
    again = replicate(0, 31.2).model_copy(update={"timed_quality": quality(30.6)})
    [ranked] = replicates_as_ranked(study(dtype), [again, replicate(1, 31.3)])
    assert (ranked.number, ranked.quality.mean_psnr_y_db) == (0, 30.6)
    assert study(dtype).ranked_by == "timed_psnr_y_db"


def test_over_seeds_it_is_the_mean():
    again = [replicate(0, 31.3, seed=1), replicate(0, 31.6, seed=2), replicate(7, 40.0)]
    found = over_seeds([SCORED, UNSCORED, trial(3, 0.0, state="stopped")], again)
    assert points(found) == [pytest.approx(31.3), 32.0, None]
    assert found[0].quality.psnr_y_db == pytest.approx((31.3,) * 4)
    assert found[1] == UNSCORED


def test_the_scores_of_all_trainings_of_a_trial_its_own_first():
    again = [replicate(0, 31.3, seed=1), replicate(0, 31.6, seed=2), replicate(7, 40.0)]
    found = qualities_by_seed([SCORED, UNSCORED, trial(3, 0.0, state="stopped")], again)
    assert found == {0: [quality(31.0), quality(31.3), quality(31.6)], 1: [quality(32.0)]}


def test_what_counts_in_no_mean_of_one_training_counts_in_none():
    first = quality((30.0, 40.0, 50.0), "abc").model_copy(update={"left_out": ("c",), "mean_psnr_y_db": 35.0})
    second = quality((31.0, math.inf, 50.0), "abc").model_copy(update={"left_out": ("b",), "mean_psnr_y_db": 40.5})
    mean = Quality.mean_of([first, second])
    assert mean.left_out == ("b", "c")
    assert mean.mean_psnr_y_db == 37.75
    assert mean.counted_psnr_y_db == pytest.approx([30.5, math.nan, math.nan], nan_ok=True)
    assert Quality.mean_of([first]) == first


def test_a_row_has_both_and_says_why_one_is_missing():
    row = TrialRow.of(SCORED)
    assert (row.psnr_y_db, row.timed_psnr_y_db, row.reason) == (31.0, 30.5, "")
    row = TrialRow.of(REFUSED)
    assert (row.psnr_y_db, row.timed_psnr_y_db, row.reason) == (33.0, None, "no PSNR in int8: no kernel")
    assert (TrialRow.of(UNSCORED).timed_psnr_y_db, TrialRow.of(UNSCORED).reason) == (None, "")


def test_it_is_kept_as_json():
    scores = TimedQuality(
        number=1, seed=3, dtype="int8", runtime="onnxruntime 1.2", quality=quality((30.0, 31.0), "ab")
    )
    assert TimedQuality.model_validate_json(scores.model_dump_json()) == scores
    assert scores.of(trial(1, 31.0)).timed_quality == scores.quality
