"""A front on another device profile: the same networks and qualities, new latencies, kept beside the study."""

import json
import weakref
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from mlflow import MlflowException
from torch import nn

from srnas.leaderboard.record.timed_quality import TimedQuality
from srnas.leaderboard.store.store import Store
from srnas.nas.judging import judge
from srnas.nas.revisit.rescoring import load_scorer
from srnas.nas.revisit.retime import _measure, retime
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.studies import load_snapshot, load_study
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target, describe_device
from srnas.profiling.runtimes import RuntimeFailedError, runtime_version
from srnas.search_space import REGISTRY, Architecture, Block, BlockInfo, InputError
from srnas.search_space.registry import BlockConfig

pytestmark = pytest.mark.usefixtures("brief_latency")

LAYOUT = Target(memory_format="channels_last")


@pytest.fixture
def search(search_request, launched):
    """Return a function that runs a small study; fields given replace these."""

    def search(**fields):
        return launched(search_request.changed(**{"trials": 3, **fields}))

    return search


@pytest.fixture
def log_gamma(monkeypatch):
    """Register a block of an operator that ONNX does not have."""
    monkeypatch.setattr(REGISTRY, "_classes", dict(REGISTRY._classes))

    @REGISTRY.register(BlockInfo(name="log_gamma", role="attention", paper=""))
    class LogGamma(Block):
        def __init__(self, channels, config=BlockConfig()):
            super().__init__(channels, config)
            self.conv = nn.Conv2d(channels, channels, 1)

        def forward(self, x):
            return torch.lgamma(1 + self.conv(x).abs())


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def by_trial(board):
    return board.rows.set_index("trial").sort_index()


def test_a_study_that_mlflow_lost(search, workspace):
    study = search()
    assert all(record.timed_together_ms for record in study.members)
    Store(workspace).delete_study(study.board.study)
    rows = retime(Workspace(workspace), "small-x2", LAYOUT).board.rows
    assert len(rows) == 3
    # What is timed here is not of the run in which the study timed its front.
    before = max(record.timed_together_ms for record in study.members)
    assert min(rows[rows["front"]]["timed_together_ms"].dropna(), default=0) > before


def test_a_study_whose_storage_is_elsewhere(search, workspace, run, tmp_path):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    search(storage=url)
    with pytest.raises(InputError, match="must hold the file of study 'small-x2'"):
        retime(Workspace(workspace), "small-x2", LAYOUT)
    given = ("--memory-format", "channels_last", "--storage", url, "--workspace", workspace, "--json")
    code, out, err = run("retime", "small-x2", *given)
    assert code == 0, err
    assert len(json.loads(out)) == 3


