"""Latencies of a front that was timed together replace those in MLflow, once."""

import pytest
from handmade import as_timed, study, trial

from srnas.leaderboard.rank.board import rank_records, rank_rows
from srnas.leaderboard.record.timed_quality import TimedQuality
from srnas.leaderboard.store.store import Store
from srnas.leaderboard.store.timing import write_timing

REFUSED = TimedQuality(number=1, seed=0, dtype="int8", runtime="r", reason="no kernel")


def timed(record, fastest_ms, ended_ms=7, flags=()):
    latency = trial(record.number, 31.0, (fastest_ms,)).latency
    latency = type(latency)(**vars(latency) | {"flags": flags})
    return record.model_copy(update={"latency": latency, "timed_together_ms": ended_ms})


@pytest.fixture
def alone():
    return [trial(0, 31.0, (1.0,)), trial(1, 32.0, (2.0,)), trial(2, 31.5, (3.0,))]


@pytest.fixture
def store(workspace, alone):
    store = Store(workspace)
    parent = store.open_study(study())
    for record in alone:
        store.write_trial(parent, study(), record)
    return store


def test_it_replaces_what_was_written_and_is_written_once(store, alone):
    together = [timed(alone[0], 1.5, flags=("disturbed",)), timed(alone[1], 2.5), alone[2]]
    assert write_timing(store, study(), alone) == 0
    store.write_confidence(rank_records(study(), together))
    doubt = store.rows(study())["front_probability"].tolist()
    assert write_timing(store, study(), together) == 2
    rows = store.rows(study())
    assert rows["latency_fastest_ms"].tolist() == [1.5, 2.5, 3.0]
    assert rows["timed_together_ms"].tolist()[:2] == [7, 7]
    assert rows["latency_flags"].tolist() == ["disturbed", "", ""]
    assert rows["psnr_y_db"].tolist() == [31.0, 32.0, 31.5]
    assert rows["front_probability"].tolist()[:2] == doubt[:2]
    assert [store.trial(run_id) for run_id in rows["run_id"]] == together
    assert write_timing(store, study(), together) == 0


def test_what_is_timed_together_no_more_gets_its_own_latency_back(store, alone):
    write_timing(store, study(), [timed(alone[0], 1.5), timed(alone[1], 2.5)])
    assert write_timing(store, study(), [timed(alone[0], 1.6, 9), alone[1], alone[2]]) == 2
    rows = store.rows(study())
    assert rows["latency_fastest_ms"].tolist() == [1.6, 2.0, 3.0]
    assert rows["timed_together_ms"].isna().tolist() == [False, True, True]
    board = rank_rows(study(), rows).records()
    assert {row["trial"]: row["timed_together_ms"] for row in board} == {0: 9, 1: None, 2: None}


def test_whether_it_is_there_is_known_without_a_file(store, alone, monkeypatch):
    write_timing(store, study(), [timed(alone[0], 1.5)])
    monkeypatch.setattr(store.client, "download_artifacts", None)
    assert write_timing(store, study(), [timed(alone[0], 1.5), *alone[1:]]) == 0


def test_a_trial_that_is_written_late_has_it_at_once(store, alone):
    late = timed(trial(3, 33.0, (4.0,)), 4.4)
    store.write_trial(store.find_study(study()), study(), late)
    assert write_timing(store, study(), [*alone, late]) == 0
    assert store.rows(study())["latency_fastest_ms"].tolist()[-1] == 4.4


def test_scores_as_timed_are_written_once(store, alone):
    scored = [as_timed(alone[0], 30.5), REFUSED.of(alone[1]), alone[2]]
    assert write_timing(store, study("int8"), scored) == 2
    rows = store.rows(study("int8"))
    assert rows["timed_psnr_y_db"].tolist()[0] == 30.5
    assert rows["timed_psnr_y_db"].isna().tolist() == [False, True, True]
    assert rows["reason"].tolist() == ["", "no PSNR in int8: no kernel", ""]
    assert rank_rows(study("int8"), rows).front["trial"].tolist() == [0]
    assert [store.trial(run_id) for run_id in rows["run_id"]] == scored
    assert write_timing(store, study("int8"), scored) == 0
