"""Trainings on the long schedule: what they leave, how they go on, how they end."""

import contextlib
import json
import shutil
from dataclasses import replace

import fresh
import pytest
import torch
from pydantic import TypeAdapter
from trained import TINY, Watcher, equal, runs, steps, weights

from srnas.nas.images.evaluation import evaluate, evaluate_bicubic
from srnas.nas.images.validation_sets import load_sets
from srnas.nas.judging.observer import Observer
from srnas.nas.ship.final import train_final
from srnas.nas.ship.plan import FinalRequest, precision_on
from srnas.nas.study.options import Budgets
from srnas.nas.training.team import Team
from srnas.nas.workspace.sources import find_search, load_key
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError

CPU = torch.device("cpu")


def test_weights_scores_and_run(final_request, held_out_folder):
    watcher = Watcher()
    final = train_final(final_request, watcher, Team())
    assert final.anew
    pairs = load_sets([f"held={held_out_folder}"], 2, 1)[0]["held"]
    source = load_key(final_request.workspace, TINY.key)
    assert source.checkpoint == final.folder.weights
    psnr = evaluate(source.network, pairs, 2, CPU).mean_psnr_y_db
    quality = final.result.quality
    assert quality["held"].mean_psnr_y_db == pytest.approx(psnr, abs=1e-3)
    assert quality["held"] == quality["other"]
    assert [iteration for iteration, _ in watcher.validations] == [10, 20, 24]
    assert watcher.validations[-1][1] == {name: scores.mean_psnr_y_db for name, scores in quality.items()}
    assert not final.folder.training.exists()

    client, [run] = runs(final_request.workspace)
    assert run.info.status == "FINISHED"
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    assert {key: params[key] for key in ("scale", "channels", "depth", "p00")} == {
        **{"scale": "2", "channels": "6"},
        **{"depth": "1", "p00": "conv"},
    }
    assert params["training.iterations"] == "24"
    assert params["precision"] == "float32"
    assert params["processes"] == "1"
    assert params["data"].startswith("photos")
    assert params["validation"] == "held (4 photographs), other (4 photographs)"
    assert metrics["psnr_y_db.held"] == pytest.approx(quality["held"].mean_psnr_y_db, abs=1e-9)
    assert metrics["ssim_y.other"] == pytest.approx(quality["other"].mean_ssim_y, abs=1e-9)
    assert metrics["bicubic_psnr_y_db.held"] == pytest.approx(evaluate_bicubic(pairs, 2).mean_psnr_y_db, abs=1e-9)
    assert steps(client, run, "psnr_y_db.held") == [10, 20, 24]
    assert steps(client, run, "loss") == steps(client, run, "learning_rate") == [10, 20, 24]
    assert (tags["srnas.role"], tags["srnas.key"], tags["srnas.state"]) == ("final", TINY.key, "complete")
    assert tags["srnas.pid"].isdigit()
    artifacts = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert artifacts == ["architecture.json", "weights.safetensors"]


def test_what_was_trained_is_not_trained_again(final_request):
    first = weights(train_final(final_request, Observer(), Team()))
    watcher = Watcher()
    again = train_final(
        replace(final_request, validation=(*final_request.validation[:1], f"new={final_request.data}")), watcher, Team()
    )
    assert not again.anew
    assert watcher.validations == []
    assert "it was not validated on new: 'srnas evaluate' judges it there" in watcher.notes
    assert equal(first, weights(again))
    assert len(runs(final_request.workspace)[1]) == 1
    other = train_final(replace(final_request, seed=1), Observer(), Team())
    assert other.anew
    assert not equal(first, weights(other))
    assert len(runs(final_request.workspace)[1]) == 2
    shutil.rmtree(other.folder.path)
    other = train_final(replace(final_request, seed=1), Observer(), Team())
    assert [run.info.status for run in runs(final_request.workspace)[1]] == ["FINISHED"] * 3
    # The newest is the one that is shipped.
    assert load_key(final_request.workspace, TINY.key).checkpoint == other.folder.weights


