"""Every benchmark runs with its smallest arguments and prints its table; its figures mean nothing then."""

import hashlib
import json
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import brief
import fresh
import handmade
import pytest
import torch
from conftest import SPACE
from safetensors.torch import save_file

from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import load_pairs
from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.nas.run.request import SearchRequest
from srnas.search_space import Network
from srnas.search_space.published import published

FOLDER = Path(__file__).parents[1] / "benchmarks"
FIGURE = r"-?[\d,]*\.?\d+"
HALF = rf" \| {FIGURE} \| [+-]{FIGURE} \| 4"
RULES = ("ours", "the front alone", "within 0.1 dB and 10 %")

pytestmark = [
    pytest.mark.usefixtures("brief_latency", "coarse_figures", "copied_stores"),
    pytest.mark.filterwarnings("default"),
]


def checkpoints(tmp_path, held_out_folder):
    """Weights that are ours, of which "official" results are known."""
    network = Network(published("plainusr_u", 2))
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    shutil.copytree(held_out_folder, tmp_path / "Set5" / "HR")
    pairs = [replace(pair, gray=False) for pair in load_pairs(held_out_folder, 2).pairs]
    found = evaluate(network.eval().deploy(), pairs, 2, torch.device("cpu"))
    entry = {
        "file": "net.safetensors",
        "sha256": hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest(),
        "network": "PlainUSR-U",
        "scale": 2,
        "metrics": {"Set5": {"psnr": found.mean_psnr_y_db, "ssim": found.mean_ssim_y}},
    }
    (tmp_path / "checkpoints.json").write_text(json.dumps({"files": [entry]}))
    return "--checkpoints", tmp_path, "--data", tmp_path, "--sets", "Set5"


def made_up_table(tmp_path, _):
    """A table that is there."""
    space = tmp_path / "small.toml"
    space.write_text(SPACE)
    handmade.table(space).save(tmp_path / "t.jsonl.xz")
    return "--table", tmp_path / "t.jsonl.xz"


def table(tmp_path, held_out_folder):
    """Networks of a space of one block of each kind, of which all other parts are there already, begun anew by each."""
    space = tmp_path / "tiny.toml"
    space.write_text('channels = [6]\npositions = 2\ntrunk = ["none", "conv"]\nattention = ["none", "pa"]\n')
    files = ("--table", tmp_path / "t.jsonl.xz", "--work", tmp_path / "work", "--space", space)
    sizes = ("--patch", 8, "--batch", 1, "--iterations", 2, "--trials", 3)
    given = (*files, "--train", held_out_folder, "--val", held_out_folder, *sizes)
    parts = ("uniform", 2), ("searches", 1), ("halves", 2), ("latency", 0), ("seeds", 1)
    for part, number in parts:
        sys.argv = list(map(str, ("table.py", part, "--number", number, *given)))
        assert not exit_code(FOLDER / "table.py")
        # A process that is killed leaves half a line.
        with (tmp_path / "work" / "entries.jsonl").open("a") as log:
            log.write('{"architecture"')
    return "longer", "--number", 9, *given


def samplers(*_):
    """A made-up problem, after the table."""
    given = ("--seeds", "1", "--trials", "25", "--samplers")
    table = ("--table", FOLDER / "tables" / "tiny-x2.jsonl.xz")
    sys.argv = list(map(str, ("samplers.py", *table, *given, "front-anywhere,random")))
    assert not exit_code(FOLDER / "samplers.py")
    return *given, "nsga2-20,random", "--variants", "smooth", "--generations", "2"


def search(tmp_path, held_out_folder):
    """A search of one trial."""
    tiny = tmp_path / "tiny.toml"
    tiny.write_text('channels = [6]\npositions = 1\ntrunk = ["conv"]\nattention = ["none"]\n')
    photos = ("--space", tiny, "--train", held_out_folder, "--val", held_out_folder)
    sizes = ("--device", "cpu", "--patch", 8, "--batch", 1, "--iterations", 2, "--latency-input", "16x16")
    return "--seconds", "inf", "--seeds", 1, "--trials", 1, "--samplers", "random", "--", *photos, *sizes


def study(tmp_path, held_out_folder, attention, trials):
    """Search at random among networks of at most one position; return the study and where it lies."""
    tiny = tmp_path / "tiny.toml"
    tiny.write_text(f'channels = [6, 8]\npositions = 1\ntrunk = ["conv"]\nattention = {json.dumps(attention)}\n')
    photos = {"space": str(tiny), "train": held_out_folder, "validation": held_out_folder}
    sizes = {"trials": trials, "iterations": 2, "patch": 8, "batch": 1, "latency_input": (16, 16), "sampler": "random"}
    launch(SearchRequest(workspace=tmp_path / "runs", workers=1, rungs="none", **photos, **sizes), Observer())
    return "tiny-x2", "--workspace", tmp_path / "runs"


