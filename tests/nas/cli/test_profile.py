"""``srnas profile``: what it measures, prints, draws and keeps, and that bad input writes nothing."""

import csv
import io
import json
import statistics
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest

from srnas.leaderboard.store.store import Store
from srnas.nas.workspace.tables import find_table
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target
from srnas.profiling.rounds import kept_rounds
from srnas.search_space import REGISTRY, Architecture, Block, BlockInfo, Network, Position, SearchSpace, published

pytestmark = pytest.mark.usefixtures("brief_latency", "coarse_figures")

BRIEF = ("--device", "cpu", "--max-time-s", 0)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def profile(run, workspace):
    """Return a function that runs a command of ``srnas profile`` and returns its standard output."""

    def profile(*arguments):
        code, out, err = run("profile", *arguments, "--workspace", workspace)
        assert code == 0, err
        return out

    return profile


@pytest.fixture
def atlas(workspace):
    """Return a function that gives the newest parent run of the atlas, its children and what reads its files."""

    def atlas():
        store = Store(workspace)
        experiment = store.client.get_experiment_by_name("sr/blocks").experiment_id
        runs = store.client.search_runs([experiment], order_by=["attributes.start_time DESC"])
        parent = next(run for run in runs if run.data.tags["srnas.role"] == "profiles")
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]

        def read(name):
            path = mlflow.artifacts.download_artifacts(
                run_id=parent.info.run_id, artifact_path=name, tracking_uri=store.uri
            )
            with open(path, "rb") as file:
                return file.read()

        files = sorted(file.path for file in store.client.list_artifacts(parent.info.run_id))
        return parent, children, files, read

    return atlas


@pytest.fixture
def network_file(tmp_path):
    """Return the path of an architecture of three positions as JSON."""
    positions = (Position(trunk="conv"), Position(trunk="dw", attention="se"), Position(trunk="conv", attention="lia"))
    path = tmp_path / "mine.json"
    path.write_text(Architecture(scale=2, channels=16, positions=positions).to_json())
    return path


def words(text):
    """Return a text without its line breaks, which depend on the terminal."""
    return " ".join(text.split())


def test_blocks_as_tables(profile, workspace):
    text = profile("block", "lia", "cbam", "--channels", 8, "--size", "24x32", *BRIEF)
    assert "Sizes of the deploy form, input 8 channels, 24x32" in text
    assert "The three agree to the unit" in words(text)
    assert f"{REGISTRY.block('cbam').params(8):,}" in text
    # What fvcore and ptflops add is said as sums.
    [sums] = [line for line in text.splitlines() if line.startswith("lia: ")]
    assert sums.startswith("lia: fvcore ")
    assert "; ptflops " in sums
    assert "float32 nchw, eager, 1 thread, input 8 channels, 24x32" in words(text)
    assert "95 % interval" in text
    for name in ("macs-against-latency", "roofline"):
        path = workspace / "figures" / f"profile-lia-cbam-8-channels-24x32-{name}.png"
        assert path.read_bytes().startswith(PNG)
        assert f"figure  {path}" in text
    assert f"MLflow  experiment sr/blocks in {workspace / 'mlflow.db'} (browse it" in text


