"""The command: what it prints, its exit codes, and that bad input writes nothing."""

import json
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from handmade import study, trial
from PIL import Image
from typer.main import get_command

from srnas.leaderboard.record.columns import DOUBT
from srnas.leaderboard.store.store import Store
from srnas.nas.cli import app, main

pytestmark = pytest.mark.usefixtures("brief_latency", "coarse_figures")


@pytest.fixture
def search(run, workspace, space_file, photo_folder, held_out_folder):
    """Return a function that runs a small search; options given replace these."""

    def search(*options):
        given = ["--space", space_file, "--train", photo_folder, "--val", held_out_folder, "--workspace", workspace]
        return run("search", *given, "--device", "cpu", "--trials", 2, *options)

    return search


# Every option of every command: an addition belongs here and in the changelog; the page of the commands follows.
OPTIONS = {
    "search": (
        "--space --scale --trials --study --train --val --every-image --raw-colours --sampler --seed --device "
        "--target --runtime --dtype --memory-format --threads --latency-input --max-latency-ms --max-params-k "
        "--max-macs-g --patch --batch --iterations --enqueue --ladder --learning-rate --rungs --max-train-s --patience "
        "--replicates --proxies --workers --engine --address --storage --workspace --json"
    ),
    "worker": "--storage --train --val --device --workspace",
    "studies": "--storage --workspace --json",
    "studies rm": "--storage --workspace --yes",
    "studies export": "--weights --overwrite --storage --workspace",
    "studies import": "--storage --workspace",
    "replay": (
        "--table --runtime --sampler --rungs --seeds --trials --cost --space --figures --storage --workspace --json"
    ),
    "leaderboard": (
        "--study --device --task --sort --max-latency-ms --min-psnr --all --figures --html --chart "
        "--workspace --json --csv --markdown"
    ),
    "leaderboard export": "--html --study --workspace",
    "leaderboard compare": "--study --device --workspace --json",
    "leaderboard resync": "--study --storage --workspace --json",
    "pick": "--latency-ms --confidence --study --device --workspace --json",
    "train": (
        "--iterations --data --every-image --raw-colours --val --scale --batch --patch --learning-rate "
        "--validate-every --checkpoint --seed --device --precision --threads --out --workspace --json"
    ),
    "evaluate": (
        "--data --network --scale --checkpoint --plain-weights --trial --study --hr --lr --raw-colours --save "
        "--overwrite --device --runtime --dtype --calibration --threads --workspace --json"
    ),
    "export": (
        "--format --out --dtype --calibration --size --licence --register --overwrite --network --scale --checkpoint "
        "--plain-weights --trial --study --workspace"
    ),
    "upscale": (
        "--network --scale --checkpoint --plain-weights --trial --study --tile --overwrite --raw-colours --device "
        "--threads --workspace"
    ),
    "retime": "--target --runtime --dtype --memory-format --threads --limit --storage --workspace --json",
    "profile block": (
        "--channels --size --target --runtime --dtype --memory-format --threads --max-time-s --workspace --json --csv"
    ),
    "profile sweep": (
        "--channels --sizes --target --runtime --dtype --memory-format --threads --max-time-s --workspace --json --csv"
    ),
    "profile network": (
        "--scale --size --target --runtime --dtype --memory-format --threads --max-time-s --workspace --json --csv"
    ),
    "profile compare": (
        "--scale --size --processes --max-time-s --target --runtime --dtype --memory-format --threads --workspace "
        "--json"
    ),
    "profile table": (
        "--space --scale --size --calibrate --validate --target --runtime --dtype --memory-format --threads "
        "--workspace --json"
    ),
    "ntire": (
        "--study --year --baseline --baseline-runtime-ms --baseline-gflops --baseline-params-m --min-psnr --images "
        "--scale --size --device --threads --max-time-s --workspace --json --csv"
    ),
    "explain ablate": (
        "--data --scale --checkpoint --plain-weights --trial --study --images --ways --cumulative --pairs "
        "--finetune --train --latency --size --max-time-s --raw-colours --device --threads --out --workspace --json"
    ),
    "explain maps": (
        "--photo --data --crop --pixel --scale --checkpoint --plain-weights --trial --study --images --device "
        "--threads --out --workspace --json"
    ),
    "explain frequency": (
        "--data --crop --scale --checkpoint --plain-weights --trial --study --images --device --threads --out "
        "--workspace --json"
    ),
    "explain reach": (
        "--photo --region --crop --scale --checkpoint --plain-weights --device --threads --out --workspace --json"
    ),
    "explain studies": "--depths --out --storage --workspace --json",
    "blocks": "--channels --size --svg --workspace --json",
    "networks": "--scale --json",
    "space list": "--json",
    "space show": "--scale --json",
    "ui": "--port --host --auth --workspace",
    "target script": "--runtime",
    "target serve": "",
    "target add": "--token-file",
    "target list": "--json",
    "target show": "--json",
    "target check": "--runtime",
    "target rm": "",
}