def fronts(tmp_path, held_out_folder):
    """A study of two networks."""
    given = study(tmp_path, held_out_folder, ["none"], 2)
    return *given, "--runtimes", "eager,onnxruntime", "--budgets", "1000,0.0001"


def proof(tmp_path, held_out_folder):
    """A study of human designs and others, tested on the photographs that it was trained on."""
    return *study(tmp_path, held_out_folder, ["none", "pa"], 4), "--test", held_out_folder


def equal_time(tmp_path, held_out_folder):
    """A study beside itself."""
    name, *workspace = study(tmp_path, held_out_folder, ["none", "pa"], 4)
    return "--ours", name, "--others", name, *workspace, "--minutes", 60, "--figure", tmp_path / "volumes.png"


def survival(tmp_path, held_out_folder):
    """Three trials on loopback."""
    tiny = tmp_path / "tiny.toml"
    tiny.write_text('channels = [6, 8]\npositions = 1\ntrunk = ["conv"]\nattention = ["none", "pa"]\n')
    photos = ("--space", tiny, "--train", held_out_folder, "--val", held_out_folder, "--workers", 1)
    sizes = ("--patch", 8, "--batch", 1, "--iterations", 2, "--latency-input", "16x16")
    return "--trials", 3, "--loopback", "--", *photos, *sizes


def throughput(tmp_path, held_out_folder):
    """Two searches of one trial."""
    tiny = tmp_path / "tiny.toml"
    tiny.write_text('channels = [6]\npositions = 1\ntrunk = ["conv"]\nattention = ["none"]\n')
    sizes = "--device cpu --patch 8 --batch 1 --iterations 2 --latency-input 16x16"
    photos = f"--space {tiny} --train {held_out_folder} --val {held_out_folder} {sizes}"
    return "--trials", 1, "--rounds", 1, "--workers", 1, "--options", photos


def exit_code(path):
    """Run a program in this process."""
    try:
        # Under a name of its own: as __main__, processes that are started here would import it.
        runpy.run_path(str(path))["main"]()
    except SystemExit as end:
        return end.code
    return 0


