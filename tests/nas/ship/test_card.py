"""What the model card says of a network's training, quality and latency."""

from pathlib import Path

from handmade import as_timed, quality, study, trial

from srnas.leaderboard.record.finals import FinalRecord, FinalResult
from srnas.leaderboard.store.store import Store
from srnas.nas.ship.card import model_card
from srnas.nas.workspace.sources import Judged, Source
from srnas.search_space import Network

TRIAL = trial(0, 31.25, (10.0,))
CONFIG = {"training.iterations": 300, "training.batch": 8, "training.patch": 24, "training.seed": 0}


def source(one, record, final=None):
    return Source(Network(one.architecture).deploy(), "demo #0", Path("w.safetensors"), Judged(record, one), final)


def card(given, dtype="float32", timed=()):
    return model_card(given, "onnx", dtype, [], "", timed)


def trained_from(digest):
    config = {**CONFIG, "data": "photos", "precision": "float32", "checkpoint": digest}
    record = FinalRecord(
        architecture=TRIAL.architecture, protocol="p", config=config, bicubic={"held": quality(30.0)}, study="demo"
    )
    return FinalResult(record=record, quality={"held": quality(33.0)}, train_s=1.0)


def test_latencies_of_several_inputs_say_theirs(workspace):
    store = Store(workspace)
    for name, size, ms in (("small", [64, 48], 10.0), ("large", [128, 96], 40.0)):
        record = study().model_copy(update={"name": name, "config": {**study().config, "latency_input": size}})
        one = trial(0, 31.25, (ms,)).model_copy(update={"study": name})
        store.write_trial(store.open_study(record), record, one)
    text = card(source(TRIAL, study()), timed=store.trained(TRIAL.architecture.key))
    rows = [line for line in text.splitlines() if "input" in line and line.startswith("|") and " ms" not in line]
    assert any("input 48x64" in row and "| 10.000 |" in row for row in rows)
    assert any("input 96x128" in row and "| 40.000 |" in row for row in rows)


def test_quality_is_that_of_float32_and_says_so():
    text = card(source(TRIAL, study()))
    assert "Of the trained network in float32:" in text
    assert "| held-out, 4 photographs | 31.250 |" in text
    assert "srnas evaluate" not in text


def test_a_file_in_another_data_type_has_the_quality_that_was_timed():
    ranked = as_timed(TRIAL, 31.125)
    text = card(source(ranked, study("int8")), "int8")
    assert "| the same in int8, as its study timed it | 31.125 | |" in text
    assert "srnas evaluate" not in text
    for given in (source(TRIAL, study("int8")), source(ranked, study("float16")), source(TRIAL, study())):
        text = card(given, "int8")
        assert "the same in int8" not in text
        assert "In int8 it was not measured: `srnas evaluate --runtime RUNTIME --dtype int8` does." in text


def test_scores_of_a_trial_are_not_those_of_its_long_training():
    text = card(source(as_timed(TRIAL, 31.125), study("int8"), trained_from("")), "int8")
    assert "| held, 4 photographs | 33.000 |" in text
    assert "31.125" not in text
    assert "In int8 it was not measured" in text


def test_a_training_from_weights_says_so():
    assert "It started from weights" not in card(source(TRIAL, study(), trained_from("")))
    assert "It started from weights whose SHA-256 begins with `0123456789ab`." in card(
        source(TRIAL, study(), trained_from("0123456789ab"))
    )


def test_a_file_of_one_size_says_which():
    given = source(TRIAL, study())
    least = given.architecture.min_size
    assert f"H and W at least {least};" in model_card(given, "onnx", "float32", [], "")
    assert "H = 20 and W = 24;" in model_card(given, "executorch", "float32", [], "", size=(20, 24))