def test_blocks_as_json_are_kept_with_their_samples(profile, atlas):
    rows = json.loads(profile("block", "lia", "cbam", "--channels", 8, "--size", "24x32", *BRIEF, "--json"))
    assert [row["block"] for row in rows] == ["lia", "cbam"]
    for row in rows:
        # --size is width x height, shapes are (B, C, H, W).
        assert row["input_shape"] == [1, 8, 32, 24]
        assert row["latency_median_low_ms"] <= row["latency_median_ms"] <= row["latency_median_high_ms"]
        assert 0 < row["latency_cold_fastest_ms"] <= row["latency_cold_median_ms"]
        assert row["counters_agree"]
        assert row["max_abs_difference"] == 0
        assert row["roofline_share"] == row["roofline_bound_ms"] / row["latency_fastest_ms"]
        assert row["device_profile"]["threads"] == 1

    parent, children, files, read = atlas()
    assert parent.info.run_name == "lia, cbam, 8 channels, 24x32"
    assert parent.info.status == "FINISHED"
    figures = [f"profile-lia-cbam-8-channels-24x32-{name}.png" for name in ("macs-against-latency", "roofline")]
    assert files == [*figures, "profiles.json", "samples.json"]
    assert all(read(name).startswith(PNG) for name in figures)
    assert json.loads(read("profiles.json")) == rows
    assert all(sample["preflight"]["torch"] for sample in json.loads(read("samples.json")))
    assert {run.info.run_name for run in children} == {"lia", "cbam"}
    for row, sample in zip(rows, json.loads(read("samples.json")), strict=True):
        [child] = [run for run in children if run.info.run_name == row["block"]]
        assert child.info.status == "FINISHED"
        assert child.data.metrics["macs"] == row["macs"]
        assert child.data.metrics["latency_fastest_ms"] == row["latency_fastest_ms"]
        assert json.loads(child.data.tags["srnas.input_shape"]) == row["input_shape"]
        assert child.data.tags["srnas.device_key"] == row["device_key"]
        # The figures follow from the raw calls: a round is the median of its burst, the row's figure the fastest kept.
        assert (sample["name"], sample["input_shape"]) == (row["block"], row["input_shape"])
        rounds, reference = [statistics.median(calls) for calls in sample["calls_ms"]], sample["reference_rounds_ms"]
        assert len(rounds) == len(reference) == len(sample["discarded"]) == row["rounds"]
        kept = kept_rounds(sample["discarded"])
        fastest = min(rounds[number] for number in kept)
        assert fastest == row["latency_fastest_ms"]
        assert fastest / min(reference[number] for number in kept) == row["latency_reference_ratio"]


def test_blocks_as_csv_equal_what_is_kept(profile, atlas):
    text = profile("block", "pa", "se", "--channels", 16, "--size", "8x8", *BRIEF, "--csv")
    kept = json.loads(atlas()[3]("profiles.json"))
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [list(row) for row in found] == [list(row) for row in kept]
    for row, expected in zip(found, kept, strict=True):
        for key, value in expected.items():
            if isinstance(value, (list, dict)):
                assert json.loads(row[key]) == value
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                assert float(row[key]) == value
            else:
                assert row[key] == ("" if value is None else str(value))


def test_a_sweep_over_channels_and_sizes(profile, workspace):
    text = profile("sweep", "pa", "--channels", "4, 8", "--sizes", "8x10,16x12", *BRIEF, "--json")
    rows = json.loads(text)
    assert [row["input_shape"] for row in rows] == [[1, 4, 10, 8], [1, 8, 10, 8], [1, 4, 12, 16], [1, 8, 12, 16]]
    for row in rows:
        _, channels, height, width = row["input_shape"]
        # PA is one 1x1 convolution: C^2 products for each pixel.
        assert row["macs"] == channels**2 * height * width
    names = ("latency-against-size", "macs-against-latency", "roofline")
    drawn = sorted((workspace / "figures").iterdir())
    assert [path.name for path in drawn] == [f"profile-pa-sweep-{name}.png" for name in names]
    assert all(path.read_bytes().startswith(PNG) for path in drawn)


def test_networks_by_position(profile, workspace, network_file):
    text = profile("network", "plainusr_u", network_file, "--size", "24x16", *BRIEF, "--json")
    rows = json.loads(text)
    assert [row["network"] for row in rows] == ["plainusr_u", str(network_file)]
    built = [published("plainusr_u", 2), Architecture.from_json(network_file.read_text())]
    for row, architecture in zip(rows, built, strict=True):
        assert row["input_shape"] == [1, 3, 16, 24]
        assert row["params"] == sum(p.numel() for p in Network(architecture).deploy().parameters())
        for size in ("params", "macs", "activations"):
            assert sum(place["counts"][size] for place in row["places"]) == row[size]
        assert all(place["fastest_ms"] > 0 for place in row["places"] if place["counts"]["macs"])
        places = {place["name"]: place["label"] for place in row["places"]}
        positions = {f"p{depth:02d}": str(position) for depth, position in enumerate(architecture.positions)}
        assert {name: label for name, label in places.items() if name.startswith("p")} == positions
        assert {"stem", "tail"} <= places.keys()
    names = ("latency-by-position", "macs-against-latency", "roofline")
    drawn = sorted((workspace / "figures").iterdir())
    assert [path.name for path in drawn] == [
        f"profile-plainusr-u-{network_file.stem}-json-x2-24x16-{name}.png" for name in names
    ]


