"""Fronts with their doubt: seeds, photographs and rounds; how a front grew."""

import math

import numpy as np
import pytest
from handmade import replicate, study, trial
from rich.console import Console

from srnas.leaderboard.rank.board import rank_records, rank_rows
from srnas.leaderboard.rank.confidence import (
    confidence_rows,
    front_probability,
    near_front,
    seed_spread,
)
from srnas.leaderboard.rank.curve import hypervolume_curve
from srnas.leaderboard.show.curve_figure import write_curve
from srnas.leaderboard.show.table import board_markdown, board_summary, board_table
from srnas.leaderboard.store.store import Store
from srnas.profiling import Latency
from srnas.search_space import InputError


def test_the_spread_over_seeds():
    trials = [trial(0, 31.0), trial(1, 32.0), trial(2, 33.0)]
    assert seed_spread(trials, []) is None
    # Deviations of 0.1 on either side of both means: four squares of 0.01 over two degrees of freedom.
    spread = seed_spread(trials, [replicate(0, 31.2), replicate(1, 31.8)])
    assert spread.deviation_db == pytest.approx(math.sqrt(0.04 / 2))
    assert (spread.trials, spread.trainings) == (2, 4)
    assert str(spread) == "0.141 dB over seeds (4 trainings of 2 networks)"


def test_a_clear_front_is_sure():
    trials = [trial(0, 31.0, (1.0, 1.1)), trial(1, 33.0, (2.0, 2.2)), trial(2, 30.0, (3.0, 3.1))]
    replicates = [replicate(0, 31.1), replicate(1, 33.1), replicate(2, 30.1)]
    assert front_probability(trials, replicates) == {0: 1.0, 1: 1.0, 2: 0.0}


def test_of_two_equal_trials_each_is_on_the_front_half_of_the_time():
    trials = [trial(0, 31.0), trial(1, 31.0)]
    found = front_probability(trials, [replicate(0, 31.3), replicate(1, 31.3)], draws=4000)
    # Mean deviations -d, 0 (twice as likely), d of each: equal ones are both on the front.
    equal = (1 + 4 + 1) / 16
    for probability in found.values():
        assert probability == pytest.approx((1 + equal) / 2, abs=0.03)
    noisy = np.random.default_rng(0).normal(31, 0.1, 9).tolist()
    found = front_probability(trials, [replicate(i % 2, psnr) for i, psnr in enumerate(noisy)], draws=4000)
    assert sum(found.values()) == pytest.approx(1, abs=0.02)


def test_photographs_are_paired():
    """A trial that is better on every photograph is better on every draw of them, however they differ."""
    hard = np.array([20.0, 30.0, 40.0, 50.0])
    trials = [trial(0, hard + 0.01), trial(1, hard)]
    assert front_probability(trials, []) == {0: 1.0, 1: 0.0}


def test_a_trial_without_replicates_gets_the_spread_of_the_others():
    trials = [trial(0, 31.0), trial(1, 31.01), trial(2, 29.0, (9.0,)), trial(3, 29.5, (9.0,))]
    assert front_probability(trials, [])[1] == 1.0
    found = front_probability(trials, [replicate(2, 29.5), replicate(3, 29.0)])
    assert 0.4 < found[1] < 0.8


def test_rounds_of_the_clock_are_drawn():
    # Of two rounds the fastest is drawn with probability 3/4; on a tie both are on the front.
    trials = [trial(0, 31.0, (1.0, 3.0)), trial(1, 31.0, (2.0, 2.0))]
    found = front_probability(trials, [], draws=4000)
    assert found[0] == pytest.approx(0.75, abs=0.03)
    assert found[1] == pytest.approx(0.25, abs=0.03)


def test_discarded_rounds_are_not_drawn():
    first = trial(0, 31.0, (1.0, 5.0, 5.0, 5.0))
    latency = Latency(**{**vars(first.latency), "fastest_ms": 5.0, "discarded": ("process", "", "", "")})
    trials = [first.model_copy(update={"latency": latency}), trial(1, 31.0, (2.0,))]
    assert front_probability(trials, []) == {0: 0.0, 1: 1.0}


def test_the_probability_covers_what_other_seeds_give():
    """Simulated: over many studies, the mean P of the truly better of two is near how often it was ahead."""
    rng = np.random.default_rng(1)
    sure = right = 0
    for _ in range(200):
        gap = rng.normal(0, 0.1)
        first, second = rng.normal((0, gap), 0.1, size=(3, 2)).T + 31
        trials = [trial(0, float(first[0])), trial(1, float(second[0]))]
        more = [replicate(i, float(p), s) for i, group in enumerate((first, second)) for s, p in enumerate(group[1:])]
        found = front_probability(trials, more, draws=200)
        claimed = max(found, key=found.get)
        if found[claimed] > 0.9:
            sure += 1
            right += (gap > 0) == (claimed == 1)
    assert sure > 40
    # What is said to be surer than 0.9 holds in 9 of 10 cases; three standard deviations of 60 cases are 0.1.
    assert right / sure > 0.85