def test_the_options_are_these():
    found = {}
    for name, command in get_command(app).commands.items():
        subs = getattr(command, "commands", {})
        whole = {} if subs and not command.params else {"": command}
        for sub, inner in (whole | subs).items():
            names = [max(p.opts, key=len) for p in inner.params if p.param_type_name == "option"]
            found[f"{name} {sub}".strip()] = set(names) - {"--help"}
    assert found == {name: set(options.split()) for name, options in OPTIONS.items()}


def test_help_is_there_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['srnas', '--help']\n"
        "from srnas.nas.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("search", "leaderboard", "evaluate", "networks", "ui"))


def test_search_prints_the_front_and_where_things_are(search, workspace):
    code, out, err = search()
    assert code == 0
    assert "Front of" in out
    assert str(workspace / "figures" / "small-x2.png") in out.replace("\n", "")
    assert "srnas ui" in out
    assert "#0" in err
    code, out, _ = search()
    assert code == 0
    assert "is complete with 2 trials; nothing was run." in out.replace("\n", " ")
    assert "--trials 4" in out


def test_search_and_leaderboard_as_json(search, run, workspace, tmp_path):
    code, out, _ = search("--json")
    assert code == 0
    rows = json.loads(out)
    assert len(rows) == 2
    assert {"psnr_y_db", "latency_fastest_ms", "params_k", "macs_g", "front", "architecture"} <= rows[0].keys()
    assert rows[0]["psnr_y_db"] != round(rows[0]["psnr_y_db"], 3)
    shown = json.loads(run("leaderboard", "--workspace", workspace, "--json")[1])
    # MLflow is told nothing of the doubt of trials that are surely not on the front.
    common = [key for key in rows[0] if key in shown[0] and key not in DOUBT]
    assert {"psnr_y_db", "latency_fastest_ms", "front", "key"} <= set(common)
    assert [{k: row[k] for k in common} for row in shown] == [{k: row[k] for k in common} for row in rows]
    code, out, _ = run("leaderboard", "--workspace", workspace, "--figures", tmp_path / "f")
    assert "EDSR-like" in out
    assert (tmp_path / "f" / "small-x2.png").is_file()


def test_no_candidate_within_the_budget_is_said_at_the_end(search, space_file):
    # The smallest network meets it, the human designs that come first do not.
    code, out, err = search("--max-params-k", "1.0", "--trials", "1")
    assert code == 0
    assert "over budget" in err
    assert "No candidate was finished within the budgets" in out


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.strip() == f"srnas {version('srnas')}"


@pytest.mark.parametrize(("seed", "limit"), [("-1", "seed >= 0"), (str(2**32), "seed <= 4294967295")])
def test_a_seed_out_of_range(search, seed, limit):
    code, _, err = search("--seed", seed)
    assert code == 2
    assert f"{limit} must hold, but got seed={seed}." in err


