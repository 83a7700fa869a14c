"""Records, the MLflow store, ranking, table and figures on hand-made trials."""

import json
import math
import os
import socket
import subprocess
import sys

import fresh
import mlflow
import pytest
from rich.console import Console

from srnas.leaderboard.rank.board import rank_rows
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, Replicate, Rung, Sizes, TrialRecord
from srnas.leaderboard.show.figure import write_png
from srnas.leaderboard.show.page import write_page
from srnas.leaderboard.show.table import board_table
from srnas.leaderboard.store.profiles import write_profiles
from srnas.leaderboard.store.store import Store
from srnas.profiling import Latency, ModuleCounts, Target, describe_device, reconcile
from srnas.search_space import Architecture, InputError, Network, Position


def study_record(name="demo"):
    return StudyRecord(
        name=name,
        scale=2,
        config={"space": "tiny", "training.iterations": 3},
        validation="held-out",
        bicubic_psnr_y_db=30.0,
        bicubic_ssim_y=0.9,
        device=describe_device(Target()),
        reference_psnr_y_db=30.0,
        reference_fastest_ms=10.0,
    )


def trial(number, psnr=None, latency=None, state="complete", design="", channels=6):
    architecture = Architecture(scale=2, channels=channels + 6 * number, positions=(Position(trunk="conv"),))
    quality = psnr and Quality(
        images=("a", "b"), psnr_y_db=(psnr, psnr), ssim_y=(0.9, 0.9), mean_psnr_y_db=psnr, mean_ssim_y=0.91
    )
    measured = latency and Latency(
        median_ms=latency * 1.1,
        low_ms=latency,
        high_ms=latency * 1.2,
        fastest_ms=latency,
        reference_ratio=2.0,
        first_call_ms=9.0,
        rounds_ms=(latency,),
        reference_rounds_ms=(1.0,),
        flags=("wide",),
    )
    counted = reconcile(Network(architecture).deploy(), (1, 3, 8, 8))
    return TrialRecord(
        study="demo",
        number=number,
        state=state,
        reason="" if state == "complete" else "because",
        architecture=architecture,
        design=design,
        protocol="p",
        validation="held-out",
        sizes=Sizes.from_counts(counted.record, counted),
        latency=measured,
        rungs=(Rung(iteration=1, psnr_y_db=29.0), Rung(iteration=3, psnr_y_db=psnr or 29.5)),
        quality=quality,
        train_s=1.5,
        started_ms=1_700_000_000_000,
        ended_ms=1_700_000_001_000,
    )


TRIALS = [
    trial(0, 31.0, 2.0, design="EDSR-like"),
    trial(1, 32.0, 4.0),
    trial(2, 31.5, 5.0),
    trial(3, None, 30.0, state="over_budget"),
    trial(4, None, None, state="failed"),
]


@pytest.fixture
def filled(workspace):
    store, study = Store(workspace), study_record()
    parent = store.open_study(study)
    runs = [store.write_trial(parent, study, record) for record in TRIALS]
    return store, study, parent, runs


def test_records_round_trip():
    assert all(TrialRecord.model_validate_json(t.model_dump_json()) == t for t in TRIALS)
    study = study_record()
    assert StudyRecord.model_validate_json(study.model_dump_json()) == study
    assert TRIALS[0].point == (31.0, 2.0)
    assert TRIALS[3].point is None


def without(record, *names):
    """Return a record as JSON without fields, wherever they stand."""

    def strip(value):
        return {k: strip(v) for k, v in value.items() if k not in names} if isinstance(value, dict) else value

    return json.dumps(strip(json.loads(record.model_dump_json())))


def test_records_of_before_load():
    """What was added to the records since the first studies were written has a default."""
    new = TRIALS[0].model_copy(
        update={"sizes_by_block": {"stem": ModuleCounts(params=1, macs=2)}, "peak_memory_mib": 1.5}
    )
    fields = ["sizes_by_block", "peak_memory_mib", "bytes_moved", "discarded", "iqr_ms", "other_load", "calls_ms"]
    old = TrialRecord.model_validate_json(
        without(new, *fields, "device_median_ms", "cold_median_ms", "cold_fastest_ms")
    )
    assert (old.sizes_by_block, old.peak_memory_mib, old.sizes.bytes_moved) == ({}, None, None)
    assert (old.sizes.macs, old.point, old.rungs) == (new.sizes.macs, new.point, new.rungs)
    assert (old.latency.num_discarded, old.latency.kept, old.latency.iqr_ms) == (0, [0], None)

    study = study_record().model_copy(update={"retimed_from": "other"})
    profile = ("runtime_version", "power_limit_w", "max_clock_mhz")
    before = StudyRecord.model_validate_json(without(study, "retimed_from", *profile))
    assert before == study_record()


