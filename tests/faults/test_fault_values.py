"""A value that JSON does not hold, and one record that cannot be read among many."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from srnas.leaderboard.rank.confidence import confidence_rows, front_probability
from srnas.leaderboard.rank.paired import paired_difference
from srnas.leaderboard.record.trials import Quality, TrialRecord
from srnas.nas.images.assessment import ImageScores, mean_scores
from srnas.nas.images.evaluation import evaluate, evaluate_bicubic, reference_quality
from srnas.nas.images.pairs import Pair, note_flat
from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.search_space import InputError

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


class Nearest(torch.nn.Module):
    """Enlarges by nearest neighbour and adds as much to each pixel."""

    def __init__(self, error=0.0):
        super().__init__()
        self.error = error

    def forward(self, x):
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest") + self.error


def pair(name, hr):
    return Pair(name, np.ascontiguousarray(hr[::2, ::2]), hr, False)


BLACK, BLOCKS = pair("black", np.zeros_like(NOISE)), pair("blocks", NOISE.repeat(2, 0).repeat(2, 1))


def test_a_flat_photograph_counts_in_no_mean():
    score = lambda *pairs: evaluate(Nearest(error=8 / 255), pairs, 2, torch.device("cpu"))  # noqa: E731
    found, alone = score(BLACK, BLOCKS), score(BLOCKS)
    # 8 levels of each channel are 8 * 219 / 255 of Y.
    assert found.psnr_y_db[0] == pytest.approx(10 * math.log10(255**2 / (8 * 219 / 255) ** 2))
    assert (found.mean_psnr_y_db, found.left_out) == (alone.mean_psnr_y_db, ("black",))
    assert alone.left_out == ()
    assert note_flat("held", [BLACK, BLOCKS]) == ["held: 1 of 2 photographs are flat and left out of the mean (black)"]


def test_a_photograph_reproduced_without_an_error_is_infinite_and_comes_back():
    noise = pair("noise", NOISE)
    found = evaluate(Nearest(), [BLOCKS, noise], 2, torch.device("cpu"))
    assert math.isinf(found.psnr_y_db[0])
    assert (found.mean_psnr_y_db, found.left_out) == (found.psnr_y_db[1], ("blocks",))
    assert Quality.model_validate_json(found.model_dump_json()) == found
    # Strict JSON: no bare Infinity.
    json.loads(found.model_dump_json(), parse_constant=pytest.fail)
    assert Quality.model_validate(found.model_dump(mode="json")) == found


def test_of_nothing_but_flat_photographs_the_mean_is_infinite_and_no_study_begins():
    assert math.isinf(evaluate_bicubic([BLACK], 2).mean_psnr_y_db)
    with pytest.raises(InputError, match="photographs of 'held' must differ from their bicubic enlargement"):
        reference_quality("held", [BLACK, BLACK], 2)


def test_pairs_of_networks_are_compared_where_both_are_finite():
    found = paired_difference([math.inf, 31.0, 33.0, 30.0], [40.0, 30.0, 30.0, math.nan])
    assert (found.mean_db, found.se_db) == (2.0, 1.0)
    nothing = paired_difference([math.inf], [math.inf])
    assert (nothing.mean_db, nothing.se_db, nothing.low_db, nothing.high_db) == (0.0, None, -math.inf, math.inf)


def test_the_doubt_of_a_front_is_that_of_the_photographs_that_count():
    from handmade import quality, trial

    def with_flat(number, psnr, flat, rounds):
        scores = quality(psnr, images="abc")
        more = {"images": (*"abc", "flat"), "psnr_y_db": (*psnr, flat), "ssim_y": (0.9,) * 4, "left_out": ("flat",)}
        return trial(number, psnr, rounds).model_copy(update={"quality": scores.model_copy(update=more)})

    flat = [with_flat(0, (30.0, 31.0, 32.0), math.inf, (1.0,)), with_flat(1, (30.5, 31.4, 32.6), 50.0, (2.0,))]
    plain = [trial(0, (30.0, 31.0, 32.0), (1.0,), images="abc"), trial(1, (30.5, 31.4, 32.6), (2.0,), images="abc")]
    assert front_probability(flat, ()) == front_probability(plain, ()) == {0: 1.0, 1: 1.0}
    assert confidence_rows(flat, ()).equals(confidence_rows(plain, ()))


def test_the_mean_of_an_evaluation_is_over_what_counts():
    perfect = ImageScores("a", math.inf, 1.0, math.inf, 1.0)
    flat, plain = ImageScores("b", 50.0, 1.0, 60.0, 1.0, is_flat=True), ImageScores("c", 31.0, 0.9, 30.0, 0.8)
    assert perfect.gain_db == 0
    assert mean_scores([perfect, flat, plain]).psnr_y_db == 31.0
    assert math.isinf(mean_scores([perfect]).psnr_y_db)


@pytest.mark.usefixtures("brief_latency")
def test_a_search_with_a_black_frame_is_listed_picked_from_and_removed(
    run, search_request, held_out_folder, photo, tmp_path
):
    held = tmp_path / "held"
    shutil.copytree(held_out_folder, held)
    notes = []
    observer = Observer()
    observer.on_note = notes.append
    small = search_request.changed(trials=1, iterations=2)
    plain = launch(small.changed(study="plain"), observer)
    photo(held / "black.png", 48, 48, value=0)
    outcome = launch(small.changed(study="black", validation=held), observer)
    assert "held: 1 of 5 photographs are flat and left out of the mean (black.png)" in notes
    [record] = outcome.records
    assert record.state == "complete"
    assert record.quality.mean_psnr_y_db == plain.records[0].quality.mean_psnr_y_db
    place = ("--workspace", small.workspace, "--json")
    assert [row["study"] for row in json.loads(run("studies", *place)[1])] == ["black", "plain"]
    [row] = json.loads(run("leaderboard", "--study", "black", *place)[1])
    assert row["psnr_y_db"] == record.quality.mean_psnr_y_db
    assert run("pick", "--latency-ms", 1000, "--study", "black", *place)[0] == 0
    assert run("studies", "rm", "black", "--yes", *place[:2])[0] == 0
    assert [row["study"] for row in json.loads(run("studies", *place)[1])] == ["plain"]


@pytest.mark.parametrize("bad", ["not json", '{"study": null}'])
def test_a_record_that_cannot_be_read_is_named_and_the_others_are_listed(run, ws, edit, unchanged, bad):
    study = ws / "studies" / "small-x2.db"
    statement = "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'record' AND trial_id = 2"
    edit(study, statement, json.dumps(bad))
    with unchanged(ws / "studies"):
        code, out, err = run("studies", "--workspace", "ws", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["trials"] == 2
    assert err.count("trial 1 of study 'small-x2' cannot be read and is skipped") == 1


@pytest.mark.parametrize("key", ["settings", "study"])
def test_a_study_that_cannot_be_read_is_named_and_can_be_removed(run, ws, edit, unchanged, key):
    shutil.copy(ws / "studies" / "small-x2.db", ws / "studies" / "other.db")
    edit(ws / "studies" / "other.db", "UPDATE studies SET study_name = 'other'")
    edit(
        ws / "studies" / "small-x2.db", f"UPDATE study_user_attributes SET value_json = '\"{{}}\"' WHERE key = '{key}'"
    )
    edit(ws / "mlflow.db", "UPDATE tags SET value = '{\"bicubic_psnr_y_db\": null}' WHERE key = 'srnas.record'")
    (ws / "studies" / "rest.db").write_bytes(b"no database" * 100)
    with unchanged(ws / "studies"):
        code, out, err = run("studies", "--workspace", "ws", "--json")
        assert code == 0, err
        states = {row["study"]: row["state"] for row in json.loads(out)}
        assert states == {"other": "complete", "rest": "damaged", "small-x2": "damaged"}
        assert "'srnas studies rm rest' removes it" in " ".join(run("studies", "--workspace", "ws")[2].split())
        code, _, err = run("leaderboard", "--workspace", "ws")
        assert code == 2
        assert "study 'small-x2' in MLflow (run " in err
        search = ("search", "--space", "small.toml", "--train", "photos", "--val", "held", "--device", "cpu")
        code, _, err = run(*search, "--iterations", 12, "--trials", 9, "--workspace", "ws")
        assert (code, "must be readable, but they are damaged" in err) == (2, True)
    for name in ("small-x2", "rest"):
        assert run("studies", "rm", name, "--yes", "--workspace", "ws")[0] == 0
    assert [row["study"] for row in json.loads(run("studies", "--workspace", "ws", "--json")[1])] == ["other"]
    code, _, err = run("leaderboard", "--workspace", "ws")
    assert "cannot be read" not in err


def test_a_run_of_mlflow_that_cannot_be_read_is_named_and_the_others_are_listed(run, ws, edit):
    edit(ws / "mlflow.db", "UPDATE tags SET value = 'one' WHERE key = 'srnas.trial' AND value = '1'")
    code, out, err = run("leaderboard", "--workspace", "ws", "--json")
    assert code == 0, err
    assert sorted(row["trial"] for row in json.loads(out)) == [0, 2]
    assert "a trial in MLflow (run " in err


def test_records_of_earlier_versions_are_read(ws):
    import sqlite3

    with sqlite3.connect(ws / "studies" / "small-x2.db") as store:
        [(text,)] = store.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'record' LIMIT 1")
    record = TrialRecord.model_validate_json(json.loads(text))
    assert record.quality.left_out == ()
