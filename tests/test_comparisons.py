"""The functions of benchmarks that the headline tables come from, by values that can be counted by hand."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import handmade
import pytest

from srnas.leaderboard.rank.board import rank_records
from srnas.leaderboard.rank.curve import CurvePoint
from srnas.leaderboard.rank.picking import Contender
from srnas.nas.study.settings import StudySettings
from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import InputError, Position

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def equal_time():
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "equal_time.py")))


@pytest.fixture(scope="module")
def proof():
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "proof.py")))


@pytest.fixture(scope="module")
def table():
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "table.py")))


@pytest.fixture(scope="module")
def rungs():
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "rungs.py")))


def contender(psnr, ms, noise=0.0):
    """A network with this mean over four photographs, about which two of them scatter by ``noise``."""
    trial = handmade.trial(0, [psnr - noise, psnr + noise, psnr, psnr], rounds=(ms,))
    return Contender(trial, (trial.quality,))


def test_pauses_are_left_out_and_processes_at_once_count_once(equal_time):
    # Two processes from 0 to 20 and 15 to 30 s, a pause, and a third from 100 to 110 s.
    spans = [(1, 0, 10), (1, 10, 20), (2, 15, 30), (3, 100, 110)]
    trials = [
        handmade.trial(i, 30.0, host="here", pid=pid, started_ms=1000 * first, ended_ms=1000 * last)
        for i, (pid, first, last) in enumerate(spans)
    ]
    clock = [(one.started_ms, one.ended_ms) for one in equal_time.without_pauses(trials)]
    assert clock == [(0, 10_000), (10_000, 20_000), (15_000, 30_000), (30_000, 40_000)]


def test_the_hypervolume_is_that_of_what_has_ended(equal_time):
    curve = [CurvePoint(1, 10.0, 1.0), CurvePoint(2, 20.0, 1.5), CurvePoint(3, 30.0, 1.5)]
    assert [equal_time.volume(curve, seconds) for seconds in (9.9, 10, 25, 99)] == [0.0, 1.0, 1.5, 1.5]
    minutes, means, errors = equal_time.mean_curve([curve, [CurvePoint(1, 10.0, 2.0)]], 30.0)
    assert (minutes[0], minutes[-1]) == (0.0, 0.5)
    assert (means[0], means[-1], errors[-1]) == (0.0, 1.75, pytest.approx(0.25))


def test_a_rival_that_was_timed_at_another_moment_is_scaled(equal_time):
    def design(number, ms):
        chain = handmade.ARCHITECTURE.model_copy(update={"positions": (Position(trunk="conv"),) * number})
        return handmade.trial(number, 30.0, rounds=(ms,), design="d").model_copy(update={"architecture": chain})

    ours, theirs = ([design(number, share * 2**number) for number in range(4)] for share in (0.9, 1.0))
    scale, changed = equal_time.scaled(theirs, ours)
    assert scale == pytest.approx(0.9)
    assert [(one.number, one.latency.fastest_ms) for one in changed] == [
        (number, pytest.approx(0.9 * 2**number)) for number in range(4)
    ]
    # Another space has other designs.
    assert equal_time.scaled([design(9, 5.0)], ours) == (1.0, [design(9, 5.0)])


def test_studies_of_other_searches_are_not_compared(equal_time):
    training = TrainingConfig(iterations=3, patch=8, batch=1, learning_rate=1e-3)
    values = {"space": "tiny", "space_digest": "d", "train": "t", "validation": "v", "device": "cpu"}
    ours = StudySettings(name="ours", latency_input=(16, 16), training=training, **values)
    theirs = ours.with_training(seed=3).model_copy(update={"name": "theirs", "sampler": "random", "seed": 3})
    equal_time.check_equal([ours, theirs])
    for changed in (theirs.model_copy(update={"validation": "w"}), theirs.with_training(iterations=9)):
        with pytest.raises(
            InputError, match="of one search but for the sampler and the seed, but (validation|training)"
        ):
            equal_time.check_equal([ours, changed])


def test_what_goes_on_to_ten_times_the_length(table, space_file):
    networks = list(handmade.table(space_file).networks.values())
    longer = table.longer(networks, 30, 8)
    assert len({one.key for one in longer}) == 8
    points = {one.architecture.key: (one.curves[0].mean_db(30), one.fastest_ms["eager"]) for one in networks}
    front = [key for key, (psnr, ms) in points.items() if psnr >= max(p for p, m in points.values() if m <= ms)]
    assert {one.key for one in longer[: min(4, len(front))]} <= {*front}
    # What has begun goes on, whatever has joined the table meanwhile.
    begun = {one.key for one in longer}
    marked = [
        one.model_copy(update={"sources": (*one.sources, "longer")}) if one.architecture.key in begun else one
        for one in networks
    ]
    assert begun == {one.key for one in table.longer(marked[::-1], 30, 8)}
    assert [one.key for one in table.longer(networks[::-1], 30, 8)] == [one.key for one in longer]


def test_what_is_to_be_timed(table, space_file):
    first, *others = handmade.table(space_file).networks.values()
    untimed = first.model_copy(update={"fastest_ms": {}})
    assert table.due([untimed, *others], ["eager"]) == [(first.architecture, "eager")]
    again = table.due([first, *others], ["eager"])
    assert len(again) == 20
    assert {one.key for one, _ in again} == {one.architecture.key for one in (first, *others)}


def test_what_stands_beside_a_design(proof):
    networks = [contender(30.0, 1.0), contender(31.0, 2.0), contender(30.5, 3.0)]
    assert proof.front_of(networks) == networks[:2]
    assert proof.best_within(networks, 2.0) is networks[1]
    assert proof.best_within(networks, 0.9) is None
    assert proof.fastest_of(networks, 30.5) is networks[1]
    assert proof.fastest_of(networks, 31.1) is None


def test_networks_have_the_latencies_of_a_retimed_study(proof):
    trials = [handmade.trial(number, 30.0 + number, rounds=(1.0 + number,)) for number in range(3)]
    again = [handmade.trial(number, 30.0, rounds=(ms,)) for number, ms in ((0, 5.0), (1, 4.0))]
    networks = [Contender(trial, (trial.quality,)) for trial in trials]
    timed = proof.timed_as(networks, rank_records(handmade.study(), again))
    assert [(one.trial.number, one.fastest_ms, one.psnr_y_db) for one in timed] == [(1, 4.0, 31.0), (0, 5.0, 30.0)]


@pytest.mark.parametrize(
    ("network", "is_ahead"),
    [
        (contender(30.2, 2.0), True),  # 0.2 dB over the design that is as fast, on each photograph.
        (contender(30.05, 3.2), True),  # By less than 0.1 dB, but 20 % faster than the only design that is as good.
        (contender(30.05, 3.3), False),
        (contender(30.2, 2.0, noise=0.5), False),  # The interval holds 0.
        (contender(30.0, 1.7), False),  # Nothing is as fast.
        (contender(29.9, 3.0), False),
    ],
)
def test_what_is_ahead(proof, network, is_ahead):
    assert proof.is_ahead(network, [contender(30.0, 2.0), contender(31.0, 4.0)]) is is_ahead


def test_human_designs_run_to_their_end(rungs):
    curves = [rungs.Curve(f"k{i}", i % 2 == 0, 1.0 + i, {1 / 3: 29.0, 1.0: 30.0 + i}) for i in range(4)]
    none_survives = rungs.Rule("strict", (1 / 3,), lambda *_: False)
    saved, lost = rungs.replay(curves, none_survives, (29.0, 5.0))
    assert saved == pytest.approx(2 * (2 / 3) / 4)
    assert 0 < lost < 1
    seen = []
    rungs.replay(curves, rungs.Rule("all", (1 / 3,), lambda _, others: seen.append(len(others)) or True), (29.0, 5.0))
    assert seen == [1, 3]