def test_a_trial_is_a_finished_child_with_everything(filled):
    store, _, parent, runs = filled
    run = store.client.get_run(runs[1])
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert store.client.get_experiment(run.info.experiment_id).name == "sr-x2/search"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["psnr_y_db.held-out"] == 32.0
    assert (
        run.data.metrics["latency_median_low_ms"]
        < run.data.metrics["latency_median_ms"]
        < run.data.metrics["latency_median_high_ms"]
    )
    assert run.data.metrics["params_k"] == TRIALS[1].sizes.params / 1e3
    assert run.data.metrics["fvcore_macs_g"] == TRIALS[1].sizes.fvcore_macs / 1e9
    assert run.data.params["p00"] == "conv"
    assert run.data.params["channels"] == "12"
    assert run.data.params["training.iterations"] == "3"
    assert run.data.tags["srnas.key"] == TRIALS[1].architecture.key
    history = store.client.get_metric_history(runs[1], "rung_psnr_y_db")
    assert [(point.step, point.value) for point in history] == [(1, 29.0), (3, 32.0)]
    path = mlflow.artifacts.download_artifacts(
        run_id=runs[1], artifact_path="architecture.json", tracking_uri=store.uri
    )
    with open(path) as file:
        assert Architecture.from_json(file.read()) == TRIALS[1].architecture


def test_states_become_statuses(filled):
    store, _, _, runs = filled
    statuses = [store.client.get_run(run).info.status for run in runs]
    assert statuses == ["FINISHED", "FINISHED", "FINISHED", "FINISHED", "FAILED"]
    assert store.client.get_run(runs[4]).data.tags["srnas.error"] == "because"


def test_opening_a_study_again_finds_its_run(filled):
    store, study, parent, _ = filled
    assert store.open_study(study) == parent
    assert store.written_trials(study) == {0, 1, 2, 3, 4}
    assert store.studies() == [study]


def test_rank_and_json(filled):
    store, study, _, _ = filled
    board = rank_rows(study, store.rows(study))
    assert list(board.rows["trial"]) == [0, 1, 2, 3, 4]
    assert list(board.front["trial"]) == [0, 1]
    # One dB at ln(10/2), one more at ln(10/4).
    assert board.hypervolume == pytest.approx(math.log(5) + math.log(2.5))
    rows = json.loads(json.dumps(board.records(), allow_nan=False))
    assert rows[0]["gain_db"] == 1.0
    assert rows[0]["front"] is True
    assert rows[4]["psnr_y_db"] is None
    assert rows[1]["latency_fastest_ms"] == 4.0


def test_an_empty_study_ranks(workspace):
    store, study = Store(workspace), study_record("empty")
    store.open_study(study)
    board = rank_rows(study, store.rows(study))
    assert board.records() == []
    assert board.hypervolume == 0


@pytest.mark.parametrize("width", [80, 160])
def test_table_shows_the_front_first(filled, width):
    store, study, _, _ = filled
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(board_table(rank_rows(study, store.rows(study)), width=console.width, limit=1))
    console.file.close()
    text = console.export_text()
    assert "x2-c6[conv]" in text
    assert "EDSR-like" in text
    assert "+2.00" in text
    assert ("SSIM-Y" in text.split("┡")[0]) == (width == 160)
    assert "x2-c24" not in text  # beyond the limit
    assert all(len(line) <= width for line in text.splitlines())


def test_figures(filled, tmp_path):
    store, study, _, _ = filled
    board = rank_rows(study, store.rows(study))
    write_png(board, tmp_path / "front.png")
    write_page([board], tmp_path / "front.html")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "front.html").read_text()
    assert "EDSR-like" in page
    assert "<script src=" not in page


def test_text_of_a_study_cannot_become_markup(filled, tmp_path):
    store, study, _, _ = filled
    hostile = study.model_copy(update={"validation": "<img src=x onerror=alert(1)>"})
    write_page([rank_rows(hostile, store.rows(study))], tmp_path / "front.html")
    assert "<img src=x" not in (tmp_path / "front.html").read_text()


def test_runs_of_dead_processes_are_closed(workspace):
    store, study = Store(workspace), study_record()
    parent = store.open_study(study)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store.client.set_tag(parent, "srnas.pid", str(dead.pid))
    store.client.set_tag(parent, "srnas.host", socket.gethostname())
    assert store.client.get_run(parent).info.status == "RUNNING"
    store.open_study(study)
    assert store.client.get_run(parent).info.status == "KILLED"
    store.reopen(parent)
    assert store.client.get_run(parent).info.status == "RUNNING"


def test_an_architecture_is_found_by_its_key(filled):
    store, *_ = filled
    key = TRIALS[2].architecture.key
    assert Architecture.from_dict(store.architecture(key)) == TRIALS[2].architecture
    assert store.architecture("0123456789ab") is None


