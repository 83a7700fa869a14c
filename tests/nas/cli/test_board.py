"""What is read of a finished study on the command line: the leaderboard, two trials of it, and the pick."""

import base64
import csv
import io
import json
import re

import pytest
from handmade import replicate, study, trial

from srnas.leaderboard.store.store import Store


@pytest.fixture
def searched(search_request, launched):
    """Return the workspace of a study of three trained candidates."""
    launched(search_request.changed(trials=3))
    return search_request.workspace


def test_leaderboard_selected_and_compared(run, searched):
    given = ("leaderboard", "--workspace", searched)
    rows = json.loads(run(*given, "--sort", "params", "--json")[1])
    assert [row["params_k"] for row in rows] == sorted(row["params_k"] for row in rows)
    middle = sorted(row["latency_fastest_ms"] for row in rows)[1]
    assert len(json.loads(run(*given, "--max-latency-ms", middle, "--task", "x2", "--json")[1])) == 2
    assert json.loads(run(*given, "--min-psnr", 99, "--json")[1]) == []
    table = list(csv.DictReader(io.StringIO(run(*given, "--csv")[1])))
    assert {float(row["psnr_y_db"]) for row in table} == {row["psnr_y_db"] for row in rows}
    # What no trial meets has heads all the same.
    assert run(*given, "--min-psnr", 99, "--csv")[1].split(",")[0] == next(iter(table[0]))
    document = run(*given, "--markdown", "--all")[1].splitlines()
    assert len(document) == 2 + 3
    assert all(line.replace(r"\|", "").count("|") == document[0].count("|") for line in document)
    one, other = rows[0], rows[1]
    found = json.loads(run("leaderboard", "compare", one["trial"], other["key"], "--workspace", searched, "--json")[1])
    assert (found["a"]["key"], found["b"]["trial"]) == (one["key"], other["trial"])
    assert found["b"]["difference_db"] == pytest.approx(one["psnr_y_db"] - other["psnr_y_db"])
    code, out, _ = run("leaderboard", "compare", one["trial"], other["trial"], "--workspace", searched)
    assert code == 0
    assert f"{found['b']['difference_db']:+.3f} dB" in out
    for wrong, said in (
        (("--sort", "beauty"), "unknown order 'beauty'"),
        (("--task", "x4"), "unknown task 'x4'"),
        (("compare", 0, 77, "--workspace", searched), "must hold trial or key '77'"),
    ):
        code, _, err = run(*given, *wrong)
        assert code == 2
        assert said in err


def test_pick(run, searched):
    given = ("pick", "--workspace", searched, "--latency-ms")
    code, out, _ = run(*given, 1e4)
    assert code == 0
    assert "Within 10000 ms: study 'small-x2'" in " ".join(out.split())
    sure = run(*given, 1e4, "--confidence", 0.95)[1]
    assert "Within 10000 ms with probability 0.95: study 'small-x2'" in " ".join(sure.split())
    found = json.loads(run(*given, 1e4, "--json", "--device", "float32")[1])
    assert found["pick"]["within_probability"] == 1.0
    best = max([found["pick"], *found["runners_up"]], key=lambda one: one["psnr_y_db"])
    assert best["trial"] == found["best_trial"]
    assert found["pick"]["trial"] in [best["trial"], *found["ties"]]
    assert f"srnas upscale PHOTO --trial {found['pick']['trial']} --study small-x2" in out
    psnr_y_db = [one["psnr_y_db"] + one["difference_db"] for one in found["runners_up"]]
    assert psnr_y_db == pytest.approx([found["pick"]["psnr_y_db"]] * 2)
    code, _, err = run(*given, 1e-6)
    assert code == 2
    assert "must take at most 1e-06 ms" in err
    # Whatever the fastest round of the pick is, a budget of just that is met, as it is on the leaderboard.
    fastest = found["pick"]["latency_fastest_ms"]
    assert json.loads(run(*given, fastest, "--json")[1])["pick"]["latency_fastest_ms"] <= fastest
    code, _, err = run(*given, 1e4, "--device", "abacus")
    assert code == 2
    assert "a device profile must contain 'abacus', but there are '" in err


@pytest.fixture
def with_tie(workspace):
    """Return a workspace with a best network, a human design that ties with it, and a design that does not."""
    store = Store(workspace)
    parent = store.open_study(study())
    design = {"design": "plain-small"}
    for made in (
        trial(0, (32.0, 33.0, 34.0), (4.0,), images="abc"),
        trial(1, (31.94, 33.02, 33.98), (3.0,), images="abc").model_copy(update=design),
        trial(2, (31.0, 33.5, 33.5), (2.0,), images="abc"),
    ):
        store.write_trial(parent, study(), made)
    return workspace