# Smallest arguments, and a row of the table for each that must be there.
SMOKE = {
    "checkpoints.py": (
        checkpoints,
        ["file +set +PSNR-Y", rf"net.safetensors +Set5( +[+]?{FIGURE}){{6}}$", "1 evaluations, 0"],
    ),
    "counting.py": (
        "--channels 24 --size 8 --repeats 1 --networks plainusr_u",
        [r"block +exact M +ours +fvcore", r"LIA +0\.\d+ +0 ", "network +scale +modules", r"plainusr_u +x4 .* \d+\.\d"],
    ),
    "fronts.py": (
        fronts,
        [
            r"\| `onnxruntime` \| 2 \| \d of \d \| \d \| 0 \|",
            r"\| `eager` \| 1\.00 \| -?1\.00 \|",
            r"\| 1000 ms \| #\d \d+\.\d\d dB \|",
            r"\| 0\.0001 ms \| none \| none \|",
            r"#\d: `x2-c[68]\[conv\]`",
        ],
    ),
    "gpu_check.py": (
        "--dry-run",
        [
            r"check +\W? expected +\W? seen",
            *(rf"{name} .* passed" for name in ("resume", "synchronisation", "asserting_kernel", "cold", "workers")),
            "16 of 16 checks passed",
        ],
    ),
    "leaderboard.py": (
        "--studies 2 --trials 3 --repeats 1",
        [
            rf"reading 6 trials: {FIGURE} s",
            f"srnas leaderboard: {FIGURE} s",
            f"interactive after {FIGURE} s",
            f"sorting: median {FIGURE} ms",
        ],
    ),
    "equal_time.py": (
        equal_time,
        [
            rf"tiny-x2{HALF} \| tiny-x2{HALF} \| 1\.000 \| (1\.000|nan)",
            r"ours/others (1\.000|nan)",
        ],
    ),
    "networks.py": (
        "--networks plainusr_u ecbsr_m4c8 --output 64x48 --runtimes eager --rounds 3",
        [r"\| network \| params \| MACs G \| acts M \| ms eager \|", rf"`ecbsr_m4c8` \|( {FIGURE} \|){{4}}"],
    ),
    "proof.py": (
        proof,
        [
            r"\| ESPCN-like \| \d+\.\d\d \| \d+\.\d\d \|",
            r"\d of \d members of the front were searched, \d are ahead",
            r"\w+: \d+ photographs, (\d) of \1 networks have weights, tau with the validation set -?\d\.\d\d",
            r"\| ESPCN-like \| \d+\.\d\d \| (#\d \| \d+\.\d\d)? ",
        ],
    ),
    "ranking.py": (
        made_up_table,
        [
            "steps +nets +PSNR-Y",
            *(rf"{steps} +20 +{FIGURE} " for steps in (30, 90, 300)),
            r"after 30 steps, 10 networks, pairs of seeds: 1: mean tau 1\.00, at equal latency 1\.00 \(1\.00-1\.00\);",
            r"standard deviation 0\.071 dB",
            *(
                rf"{rule}: 20 at 30, \d+ at 90, \d+ at 300: {FIGURE} of .* \d+, by {FIGURE} dB .* {FIGURE} of"
                for rule in RULES
            ),
        ],
    ),
    "repeatability.py": ("--smoke --side 8", ["CV +relative CV +tau", *2 * [rf"mean of 100 calls( +{FIGURE}%?){{4}}"]]),
    "rungs.py": (
        lambda *given: (*made_up_table(*given), "--orders", 2),
        [r"rule .* all \(20\)", r"ours: eta .* \d+%, ", r"no stopping .* 0%"],
    ),
    "runtimes.py": (
        "--only cbam,hard --runtimes eager,ncnn",
        [
            r"\| `cbam` \| \d+\.\d\d \| \d+\.\d\d",
            r"\| `hard` \| .* \| no \|",
            "hard in ncnn: ncnn must have every operator",
        ],
    ),
    "samplers.py": (
        samplers,
        [
            "variant .* sampler .* 25",
            rf"table .* front-anywhere .* {FIGURE} \({FIGURE}\)",
            rf"smooth .* random .* {FIGURE} \({FIGURE}\)",
        ],
    ),
    "search.py": (search, ["sampler .* hypervolume", rf"random (.* 1 ){{3}}.* {FIGURE}"]),
    "table.py": (
        table,
        [r"t\.jsonl\.xz: ([3-9]) networks, \d trainings, \1 of 10 times the base length, \1 timed; 0\.00 MB"],
    ),
    "target.py": (
        "--networks 2 --rounds 1",
        [rf"agent/here {FIGURE} \({FIGURE} to {FIGURE}\) over 2 networks of .* tau"],
    ),
    "target_survival.py": (
        survival,
        ["after 1 trials the agent is killed", r"3 of 3 trials, .* 3 timed", "nothing was lost"],
    ),
    "throughput.py": (
        throughput,
        [
            "workers .* candidates/h",
            *(rf"{name} .* 1 .* {FIGURE}%" for name in ("baseline", "ours")),
            f"ours/baseline {FIGURE}",
        ],
    ),
    "training.py": (
        "--rounds 1 --steps 1",
        [rf"{name} +{FIGURE} " for name in ("ours", "limit", "baseline", "ours/limit", "ours/baseline")],
    ),
    "workers.py": (
        "--workers 2 --trials 2 --seconds 0 --rounds 1 --samplers random",
        ["storage .* sampler .* one worker .* 2 workers", rf"SQLite .* random( .* {FIGURE}){{3}}"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_a_benchmark_prints_its_table(name, tmp_path, held_out_folder, workspace, monkeypatch, capfd):
    given, rows = SMOKE[name]
    given = given.split() if isinstance(given, str) else given(tmp_path, held_out_folder)
    if name == "leaderboard.py":
        pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
        if not (shutil.which("chromium") or shutil.which("chromium-browser")):
            pytest.skip("Chromium is not installed: apt-get install chromium")
    popen = subprocess.Popen

    def chosen(command, **options):
        # Other programs of this Python, such as an agent, are none of ours.
        ours = command[0] == sys.executable and command[1] in ("-c", str(FOLDER / name))
        return fresh.Forked(command, first=brief.CODE, **options) if ours else popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", chosen)
    monkeypatch.setattr(sys, "argv", [name, *map(str, given)])
    monkeypatch.setenv("COLUMNS", "200")
    assert not exit_code(FOLDER / name)
    said = capfd.readouterr().out
    for row in rows:
        assert re.search(row, said, re.MULTILINE), (row, said)


def test_every_benchmark_is_here():
    assert SMOKE.keys() == {path.name for path in FOLDER.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rungs.py --table nothing.xz", "rungs.py: error: the table must be readable, but 'nothing.xz' is not"),
        ("proof.py none --workspace nowhere", "proof.py: error: "),
        ("networks.py --output 720", "--output must be WIDTHxHEIGHT in pixels"),
        ("samplers.py --variants ruged", "--variants must be of smooth, rugged, dying, but got ruged"),
        ("runtimes.py --only foo", "but got foo"),
    ],
)
def test_what_a_benchmark_cannot_use_ends_in_a_message(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *arguments = given.split()
    with fresh.Forked([sys.executable, str(FOLDER / name), *arguments], stderr=subprocess.PIPE) as program:
        _, said = program.communicate()
    assert program.returncode == 2, said
    assert message in " ".join(said.split())
    assert "Traceback" not in said
