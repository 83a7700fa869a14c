"""A workspace that an earlier version made is listed, picked from, exported, evaluated, retimed and extended."""

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

WORKSPACE = Path(__file__).parent / "before" / "workspace.zip"
# What the earlier version printed of its trials: key, PSNR in dB, fastest round in ms.
TRIALS = [
    ("1f0330fdff7d", 38.47545551489056, 0.170182),
    ("5b15eba89af9", 39.29336756835282, 0.126157),
    ("23162b82dc83", 38.88592498023044, 0.142392),
]


@pytest.fixture
def before(tmp_path, monkeypatch):
    """Return the folder of the workspace, its space and its photographs, whose paths are put right."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(WORKSPACE) as archive:
        archive.extractall(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ws" / "mlflow.db")) as store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, '/before', ?)", (str(tmp_path),))
        store.commit()
    return tmp_path


def rows(run, *arguments):
    code, out, err = run(*arguments, "--workspace", "ws", "--json")
    assert code == 0, err
    return json.loads(out)


def found(board):
    return [(row["key"], row["psnr_y_db"], row["latency_fastest_ms"]) for row in board]


def test_it_is_listed_and_picked_from(run, before):
    [study] = rows(run, "studies")
    assert (study["study"], study["state"], study["trials"], study["front"]) == ("small-x2", "complete", 3, 1)
    board = sorted(rows(run, "leaderboard"), key=lambda row: row["trial"])
    assert found(board) == TRIALS
    assert all(row["latency_median_low_ms"] <= row["latency_median_ms"] for row in board)
    picked = rows(run, "pick", "--latency-ms", "0.127")
    assert (picked["pick"]["key"], picked["pick"]["psnr_y_db"]) == TRIALS[1][:2]
    compared = rows(run, "leaderboard", "compare", "0", "1")
    assert compared["a"]["key"] == TRIALS[0][0]
    assert rows(run, "leaderboard", "resync")[0]["written"] == 0


@pytest.mark.usefixtures("brief_latency")
def test_its_networks_are_exported_evaluated_and_timed(run, before):
    key, psnr_y_db, _ = TRIALS[1]
    code, _, err = run("export", key, "--format", "safetensors", "--out", "x.safetensors", "--workspace", "ws")
    assert code == 0, err
    assert "Trial 1 of study `small-x2`" in Path("x.safetensors.md").read_text()
    judged = json.loads(run("evaluate", "--trial", "1", "--data", "held", "--workspace", "ws", "--json")[1])
    # It was judged before it was folded.
    assert judged["mean"]["psnr_y_db"] == pytest.approx(psnr_y_db, abs=1e-3)
    retimed = rows(run, "retime", "small-x2", "--memory-format", "channels_last")
    assert sorted(row["key"] for row in retimed) == sorted(key for key, *_ in TRIALS)


@pytest.mark.usefixtures("brief_latency")
def test_it_is_extended(run, before):
    search = ("search", "--space", "small.toml", "--train", "photos", "--val", "held", "--device", "cpu")
    search += ("--iterations", "12")
    board = rows(run, *search, "--trials", "5")
    trials = sorted(board, key=lambda row: row["trial"])
    assert [row[:2] for row in found(trials)[:3]] == [row[:2] for row in TRIALS]
    # Only what is near the front has been timed again, if this machine is the one that the study is about.
    kept = [row["timed_together_ms"] is None for row in trials[:3]]
    assert [row for row, alone in zip(found(trials), kept, strict=False) if alone] == [
        row for row, alone in zip(TRIALS, kept, strict=True) if alone
    ]
    assert len({row["key"] for row in board}) == 5
    code, _, err = run(*search, "--trials", "5", "--sampler", "random", "--workspace", "ws")
    assert code == 2
    assert "exists with other settings (sampler: front -> random)" in err