def test_a_network_on_two_targets_as_tables(profile, network_file):
    other = f"{network_file}@bfloat16,channels_last"
    text = "".join(profile("network", network_file, other, "--size", "9x8", *BRIEF).split())
    assert text.count("Latencyon") == 2
    assert "bfloat16channels_last" in text
    assert f"{other}:largestdifferencetoeagerfloat32" in text
    assert f"{other}byposition" in text


@pytest.mark.slow
def test_each_target_has_its_own_roofline(profile, tmp_path):
    """A network that is compiled has no places, which leaves a gap in the table, not an error."""
    network_file = tmp_path / "small.json"
    network_file.write_text(Architecture(scale=2, channels=4, positions=(Position(trunk="conv"),)).to_json())
    names = (f"{network_file}@compile", network_file, f"{network_file}@onnxruntime,int8")
    rows = list(csv.DictReader(io.StringIO(profile("network", *names, "--size", "9x8", *BRIEF, "--csv"))))
    assert [bool(row["places"]) for row in rows] == [False, True, True]
    assert [bool(row["roofline_bound_ms"]) for row in rows] == [True, True, False]


def test_an_output_that_is_not_finite_is_said(profile, monkeypatch):
    monkeypatch.setattr(REGISTRY, "_classes", dict(REGISTRY._classes))

    @REGISTRY.register(BlockInfo(name="huge", role="attention", paper=""))
    class Huge(Block):
        def forward(self, x):
            return x * 1e5

    given = ("block", "huge", "--channels", 4, "--size", "8x8", "--dtype", "float16", *BRIEF)
    [row] = json.loads(profile(*given, "--json"))
    assert row["max_abs_difference"] is None
    assert "huge: its output is not finite on random images" in profile(*given)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_pools")
def test_a_comparison_in_a_fresh_process(profile, network_file):
    given = ("compare", "plainusr_u", network_file, "--size", "12x8", "--processes", 1, "--device", "cpu")
    [row] = json.loads(profile(*given, "--json"))
    assert (row["first"], row["second"]) == ("plainusr_u", str(network_file))
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    verdict = "slower" if row["ratio_low"] > 1 else "faster" if row["ratio_high"] < 1 else "tie"
    assert row["verdict"] == verdict
    [process] = row["processes"]
    assert (process["ratio"], process["ratio_low"]) == (row["ratio"], row["ratio_low"])
    assert process["first_median_ms"] > 0
    assert row["first_device"] == row["second_device"]
    assert "float32 nchw, eager, 1 thread" in row["first_device"]


def test_a_comparison_in_words(profile, network_file, monkeypatch):
    # In threads of this process, where measurements are brief.
    monkeypatch.setattr("srnas.profiling.compare.ProcessPoolExecutor", lambda _, mp_context: ThreadPoolExecutor(1))
    given = ("compare", network_file, f"{network_file}@channels_last", "--size", "12x8", "--processes", 2)
    text = profile(*given, "--device", "cpu")
    assert all(head in text for head in ("A median ms", "B median ms", "95 % interval"))
    [first, second] = [line for line in text.splitlines() if line.startswith(("A: ", "B: "))]
    assert first.startswith(f"A: {network_file} on ")
    assert first.endswith("float32 nchw, eager, 1 thread")
    assert second.startswith(f"B: {network_file}@channels_last on ")
    assert second.endswith("float32 channels_last, eager, 1 thread")
    verdict = words(text.partition(second)[2])
    assert any(said in verdict for said in (" is faster than ", " is slower than ", " ties with "))
    assert verdict.endswith(" over all processes.")