def interrupted(*_args, **_options):
    raise KeyboardInterrupt


def test_a_trial_that_is_being_written_is_not_read(workspace, monkeypatch):
    store, study = Store(workspace), study_record()
    parent, key = store.open_study(study), TRIALS[0].architecture.key
    with monkeypatch.context() as context:
        context.setattr(store.client, "log_artifacts", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.write_trial(parent, study, TRIALS[0])
    assert (store.trained(key), store.judged(key), store.architecture(key)) == ([], [], None)
    run_id = store.write_trial(parent, study, TRIALS[0])
    assert [row["run_id"] for row in store.trained(key)] == [run_id]
    assert Architecture.from_dict(store.architecture(key)) == TRIALS[0].architecture


def test_a_replicate_that_was_being_written_is_not_read_but_replaced(filled, monkeypatch):
    store, study, parent, _ = filled
    again = Replicate(number=1, seed=7, quality=TRIALS[1].quality, train_s=1.0)
    with monkeypatch.context() as context:
        context.setattr(store.client, "log_dict", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.write_replicate(parent, study, again)
    assert store.replicates(study) == []
    assert store.write_replicate(parent, study, again)
    assert store.replicates(study) == [again]
    assert not store.write_replicate(parent, study, again)
    assert len(store.search_runs(store.open_experiment(study.experiment), "tags.`srnas.role` = 'replicate'")) == 1


def test_deleting_a_study_leaves_the_others(filled):
    store, study, parent, runs = filled
    other = study_record("other")
    kept = store.write_trial(store.open_study(other), other, TRIALS[0])
    store.delete_study(study)
    assert store.studies() == [other]
    assert list(store.rows(other)["run_id"]) == [kept]
    # As MLflow deletes: what is deleted can be restored.
    assert {store.client.get_run(run).info.lifecycle_stage for run in (parent, *runs)} == {"deleted"}
    assert store.open_study(study) != parent
    assert store.written_trials(study) == set()


def test_profiles_are_children_of_one_run(workspace, tmp_path):
    store = Store(workspace)
    rows = [
        {
            "block": "lia",
            "macs": 7,
            "latency_median_ms": 0.5,
            "counters_agree": True,
            "latency_flags": ["wide"],
            "device": "",
        },
        {"network": "mine", "macs": 9, "latency_iqr_ms": None, "roofline_share": math.inf, "places": [{"name": "p00"}]},
    ]
    (tmp_path / "drawn.png").write_bytes(b"figure")
    parent = write_profiles(store, "two of them", rows, {"samples.json": "[]"}, [tmp_path / "drawn.png"])
    run = store.client.get_run(parent)
    assert (run.info.run_name, run.info.status) == ("two of them", "FINISHED")
    assert store.client.get_experiment(run.info.experiment_id).name == "sr/blocks"
    files = [file.path for file in store.client.list_artifacts(parent)]
    assert sorted(files) == ["drawn.png", "profiles.json", "samples.json"]
    children = store.client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    found = {child.info.run_name: child.data for child in children}
    assert found["lia"].metrics == {"macs": 7.0, "latency_median_ms": 0.5}
    assert found["lia"].tags["srnas.counters_agree"] == "true"
    assert found["lia"].tags["srnas.latency_flags"] == '["wide"]'
    assert found["lia"].tags["srnas.device"] == ""
    # What is not finite or not known is left out; places are in the file.
    assert found["mine"].metrics == {"macs": 9.0}
    assert not {"srnas.latency_iqr_ms", "srnas.places"} & found["mine"].tags.keys()
    assert store.studies() == []


def test_closing_a_study(filled, tmp_path):
    store, study, parent, runs = filled
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    for _ in range(2):
        store.add_files(study, {1: {"weights": [tmp_path / "w.safetensors"]}})
    store.log_progress(parent, 1, {"hypervolume": 0.5}, 1000)
    store.close_study(parent, {"front_size": 2, "not_finite": math.inf}, [tmp_path / "w.safetensors"])
    run = store.client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["front_size"] == 2
    assert "not_finite" not in run.data.metrics
    assert [f.path for f in store.client.list_artifacts(runs[1], "weights")] == ["weights/w.safetensors"]


def test_an_unwritable_workspace_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="workspace '.*file.*' must be writable"):
        Store(tmp_path / "file" / "runs")


@pytest.mark.slow
def test_four_processes_may_create_the_store_at_once(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = f"from pathlib import Path; from srnas.leaderboard import Store; Store(Path({str(tmp_path / 'runs')!r}))"
    workers = [fresh.Started(tmp_path, code) for _ in range(4)]
    assert [worker.wait().returncode for worker in workers] == [0] * 4
    assert Store(tmp_path / "runs").studies() == []