def test_only_complete_trials_take_part():
    trials = [trial(0, 31.0), trial(1, 31.0, state="stopped")]
    assert set(front_probability(trials, [replicate(1, 31.0)])) == {0}
    assert front_probability([], []) == {}


def test_other_photographs_are_refused():
    with pytest.raises(InputError, match="the same photographs, but got 2 sets of 2, 4"):
        front_probability([trial(0, 31.0), trial(1, 31.0, images="ab")], [])


def test_it_is_the_same_each_time():
    rng = np.random.default_rng(0)
    images = "abcdefghij"
    trials = [trial(i, rng.normal(31, 0.5, 10), rng.lognormal(1, 0.5, 24), images=images) for i in range(100)]
    found = front_probability(trials, [])
    assert found == front_probability(trials, [])
    assert found != front_probability(trials, [], seed=1)


def test_what_is_worth_replicating():
    trials = [trial(0, 31.0, (2.0,)), trial(1, 30.9, (2.5,)), trial(2, 30.0, (1.0,)), trial(3, 30.5, (9.0,))]
    trials += [trial(4, 32.0, state="stopped"), trial(5, 30.95, (1.5,))]
    assert [t.number for t in near_front(trials, 0.0)] == [2, 5, 0]
    assert [t.number for t in near_front(trials, 0.1001)] == [2, 5, 0, 1]
    assert [t.number for t in near_front(trials, 1.0)] == [2, 5, 0, 1, 3]
    assert near_front([], 1.0) == []


def test_neighbours_of_a_front_in_latency():
    trials = [trial(0, 31.0, (2.0,)), trial(1, 30.9, (2.2,)), trial(2, 30.9, (2.3,)), trial(3, 30.98, (9.0,))]
    assert [t.number for t in near_front(trials, 0.0, 0.1)] == [0, 1]
    assert [t.number for t in near_front(trials, 0.0, 0.15)] == [0, 1, 2]
    assert [t.number for t in near_front(trials, 0.03, 0.1)] == [0, 1, 3]


