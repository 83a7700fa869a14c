"""``srnas explain`` on the trained networks of a finished study."""

import io
import json

import pytest
from rich.console import Console

from srnas.nas.cli import explain as shared
from srnas.nas.cli.atlas import importance_table
from srnas.nas.workspace.boards import find_study, load_records
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space.choice import NONE


@pytest.fixture
def trial(launched, search_request):
    """Return a trained trial with attention."""
    launched(search_request)
    place = Workspace(search_request.workspace)
    study = find_study(place)
    records = load_records(place, study, range(search_request.trials))
    return next(
        one
        for one in records
        if one.state == "complete" and any(p.attention.name != NONE for p in one.architecture.positions)
    )


@pytest.fixture
def named(trial, workspace):
    return ("--trial", trial.number, "--workspace", workspace, "--device", "cpu")


@pytest.mark.usefixtures("coarse_figures")
def test_ablations_are_kept_and_go_to_mlflow(run, trial, named, workspace, held_out_folder):
    given = ("--data", held_out_folder, "--no-latency", *named)
    code, out, err = run("explain", "ablate", *given, "--ways", "mean", "--json")
    assert code == 0, err
    rows = json.loads(out)
    places = [p for p in trial.architecture.positions if p.attention.name != NONE]
    assert len([row for row in rows if row["scope"] == "alone"]) == len(places)
    assert all(row["way"] == "mean" and row["saved_ms"] is None for row in rows)
    folder = workspace / "explained" / f"{trial.architecture.key}-{trial.protocol}"
    assert json.loads((folder / "ablation.json").read_text()) == rows
    place = Workspace(workspace)
    [kept] = [one["run_id"] for one in place.store.trained(trial.architecture.key)]
    assert list(place.store.details(kept)["explained"]) == ["ablation"]
    # One image has no interval.
    code, out, err = run("explain", "ablate", *given, "--images", 1, "--ways", "identity", "--pairs")
    assert code == 0, err
    assert "identity" in out
    assert "inf" not in out


@pytest.mark.usefixtures("coarse_figures")
def test_maps_frequency_and_reach(run, trial, named, workspace, photo_folder, tmp_path):
    photo = photo_folder / "crop0.png"
    code, out, err = run("explain", "maps", "--photo", photo, *named, "--json", "--out", tmp_path)
    assert code == 0, err
    assert {row["position"] for row in json.loads(out)}
    assert {path.name for path in tmp_path.iterdir()} >= {"maps.png", "maps.html", "maps.json"}
    code, out, err = run("explain", "maps", "--data", photo_folder, "--crop", 16, "--images", 1, *named)
    assert code == 0, err
    assert "greatest" in out
    assert "inf" not in out
    code, out, err = run("explain", "frequency", "--data", photo_folder, *named, "--json")
    assert code == 0, err
    assert {row["filter"] for row in json.loads(out)} == {"gaussian", "laplacian"}
    key = trial.architecture.key
    code, out, err = run(
        "explain", "reach", key, key, "--photo", photo, "--crop", 24, "--region", "8,8,6", "--workspace", workspace,
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert [row["incompleteness"] <= 0.01 for row in json.loads(out)] == [True, True]


def test_importances_of_several_studies_stand_beside_each_other():
    first = {f"p{i:02d}": (13 - i) / 91 for i in range(13)}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(importance_table({"one": first, "two": {"p00": 0.75, "tail": 0.25}}))
    text = console.export_text()
    rows = {line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]] for line in text.splitlines()
            if line.startswith("│")}  # fmt: skip
    assert "relative importance of each choice for PSNR" in " ".join(text.split())
    # What a study does not choose has no importance there, not one of 0.
    assert (rows["p00"], rows["p11"]) == (["14.3%", "75.0%"], ["2.2%", ""])
    assert len(rows) == 12
    assert "2 more choices are left out; --json has all" in " ".join(text.split())


@pytest.mark.usefixtures("trial")
def test_an_atlas_needs_trials(run, workspace):
    code, _, err = run("explain", "studies", "--workspace", workspace)
    assert code == 2
    assert "at least 20 trials" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("ablate", "a2n", "--scale", 2, "--data", "."), "'a2n' must come with --checkpoint"),
        (("ablate", "--data", "."), "a network or --trial must be given, but got neither"),
        (("maps", "a2n"), "one of --photo and --data must be given, but got neither"),
        (("maps", "a2n", "--photo", "x.png", "--images", 3), "--photo takes no --images, but got --images 3"),
        (("maps", "a2n", "--data", ".", "--pixel", "1,2"), "--data takes no --pixel, but got --pixel 1,2"),
        (("reach", "a2n", "--photo", "x.png", "--scale", 2), "every network that is no key must have its --checkpoint"),
    ],
)
def test_what_cannot_be_explained_is_refused(run, workspace, options, message):
    code, out, err = run("explain", *options, "--workspace", workspace)
    assert code == 2
    assert message in err
    assert not out
    assert not (workspace / "explained").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("ablate", "--size", "2x2"), "sides of the input must be at least"),
        (("ablate", "--out", "full/out"), "'full/out' must be writable"),
        (("frequency", "--out", "full/out"), "'full/out' must be writable"),
    ],
)
def test_what_cannot_be_kept_is_not_computed(
    run, named, workspace, held_out_folder, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").touch()
    computed = []
    monkeypatch.setattr("srnas.nas.explain.ablation.ablate", lambda *_, **__: computed.append("ablations"))
    monkeypatch.setattr("srnas.nas.explain.frequency.frequency_response", lambda *_, **__: computed.append("maps"))
    code, _, err = run("explain", options[0], "--data", held_out_folder, *named, *options[1:])
    assert (code, computed) == (2, [])
    assert message in " ".join(err.split())


def test_results_lie_with_their_network(trial, workspace):
    place = Workspace(workspace)
    source = shared.load(trial.architecture.key, None, None, False, None, None, place)
    assert shared.results_folder(None, workspace, source).name == f"{trial.architecture.key}-{trial.protocol}"