def test_an_interrupted_training_goes_on_in_the_same_run_to_equal_weights(final_request, elsewhere):
    whole = weights(train_final(replace(final_request, workspace=elsewhere), Observer(), Team()))
    with pytest.raises(KeyboardInterrupt):
        train_final(final_request, Watcher(until=20), Team())
    client, [run] = runs(final_request.workspace)
    assert (run.info.status, run.data.tags["srnas.error"]) == ("KILLED", "interrupted")
    assert steps(client, run, "loss") == [10]
    torch.manual_seed(999)
    watcher = Watcher()
    resumed = train_final(final_request, watcher, Team())
    assert "continuing from iteration 10 of 24" in watcher.notes
    assert [iteration for iteration, _ in watcher.validations] == [20, 24]
    assert equal(weights(resumed), whole)
    client, [again] = runs(final_request.workspace)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert steps(client, again, "loss") == steps(client, again, "psnr_y_db.held") == [10, 20, 24]


@pytest.mark.slow
def test_a_killed_training_goes_on(final_request, elsewhere):
    whole = weights(train_final(replace(final_request, workspace=elsewhere), Observer(), Team()))
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pydantic import TypeAdapter\n"
        "from srnas.nas.ship.plan import FinalRequest\nfrom srnas.nas.ship.final import train_final\n"
        "from srnas.nas.judging.observer import Observer\nfrom srnas.nas.training.team import Team\n"
        "class Dying(Observer):\n"
        "    def on_step(self, progress):\n"
        "        if progress.iteration == 24: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train_final(TypeAdapter(FinalRequest).validate_json(sys.argv[1]), Dying(), Team())\n"
    )
    given = TypeAdapter(FinalRequest).dump_json(final_request).decode()
    done = fresh.python(elsewhere.path, code, given)
    assert done.returncode == -9
    client, [run] = runs(final_request.workspace)
    assert run.info.status == "RUNNING"
    watcher = Watcher()
    assert equal(weights(train_final(final_request, watcher, Team())), whole)
    assert "continuing from iteration 20 of 24" in watcher.notes
    client, [again] = runs(final_request.workspace)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert steps(client, again, "loss") == [10, 20, 24]


def test_the_run_of_a_dead_process_does_not_stay_running(final_request):
    with pytest.raises(KeyboardInterrupt):
        train_final(final_request, Watcher(until=10), Team())
    client, [dead] = runs(final_request.workspace)
    client.update_run(dead.info.run_id, "RUNNING")
    client.set_tag(dead.info.run_id, "srnas.pid", str(2**22 + 1))
    train_final(replace(final_request, seed=1, iterations=1), Observer(), Team())
    assert client.get_run(dead.info.run_id).info.status == "KILLED"


def test_bfloat16_is_another_training(final_request):
    first = train_final(final_request, Observer(), Team())
    second = train_final(replace(final_request, precision="bfloat16"), Observer(), Team())
    assert first.folder != second.folder
    assert not equal(weights(first), weights(second))
    # It learns the same: 8 bits of mantissa in the activations, but float32 in the weights.
    psnr = [final.result.quality["held"].mean_psnr_y_db for final in (first, second)]
    assert psnr[0] == pytest.approx(psnr[1], abs=0.3)


def test_training_goes_on_from_weights(final_request):
    first = train_final(final_request, Observer(), Team())
    tuned = train_final(
        replace(final_request, checkpoint=first.folder.weights, learning_rate=1e-9, iterations=1), Observer(), Team()
    )
    for name, value in weights(tuned).items():
        torch.testing.assert_close(value, weights(first)[name], rtol=0, atol=1e-6)