def test_the_curve_of_the_hypervolume(tmp_path):
    trials = [
        trial(0, 31.0, (1.0,), started_ms=1000, ended_ms=4000),
        trial(1, 30.5, (1.0,), started_ms=1000, ended_ms=3000),
        trial(2, 30.5, (1.0,), state="failed", started_ms=4000, ended_ms=61_000),
    ]
    curve = hypervolume_curve(study(), trials)
    # Closed form: (31 - 30) dB times ln(e / 1).
    assert curve == [(1, 2.0, pytest.approx(0.5)), (2, 3.0, pytest.approx(1.0)), (3, 60.0, pytest.approx(1.0))]
    assert hypervolume_curve(study(), []) == []
    path = tmp_path / "curve.png"
    write_curve({"ours": curve, "other": curve[:2], "empty": []}, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_steps_along_the_front_are_paired_by_image():
    fast = trial(0, (30.0, 32.0), (1.0,), images="ab")
    slow = trial(1, (30.2, 32.4), (2.0,), images="ab")
    beaten = trial(2, (29.0, 33.0), (3.0,), images="ab")
    rows = confidence_rows([slow, beaten, fast], []).set_index("trial")
    assert rows.loc[1, "step_db"] == pytest.approx(0.3)
    assert rows.loc[1, "step_se_db"] == pytest.approx(0.1)
    assert rows.loc[[0, 2], ["step_db", "step_se_db"]].isna().all(axis=None)
    again = confidence_rows([slow, fast], [replicate(1, (30.4, 32.4), images="ab")]).set_index("trial")
    assert again.loc[1, "step_db"] == pytest.approx(0.35)


def test_a_step_of_a_single_photograph_has_no_standard_error():
    rows = confidence_rows([trial(0, (30.0,), images="a"), trial(1, (30.2,), (2.0,), images="a")], [])
    assert rows["step_db"].tolist()[1:] == pytest.approx([0.2])
    assert rows["step_is_tie"].tolist()[1:] == [0.0]
    assert rows["step_se_db"].isna().all()


def test_steps_that_are_ties_are_said():
    """One step is small and not told apart, one small and told apart, one large and not told apart."""
    trials = [
        trial(0, (30.0, 32.0, 34.0), (1.0,), images="abc"),
        trial(1, (30.1, 31.98, 34.0), (2.0,), images="abc"),
        trial(2, (30.13, 32.01, 34.04), (3.0,), images="abc"),
        trial(3, (31.0, 31.9, 34.0), (4.0,), images="abc"),
    ]
    rows = confidence_rows(trials, []).set_index("trial")
    assert rows["step_is_tie"].tolist()[1:] == [1.0, 0.0, 0.0]
    assert math.isnan(rows.loc[0, "step_is_tie"])
    said = "Ties in PSNR with the next faster member (the difference may be 0 and is at most 0.05 dB): 1, trials 1."
    assert board_summary(rank_records(study(), trials)).endswith(said)
    assert "Ties" not in board_summary(rank_records(study(), trials[2:]))
    assert "Ties" not in board_summary(rank_records(study(), trials[:1]))


def test_the_doubt_in_the_store_is_brought_up_to_date(workspace):
    fast, slow, better = trial(0, 31.0), trial(1, 32.0, (3.0,)), trial(2, 33.0, (2.0,))
    store = Store(workspace)
    parent = store.open_study(study())

    def written(trials):
        store.write_confidence(rank_records(study(), trials))
        return store.rows(study()).set_index("trial")

    for record in (fast, slow):
        store.write_trial(parent, study(), record)
    before = written([fast, slow])
    assert before["front_probability"].tolist() == [1.0, 1.0]
    assert before.loc[1, "step_db"] == pytest.approx(1.0)
    assert "step_db" not in written([fast, slow, better])  # The run of the last is not there.
    store.write_trial(parent, study(), better)
    after = written([fast, slow, better])
    assert after["front_probability"].tolist() == [1.0, 0.0, 1.0]
    assert after.loc[2, "step_db"] == pytest.approx(2.0)
    assert after["step_db"].isna().tolist() == [True, True, False]


def test_the_mean_over_seeds_ranks(workspace):
    """With the first seed alone, 1 would be on the front and 2 would not."""
    trials = [trial(0, 31.0), trial(1, 31.2, (1.5,)), trial(2, 31.1, (2.0,)), trial(3, 30.0, (2.5,))]
    again = [replicate(1, 30.6), replicate(2, 31.5), replicate(3, 30.2)]
    board = rank_records(study(), trials, again)
    assert board.front["trial"].tolist() == [0, 2]
    assert board.rows["trial"].tolist() == [0, 2, 1, 3]
    assert board.rows["ranked_db"].tolist() == pytest.approx([31.0, 31.3, 30.9, 30.1])
    assert board.rows["gain_db"].tolist() == pytest.approx([1.0, 1.3, 0.9, 0.1])
    assert board.hypervolume == pytest.approx(1.0 + 0.3 * (1 - math.log(2)))
    assert board.rows.set_index("trial").loc[2, "step_db"] == pytest.approx(0.3)
    assert board.selected(min_psnr_y_db=30.95).rows["trial"].tolist() == [0, 2]
    assert board.selected(sort="psnr").rows["trial"].tolist() == [2, 0, 1, 3]
    assert rank_records(study(), trials).front["trial"].tolist() == [0, 1]
    store = Store(workspace)
    parent = store.open_study(study())
    for record in trials:
        store.write_trial(parent, study(), record)
    # Also of what is on the front for no seed.
    assert store.write_confidence(board) == 4
    read = rank_rows(study(), store.rows(study()))
    assert read.rows["trial"].tolist() == [0, 2, 1, 3]
    assert read.rows["ranked_db"].tolist() == board.rows["ranked_db"].tolist()
    assert read.hypervolume == board.hypervolume
    # The table says what ranks, and shows a mean only where there is one.
    heads, _, *lines = board_markdown(board).splitlines()
    place = [cell.strip() for cell in heads.split("|")].index("mean")
    assert [line.split("|")[place].strip() for line in lines] == ["", "31.30", "30.90", "30.10"]
    assert "mean: PSNR-Y over seeds, which ranks" in board_table(board, width=80).caption
    assert "| mean |" not in board_markdown(rank_records(study(), trials))


def test_a_board_shows_the_doubt(workspace):
    trials = [trial(0, 31.0), trial(1, 32.0, (2.0,)), trial(2, 31.0, state="stopped")]
    store = Store(workspace)
    parent = store.open_study(study())
    for record in trials:
        store.write_trial(parent, study(), record)
    rows = store.rows(study())
    board = rank_rows(study(), rows, confidence_rows(trials, [replicate(0, 31.2), replicate(1, 32.2)]))
    shown = {row["trial"]: row for row in board.records()}
    assert (shown[0]["num_seeds"], shown[0]["front_probability"]) == (2, 1.0)
    assert shown[0]["psnr_mean_db"] == pytest.approx(31.1)
    assert shown[1]["psnr_se_db"] == pytest.approx(0.1)
    assert shown[2]["num_seeds"] is shown[2]["psnr_se_db"] is None
    console = Console(width=220, record=True)
    console.print(board_table(board, width=220))
    text = console.export_text()
    assert "P(front)" in text
    assert "0.100" in text
    plain = rank_rows(study(), rows, confidence_rows(trials, []))
    assert plain.records()[0]["psnr_se_db"] is None
    console.print(board_table(rank_rows(study(), rows), width=220))
    assert "P(front)" not in console.export_text()