def test_blocks(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, _ = run("blocks")
    assert code == 0
    assert "mlka" in out
    assert "channels a multiple of 3" in out
    rows = {row["block"]: row for row in json.loads(run("blocks", "--json")[1])}
    assert rows["lia"]["min_size_px"] == 7
    assert rows["lia"]["options"] == {"features": 16}
    assert rows["psa_parallel"]["tile_invariant"] is False


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "5"], "scale must be one of 2, 3, 4, but got scale=5."),
        (["--trials", "0"], "trials >= 1 must hold, but got trials=0."),
        (["--sampler", "tep"], "unknown sampler 'tep'. Did you mean 'tpe'?"),
        (["--space", "tinny"], "unknown space 'tinny'. Did you mean 'tiny'?"),
        (["--device", "gpu"], "device must be auto, cpu or cuda[:N], but got 'gpu'."),
        (["--threads", "0"], "must hold, but got threads=0"),
        (["--study", "a b"], "a study's name must be letters, digits"),
        (["--latency-input", "32"], "--latency-input must be WIDTHxHEIGHT in pixels, such as 320x180"),
        (
            ["--latency-input", "9x6"],
            "latency input sides >= 7 must hold for the blocks of space 'small', but got 9x6.",
        ),
        (["--runtime", "onnx"], "unknown runtime 'onnx'. Did you mean 'onnxruntime'?"),
        (
            ["--dtype", "int8"],
            "dtype must be float32, bfloat16 or float16 for runtime 'eager' on cpu, but got dtype=int8",
        ),
        (["--memory-format", "nhwc"], "unknown memory format 'nhwc'. Did you mean 'nchw'?"),
        (["--patch", "6"], "patch >= 7 must hold for the blocks of space 'small', but got patch=6."),
        (["--patch", "33"], "photographs of 'photos0' must be at least 66x66 pixels (a patch of 33 at scale 2)"),
        (["--iterations", "0"], "iterations >= 1 must hold, but got iterations=0."),
        (["--ladder", "3,1"], "ladder must be 1 and then larger integers in order, such as 1,3,9, but got ladder=3,1."),
        (["--learning-rate", "-1"], "learning_rate > 0 must hold, but got learning_rate=-1.0."),
        (["--max-latency-ms", "-3"], "max_latency_ms > 0 must hold, but got budgets.max_latency_ms=-3.0."),
        (["--max-latency-ms", "1e-6"], "must meet the budgets, but the smallest do not (fastest_ms="),
        (["--max-params-k", "0.1"], "must meet the budgets, but the smallest do not (params_k="),
        (["--train", "/no/such/folder"], "a folder of photographs must exist, but got '/no/such/folder'."),
    ],
)
def test_bad_options_end_with_2_and_write_nothing(search, workspace, options, message):
    before = contents(workspace)
    code, out, err = search(*options)
    assert code == 2
    assert re.sub(r"photos\d+", "photos0", err).startswith("srnas: error: ")
    assert message in re.sub(r"photos\d+", "photos0", err)
    assert err.count("\n") == 1
    assert out == ""
    assert contents(workspace) == before


def broken(folder):
    (folder / "notes.txt").write_text("no image")


def truncated(folder):
    Image.new("RGB", (64, 64), (1, 2, 3)).save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])


def no_image(folder):
    (folder / "fake.jpg").write_text("not a picture")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken, "must hold images"),
        (truncated, "cannot decode 'cut.png'"),
        (no_image, "cannot decode 'fake.jpg'"),
    ],
)
def test_bad_folders_end_with_2_and_write_nothing(search, workspace, tmp_path, make, message):
    folder = tmp_path / "bad"
    folder.mkdir()
    make(folder)
    before = contents(workspace)
    for option in ("--train", "--val"):
        code, _, err = search(option, folder)
        assert code == 2
        assert message in err
    assert contents(workspace) == before