def test_architectures_of_a_study(run, search_request, final_request, tmp_path, launched):
    # The first human design has 6.9 thousand parameters, the second 4.6.
    board = launched(search_request.changed(trials=2, budgets=Budgets(max_params_k=5.0))).board
    rows = {row["state"]: row for row in board.records()}
    # Other photographs than the study's: it cannot be told which training is the better one.
    brief = replace(final_request, iterations=2, validation=(f"others={final_request.data}",))
    for row in rows.values():
        final = train_final(replace(brief, network=row["key"]), Observer(), Team())
        assert (final.result.record.study, final.result.record.trial) == ("small-x2", row["trial"])
        tags = runs(final_request.workspace)[1][0].data.tags
        assert (tags["srnas.study"], tags["srnas.trial"]) == ("small-x2", str(row["trial"]))
        source = load_key(final_request.workspace, row["key"])
        assert (source.checkpoint, source.judged.trial.number) == (final.folder.weights, row["trial"])
    assert set(rows) == {"complete", "over_budget"}
    # The board is what it was, and the card has the latency that the study measured.
    row = rows["complete"]
    shown = json.loads(run("leaderboard", "--workspace", final_request.workspace, "--json", "--all")[1])
    assert len(shown) == 2
    out = tmp_path / "x.safetensors"
    export = ("export", row["key"], "--workspace", final_request.workspace, "--format", "safetensors", "--out", out)
    code, _, err = run(*export)
    assert code == 0, err
    assert f"{row['latency_fastest_ms']:.3f}" in out.with_name(f"{out.name}.md").read_text()


def test_a_trial_that_scored_better_is_shipped(run, search_request, train_command, launched):
    board = launched(search_request.changed(trials=1)).board
    workspace, [row] = search_request.workspace, board.records()
    arguments = ["train", row["key"], *train_command[2:]]
    arguments[arguments.index("--learning-rate") + 1] = 1.0
    code, out, err = run(*arguments)
    assert code == 0, err
    assert f"Trial {row['trial']} of 'small-x2' scored better on the same photographs" in " ".join(out.split())
    source = load_key(Workspace(workspace), row["key"])
    assert (source.final, source.judged.trial.number, source.checkpoint.parents[1].name) == (
        None,
        row["trial"],
        "cache",
    )
    source.checkpoint.unlink()
    final = load_key(Workspace(workspace), row["key"]).final
    assert find_search(Workspace(workspace), final.record)[1].number == row["trial"]
    # A study of that name may be another one by now.
    assert find_search(Workspace(workspace), final.record.model_copy(update={"architecture": TINY})) is None


def test_mlflow_that_does_not_answer_is_written_later(final_request, monkeypatch):
    for name, value in (("RETRIES", "0"), ("TIMEOUT", "1")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{'MAX_' * (name == 'RETRIES')}{name}", value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    watcher = Watcher()
    final = train_final(final_request, watcher, Team())
    assert final.unwritten
    assert sum("MLflow does not answer" in note for note in watcher.notes) == 1
    with pytest.raises(InputError, match="MLflow must answer to look up key 0123456789ab, but got"):
        train_final(replace(final_request, network="0123456789ab"), watcher, Team())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    # Another command has another store.
    later = replace(final_request, workspace=Workspace(final_request.workspace.path))
    again = train_final(later, Observer(), Team())
    assert (again.anew, again.unwritten) == (False, "")
    _, [run] = runs(later.workspace)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["psnr_y_db.held"] == pytest.approx(final.result.quality["held"].mean_psnr_y_db, abs=1e-9)


def test_a_training_runs_once_at_a_time(final_request):
    final = train_final(replace(final_request, iterations=1), Observer(), Team())
    (final.folder.path / "result.json").unlink()
    with final.folder.held(), pytest.raises(InputError, match="must run once at a time, but another process holds"):
        train_final(replace(final_request, iterations=1), Observer(), Team())


def test_a_run_takes_many_points(final_request, monkeypatch):
    monkeypatch.setattr("srnas.leaderboard.store.finals._BATCH", 2)
    train_final(final_request, Observer(), Team())
    client, [run] = runs(final_request.workspace)
    assert steps(client, run, "learning_rate") == [10, 20, 24]


@pytest.mark.parametrize(("supported", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_the_data_type_by_default_is_that_of_a_search(monkeypatch, supported, expected):
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: supported)
    assert precision_on(torch.device("cuda", 0), "auto") == expected
    assert precision_on(torch.device("cuda", 0), "bfloat16") == "bfloat16"
    assert precision_on(CPU, "auto") == "float32"