def test_a_table_of_a_space(profile, workspace, space_file):
    given = ("table", "--space", space_file, "--calibrate", 2, "--validate", 3, "--device", "cpu")
    [row] = json.loads(profile(*given, "--json"))
    space = SearchSpace.load(str(space_file), 2)
    # The space times outputs of 32x32 by default.
    found = find_table(Workspace(workspace), space, Target(), (16, 16))
    assert found is not None
    assert {**found.model_dump(mode="json"), "space": "small", "file": row["file"]} == row
    assert len(row["validation"]["measured_ms"]) == 3
    text = words(profile(*given, "--size", "12x8"))
    assert "Block table of space 'small', x2, input 12x8, on " in text
    assert f"{len(found.entries_ms)} parts; latency = " in text
    assert "On others, end to end: MAPE " in text
    assert find_table(Workspace(workspace), space, Target(), (8, 12)) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("block liaa", "unknown block 'liaa'. Did you mean 'lia'?"),
        ("block pixelshuffle", "'pixelshuffle' is a tail"),
        ("block mlka --channels 32", "channels must be a multiple of 3 for block 'mlka'"),
        (
            "block lia --size 9x6",
            "width and height must be at least 7 for block 'lia', but got 9x6; use a larger input.",
        ),
        ("block lia --size 9", "--size must be WIDTHxHEIGHT in pixels, such as 320x180"),
        ("block lia --size 0x9", "--size must be WIDTHxHEIGHT in pixels, such as 320x180"),
        ("block lia --runtime onnx", "unknown runtime 'onnx'. Did you mean 'onnxruntime'?"),
        ("block lia --dtype float", "unknown dtype 'float'. Did you mean 'float32'?"),
        (
            "block lia --dtype int8",
            "dtype must be float32, bfloat16 or float16 for runtime 'eager' on cpu, but got dtype=",
        ),
        (
            "block lia --runtime onnxruntime --dtype bfloat16",
            "dtype must be float32, float16 or int8 for runtime 'onnxrun",
        ),
        (
            "block lia --runtime onnxruntime --memory-format channels_last",
            "memory_format must be nchw for runtime 'onnxr",
        ),
        ("block lia --threads 100000", "(the cores of this machine) must hold, but got threads=100000."),
        (
            "sweep lia --channels a,b",
            "--channels must be positive integers, comma-separated, such as 24,48, but got 'a'.",
        ),
        (
            "sweep lia --channels 8,0",
            "--channels must be positive integers, comma-separated, such as 24,48, but got '0'.",
        ),
        ("sweep lia --sizes 8x8,9", "--sizes must be WIDTHxHEIGHT in pixels, such as 320x180"),
        ("sweep lia --channels 4 --sizes 8x8,9x6", "width and height must be at least 7 for block 'lia', but got 9x6"),
        ("network a2m", "unknown network 'a2m'. Did you mean 'a2n_m'?"),
        ("network a2n --scale 5", "scale must be one of 2, 3, 4, but got scale=5."),
        ("network a2n@fast", "unknown word after '@' 'fast'."),
        ("network plainusr_s --size 9x6", "sides of the input must be at least 7 for "),
        ("network 0123456789ab", "must hold architecture 0123456789ab, but it does not;"),
        ("compare a2n no.json", "a file of an architecture must exist, but got 'no.json'."),
        ("compare a2n a2m", "unknown network 'a2m'. Did you mean 'a2n_m'?"),
        ("compare a2n plainusr_s --size 9x6", "sides of the input must be at least 7 for "),
        ("table --space tinny", "unknown space 'tinny'. Did you mean 'tiny'?"),
        ("table --size 9x6", "latency input sides >= 7 must hold for the blocks of space 'tiny', but got 9x6."),
        (
            "table --runtime onnxruntime --dtype bfloat16",
            "dtype must be float32, float16 or int8 for runtime 'onnxrunti",
        ),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    brief = BRIEF if arguments.split()[0] in ("block", "sweep", "network") else BRIEF[:2]
    code, out, err = run("profile", *arguments.split(), *brief, "--workspace", tmp_path / "none")
    assert code == 2
    assert message in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_is_shown_all_the_same(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").touch()
    given = ("profile", "block", "lia", "--channels", 8, "--size", "24x32", *BRIEF, "--workspace", "full")
    code, out, err = run(*given)
    assert code == 2
    assert "roof: share of what arithmetic and memory allow" in words(out)
    assert "full" in err