def test_converted_images_are_said(search, tmp_path, photo_folder):
    folder = tmp_path / "mixed"
    folder.mkdir()
    crop = Image.open(next(photo_folder.glob("*.png")))
    crop.convert("L").save(folder / "gray.png")
    crop.convert("CMYK").save(folder / "cmyk.jpg")
    crop.convert("RGBA").save(folder / "alpha.png")
    code, _, err = search("--train", folder, "--iterations", "1", "--trials", "1")
    assert code == 0
    said = err.replace("\n", " ")
    for note in ("1 gray, used as RGB", "1 CMYK, converted to RGB", "1 with an opaque alpha channel, dropped"):
        assert note in said


def test_an_unknown_key_in_the_space(search, tmp_path):
    path = tmp_path / "typo.toml"
    path.write_text("channels = [8]\npositions = 1\natention = ['lia']\n")
    code, _, err = search("--space", path)
    assert code == 2
    assert "unknown key 'atention'. Did you mean 'attention'?" in err


def test_an_unwritable_workspace(search, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = search("--workspace", tmp_path / "file" / "runs")
    assert code == 2
    assert "must be writable" in err


def test_other_settings(search, search_request, launched):
    launched(search_request.changed(trials=1, rungs="halving"))
    code, _, err = search("--seed", "7")
    assert code == 2
    assert "exists with other settings (seed: 0 -> 7; training.seed: 0 -> 7)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["leaderboard", "--workspace", "/no/workspace"], "a workspace must exist, but got '/no/workspace'"),
        (["ui", "--workspace", "/no/workspace"], "a workspace must exist, but got '/no/workspace'"),
        (["retime", "s", "--workspace", "/no/workspace"], "workspace '/no/workspace' must hold the file of study 's'"),
    ],
)
def test_other_commands_end_with_2(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert contents(tmp_path) == []


def test_studies_are_found_by_name(run, workspace, search_request, launched):
    code, _, err = run("leaderboard", "--workspace", workspace)
    assert (code, "must hold a study" in err) == (2, True)
    launched(search_request.changed(trials=3))
    code, _, err = run("leaderboard", "--workspace", workspace, "--study", "smal-x2")
    assert (code, "unknown study 'smal-x2'. Did you mean 'small-x2'?" in err) == (2, True)


def test_an_interrupt_ends_with_130(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("srnas.nas.run.launch.launch", interrupted)
    code, _, err = run("search")
    assert code == 130
    assert "run the same command again to continue" in " ".join(err.split())


def test_a_bug_is_not_hidden(monkeypatch, run):
    def buggy(*_):
        raise ValueError("a bug")

    monkeypatch.setattr("srnas.nas.run.launch.launch", buggy)
    monkeypatch.setattr(sys, "argv", ["srnas", "search"])
    with pytest.raises(ValueError, match="a bug"):
        main()


@pytest.mark.parametrize("command", [("replay",), ("studies", "rm", "--yes"), ("worker",), ("retime",)])
def test_a_study_lies_in_its_workspace(run, workspace, command):
    outside = workspace.parent / "outside.db"
    outside.write_bytes(b"not to be touched")
    code, _, said = run(*command, "../../outside", "--workspace", workspace)
    assert code == 2
    assert "a study's name must not lead to another folder, but got '../../outside'" in said
    assert outside.read_bytes() == b"not to be touched"


def test_figures_of_a_study_lie_where_they_are_wanted(run, workspace, tmp_path):
    """Names come from MLflow, which others may write to."""
    store, record = Store(workspace), study().model_copy(update={"name": "../outside"})
    store.write_trial(store.open_study(record), record, trial(0, 31.0).model_copy(update={"study": record.name}))
    code, _, said = run("leaderboard", "--figures", tmp_path / "figures", "--workspace", workspace)
    assert code == 2
    assert "a study's name must not lead to another folder" in said
    assert not list(tmp_path.glob("outside*"))