def test_a_runtime_that_cannot_run_the_space_leaves_no_study(search, workspace, log_gamma, tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text('channels = [6]\npositions = 1\nattention = ["log_gamma"]\n')
    with pytest.raises(InputError, match="runtime 'onnxruntime' must be able to run"):
        search(space=str(path), runtime="onnxruntime", patch=8, batch=2, latency_input=(16, 16))
    assert not list(workspace.glob("studies/*.db"))


def test_a_study_in_another_memory_format(search, run, workspace):
    study = search()
    trained = files(workspace / "cache")
    counts, done = [], []
    again = retime(Workspace(workspace), "small-x2", LAYOUT, on_start=counts.append, on_timed=done.append)
    assert (counts, done) == ([3], [3])
    assert files(workspace / "cache") == trained
    assert again.failed == {}
    assert again.front_before == set(study.board.front["trial"])

    record = again.board.study
    assert record.device == describe_device(LAYOUT)
    assert record.name == f"small-x2@eager-{record.device.key}"
    assert record.retimed_from == "small-x2"
    store = Store(workspace)
    params = store.client.get_run(store.find_study(record)).data.params
    told = ("name", "runtime", "dtype", "memory_format", "threads", "timed_on")
    assert [params[name] for name in told] == [record.name, "eager", "float32", "channels_last", "1", "cpu"]
    before, after = by_trial(study.board), by_trial(again.board)
    for same in ("key", "design", "state", "psnr_y_db", "ssim_y", "params_k", "macs_g", "train_s"):
        assert list(after[same]) == list(before[same])
    assert list(after["latency_median_ms"]) != list(before["latency_median_ms"])
    assert record.reference_fastest_ms == after["latency_fastest_ms"].max()
    assert [path.name for path in again.figures] == [f"{record.name}.png", f"{record.name}.html"]
    assert all(path.is_file() for path in again.figures)

    code, out, _ = run("leaderboard", "--study", record.name, "--workspace", workspace, "--json")
    assert (code, json.loads(out)) == (0, again.board.records())
    # The newest study is the searched one, although the other was written later.
    assert Store(workspace).studies()[0].name == record.name
    assert load_board(Workspace(workspace)).study.name == "small-x2"


def test_the_mean_over_seeds_ranks_there_too(search, workspace):
    before = by_trial(search(replicates=1).board)
    again = retime(Workspace(workspace), "small-x2", LAYOUT).board
    assert before["psnr_mean_db"].notna().any()
    for same in ("psnr_mean_db", "ranked_db", "num_seeds"):
        assert by_trial(again)[same].tolist() == pytest.approx(before[same].tolist(), nan_ok=True)
    assert load_board(Workspace(workspace), again.study.name).records() == again.records()


def test_the_new_front_and_its_neighbours_are_timed_in_the_same_rounds(search, workspace, monkeypatch):
    """What is timed by itself has a moment of its own."""
    search()
    monkeypatch.setattr("srnas.nas.revisit.retime._TOGETHER", 1)
    runs = []
    measure = judge.measure_latency
    monkeypatch.setattr(judge, "measure_latency", lambda *a, **given: runs.append(measure(*a, **given)) or runs[-1])
    rows = by_trial(retime(Workspace(workspace), "small-x2", LAYOUT).board)
    together = {int(name): latency.fastest_ms for name, latency in runs[-1].latencies.items()}
    assert set(rows.index[rows["front"]]) <= together.keys()
    for number, row in rows.iterrows():
        assert pd.notna(row["timed_together_ms"]) == (number in together)
        assert row["latency_fastest_ms"] == together.get(number, row["latency_fastest_ms"])


def test_a_store_that_does_not_answer_is_found_out_before_anything_is_timed(search, workspace, monkeypatch):
    search()
    timed = []
    monkeypatch.setattr("srnas.nas.revisit.retime.measure_latency", lambda *_, **__: timed.append(1))

    def lost(*_):
        raise MlflowException("gone")

    monkeypatch.setattr(Store, "open_experiment", lost)
    with pytest.raises(MlflowException, match="gone"):
        retime(Workspace(workspace), "small-x2", LAYOUT)
    assert timed == []


@pytest.mark.parametrize("method", ["delete_study", "write_trial"])
def test_an_interrupt_before_a_front_is_written_leaves_the_earlier_one(search, workspace, monkeypatch, method):
    search()
    place = Workspace(workspace)
    first = retime(place, "small-x2", LAYOUT).board
    real, calls = getattr(Store, method), []

    def interrupted(*given):
        calls.append(real(*given))
        if len(calls) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(Store, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            retime(place, "small-x2", LAYOUT)
    assert load_board(place, first.study.name).records() == first.records()
    assert len(Store(workspace).studies()) == 2


def test_the_front_comes_first_as_the_study_ranks_it(search, workspace, monkeypatch):
    """In its own data type a study has another front than in float32."""
    search(dtype="bfloat16")
    stored = StoredStudy.find(Workspace(workspace).study_url("small-x2"), "small-x2")
    known = stored.snapshot()
    slow = sorted(known.records, key=lambda record: record.latency.fastest_ms)[1]
    for record in known.records:
        found = {"quality": record.quality} if record is slow else {"reason": "no"}
        given = {"number": record.number, "seed": known.settings.training.seed, "dtype": "bfloat16"}
        stored.keep_timed(TimedQuality(**given, **found, runtime="eager"))
    again = retime(Workspace(workspace), "small-x2", LAYOUT, limit=1)
    assert again.board.rows["trial"].tolist() == [slow.number]
    assert again.front_before == {slow.number}


def test_timing_again_replaces_what_was_there(search, workspace):
    search()
    first = retime(Workspace(workspace), "small-x2", LAYOUT, limit=2)
    second = retime(Workspace(workspace), "small-x2", LAYOUT, limit=1)
    store = Store(workspace)
    assert sorted(study.name for study in store.studies()) == ["small-x2", second.board.study.name]
    assert len(second.board.rows) == 1
    assert load_board(Workspace(workspace), second.board.study.name).records() == second.board.records()
    # Deleted as MLflow does: they can be restored.
    for run_id in first.board.rows["run_id"]:
        assert store.client.get_run(run_id).info.lifecycle_stage == "deleted"


@pytest.mark.slow
def test_in_another_runtime_the_front_first(search, run, workspace):
    front = search().board.front
    given = (
        "retime",
        "small-x2",
        "--runtime",
        "onnxruntime",
        "--limit",
        1,
        "--device",
        "cpu",
        "--workspace",
        workspace,
    )
    code, out, _ = run(*given, "--json")
    assert code == 0
    [row] = json.loads(out)
    # Its fastest member comes first.
    assert row["trial"] == front["trial"].iloc[0]
    assert row["psnr_y_db"] == front["psnr_y_db"].iloc[0]
    device = describe_device(Target(runtime="onnxruntime"), runtime_version("onnxruntime"))
    assert row["study"] == f"small-x2@onnxruntime-{device.key}"


@pytest.mark.slow
def test_a_network_that_the_runtime_cannot_run_is_left_out_and_named(search, run, workspace, tmp_path, log_gamma):
    space = tmp_path / "own.toml"
    space.write_text('channels = [6]\npositions = 1\ntrunk = ["conv"]\nattention = ["none", "log_gamma"]\n')
    search(space=str(space), trials=2, patch=8, batch=1, latency_input=(8, 8))
    records = load_study(Workspace(workspace), "own-x2")[2]
    assert [record.state for record in records] == ["complete"] * 2
    [refused] = [record for record in records if "log_gamma" in str(record.architecture)]
    given = ("retime", "own-x2", "--runtime", "onnxruntime", "--device", "cpu", "--workspace", workspace)
    code, out, _ = run(*given)
    assert code == 0
    assert f"trial {refused.number} skipped: runtime 'onnxruntime' must be able to run Network" in out
    assert refused.architecture.key in out
    left = {record.number for record in records} - {refused.number}
    [name] = [study.name for study in Store(workspace).studies() if study.retimed_from]
    assert set(load_board(Workspace(workspace), name).rows["trial"]) == left
    assert f"MLflow  study '{name}' (srnas leaderboard --study {name})" in out

    space.write_text('channels = [6]\npositions = 1\ntrunk = ["conv"]\nattention = ["log_gamma"]\n')
    search(space=str(space), study="all", trials=1, patch=8, batch=1, latency_input=(8, 8))
    with pytest.raises(InputError, match="onnxruntime must run a network of study 'all', but runtime 'onnxruntime' "):
        retime(Workspace(workspace), "all", Target(runtime="onnxruntime"))
    assert not [study for study in Store(workspace).studies() if study.retimed_from == "all"]


def test_what_cannot_be_timed_again(search, workspace):
    with pytest.raises(InputError, match=f"workspace '{workspace}' must hold the file of study 'none', but it does no"):
        retime(Workspace(workspace), "none", LAYOUT)
    search(trials=1, learning_rate=1e30, study="diverged")
    assert load_study(Workspace(workspace), "diverged")[2][0].state == "diverged"
    before = files(workspace)
    with pytest.raises(InputError, match="study 'diverged' must hold a trained network, but it has none; run 'srnas"):
        retime(Workspace(workspace), "diverged", LAYOUT)
    with pytest.raises(InputError, match="limit >= 1 must hold, but got limit=0."):
        retime(Workspace(workspace), "diverged", LAYOUT, limit=0)
    assert files(workspace) == before


def test_a_batch_that_is_refused_is_let_go_before_its_networks_are_timed_one_by_one(monkeypatch):
    """On a GPU what was prepared of it would lie beside them."""
    prepared, alive = [], []

    def measure(networks, *_, **__):
        if len(networks) == 1:
            return alive.append(prepared[0]() is not None)
        held = torch.nn.Identity()
        prepared.append(weakref.ref(held))
        raise RuntimeFailedError("no")

    monkeypatch.setattr("srnas.nas.revisit.retime.measure_latency", measure)
    batch = [SimpleNamespace(number=number, architecture=Architecture(scale=2, channels=6)) for number in range(2)]
    list(_measure(batch, (1, 3, 8, 8), LAYOUT, print, print, {}))
    assert alive == [False, False]


def test_in_another_data_type_the_front_has_scores_of_its_own(search, workspace):
    search()
    place, said = Workspace(workspace), []
    again = retime(place, "small-x2", Target(dtype="bfloat16"), on_note=said.append)
    front = again.board.front
    assert len(front)
    assert front["timed_psnr_y_db"].notna().all()
    assert (front["timed_psnr_y_db"] != front["psnr_y_db"]).any()
    assert any(note.endswith("near the front in bfloat16 by eager") for note in said)
    # Back in float32 they have none.
    assert "timed_psnr_y_db" not in retime(place, "small-x2", LAYOUT).board.rows


def test_other_photographs_score_nothing(search, workspace):
    search()
    place = Workspace(workspace)
    settings, asked = load_study(place, "small-x2").settings, load_snapshot(place, "small-x2").request
    with pytest.raises(
        InputError, match="must be those that it began with, others, to score it in bfloat16, but --val "
    ):
        load_scorer(place, settings.model_copy(update={"validation": "others"}), asked, Target(dtype="bfloat16"))