def test_pick_names_ties(run, with_tie):
    given = ("pick", "--workspace", with_tie, "--latency-ms", 5)
    found = json.loads(run(*given, "--json")[1])
    assert (found["pick"]["trial"], found["best_trial"], found["ties"]) == (1, 0, [1])
    assert [(one["trial"], one["verdict"]) for one in found["runners_up"]] == [(0, "tie"), (2, "undecided")]
    assert found["runners_up"][0]["difference_db"] == pytest.approx(-0.02)
    said = " ".join(run(*given)[1].split())
    assert "Trial 0 has the best PSNR and ties with: 1. The fastest of them is picked" in said
    assert "It is a human design (plain-small): no searched network does more than tie with it." in said
    faster = " ".join(run("pick", "--workspace", with_tie, "--latency-ms", 3.5)[1].split())
    assert "ties with" not in faster
    assert "It is a human design (plain-small): no searched network is better." in faster


def test_compare_says_ties_by_the_same_rule(run, with_tie):
    compare = ("leaderboard", "compare", "--workspace", with_tie)
    assert "95 % interval -0.079 to +0.119: tie." in " ".join(run(*compare, 0, 1)[1].split())
    assert json.loads(run(*compare, 0, 2, "--json")[1])["b"]["verdict"] == "undecided"


def test_one_name_holds_one_psnr(run, with_tie):
    again = replicate(0, (32.2, 33.2, 34.2), images="abc")
    store, record = Store(with_tie), study()
    store.write_replicate(store.open_study(record), record, again)
    found = json.loads(run("leaderboard", "compare", "--workspace", with_tie, 0, 1, "--json")[1])
    picked = json.loads(run("pick", "--workspace", with_tie, "--latency-ms", 5, "--json")[1])
    for one in (found["a"], picked["pick"]):
        assert (one["psnr_y_db"], one["num_seeds"]) == (33.0, 2)
        assert one["psnr_mean_db"] == one["ranked_db"] == pytest.approx(33.1)
    assert "psnr_mean_db" not in found["b"]
    assert found["b"]["ranked_db"] == found["b"]["psnr_y_db"]
    said = run("leaderboard", "compare", "--workspace", with_tie, 0, 1)[1]
    lines = [line.split("│") for line in said.splitlines() if "PSNR-Y" in line]
    assert [cell.strip() for cell in lines[0][2:4]] == ["33.00", "32.98"]
    assert [cell.strip() for cell in lines[1][2:4]] == ["33.10", ""]


def embedded(page):
    """Return the data of a page that is one file."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())[1])


def test_the_page_as_one_file(run, searched, tmp_path):
    rows = json.loads(run("leaderboard", "--workspace", searched, "--json")[1])
    front = {f"small-x2:{row['trial']}" for row in rows if row["front"]}
    for options in (("--html", tmp_path / "a.html"), ("export", "--html", tmp_path / "b.html")):
        code, out, _ = run("leaderboard", *options, "--workspace", searched)
        assert code == 0
        assert str(options[-1]) in out
        data = embedded(options[-1])
        assert [study["name"] for study in data["studies"]] == ["small-x2"]
        assert {row[data["columns"].index("key")] for row in data["rows"]} == {row["key"] for row in rows}
        # A member of the front comes with all that its panel shows.
        assert data["details"].keys() == front
        for shown in data["details"].values():
            assert shown["trial"]["quality"]["images"]
            assert sum(place["fastest_ms"] for place in shown["places"]) > 0
            (crop,) = shown["crops"]
            assert base64.b64decode(crop.partition(",")[2]).startswith(b"\x89PNG")
    code, _, err = run(
        "leaderboard", "export", "--html", tmp_path / "c.html", "--study", "none", "--workspace", searched
    )
    assert code == 2
    assert "unknown study 'none'" in err
    (tmp_path / "file").write_text("")
    code, _, err = run("leaderboard", "export", "--html", tmp_path / "file" / "d.html", "--workspace", searched)
    assert code == 2
    assert "must be writable" in err


def test_the_chart_is_drawn_where_it_is_wanted(run, searched):
    given = ("leaderboard", "--workspace", searched)
    assert "line: bicubic" in run(*given, "--chart")[1].partition("Study ")[0]
    # What is printed here is no terminal.
    assert "line: bicubic" not in run(*given)[1]
