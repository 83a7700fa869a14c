"""What was written before fastest and median were named apart still opens: the files are those that 94ef1b9 wrote."""

import contextlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from srnas.leaderboard.rank.board import rank_rows
from srnas.leaderboard.record.before import METRICS
from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.store import Store
from srnas.search_space import Architecture, Position

WRITTEN = Path(__file__).parent / "before"


@pytest.fixture
def trial():
    return TrialRecord.model_validate_json((WRITTEN / "trial.json").read_bytes())


@pytest.fixture
def study():
    return StudyRecord.model_validate_json((WRITTEN / "study.json").read_bytes())


def test_a_trial(trial):
    latency = trial.latency
    assert (latency.fastest_ms, latency.median_ms, latency.low_ms, latency.high_ms) == (4.0, 4.4, 4.1, 4.8)
    assert (latency.device_median_ms, latency.cold_median_ms, latency.cold_fastest_ms) == (3.5, 5.5, 5.0)
    assert trial.point == (32.0, 4.0)
    assert trial.architecture == Architecture(scale=2, channels=6, positions=(Position(trunk="conv"),))
    # Once read it is written in the names of now, and is the same.
    assert TrialRecord.model_validate_json(trial.model_dump_json()) == trial
    assert TrialRecord.model_validate(trial.model_dump()) == trial


def test_a_study(study):
    assert study.reference_fastest_ms == 10.0
    assert StudyRecord.model_validate_json(study.model_dump_json()) == study


def test_the_metrics_of_a_run(workspace, trial, study):
    store = Store(workspace)
    run_id = store.write_trial(store.open_study(study), study, trial)
    # The database as the version before left it: the names of its four metrics differ.
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as database, database:
        for old, new in METRICS.items():
            for table in ("metrics", "latest_metrics"):
                changed = database.execute(f"UPDATE {table} SET key = ? WHERE key = ?", (old, new)).rowcount
                assert changed == 1
    assert {"latency_ms", "latency_ms.low", "latency_stable_ms"} <= store.client.get_run(run_id).data.metrics.keys()
    [row] = rank_rows(study, store.rows(study)).records()
    expected = vars(replace(TrialRow.of(trial), run_id=run_id))
    assert {key: row[key] for key in expected if key in row} == {key: expected[key] for key in expected if key in row}
    assert row["latency_fastest_ms"] == 4.0
    assert store.trained(trial.architecture.key)[0]["latency_median_high_ms"] == 4.8


def test_latency_by_position(workspace, trial, study, tmp_path):
    store = Store(workspace)
    run_id = store.write_trial(store.open_study(study), study, trial)
    (tmp_path / "places.json").write_text(json.dumps([{"name": "p00", "label": "conv", "latency_ms": 0.5}]))
    store.add_files(study, {trial.number: {"shown": [tmp_path / "places.json"]}})
    assert store.details(run_id)["places"] == [{"name": "p00", "label": "conv", "fastest_ms": 0.5}]


def test_what_is_neither_old_nor_new_is_refused(study):
    with pytest.raises(ValueError, match="reference_latency_s"):
        StudyRecord.model_validate({**study.model_dump(), "reference_latency_s": 1.0})
