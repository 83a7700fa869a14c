"""Trainings on the long schedule: what they leave, how they go on, how they end."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file

from srnas.leaderboard import Store
from srnas.nas.evaluation import evaluate, evaluate_bicubic
from srnas.nas.final_plan import FinalRequest
from srnas.nas.finals import train_final
from srnas.nas.launch import launch
from srnas.nas.observer import Observer
from srnas.nas.sources import load_key
from srnas.nas.team import Team
from srnas.nas.validation_sets import load_sets
from srnas.search_space import Architecture, Choice, InputError, Position

CPU = torch.device("cpu")
TINY = Architecture(scale=2, channels=6, positions=(Position(trunk=Choice(name="conv")),))
# The command, as torchrun starts it without an installed script.
SRNAS = (sys.executable, "-W", "ignore", "-c", "from srnas.nas.cli import main; main()")


class Watcher(Observer):
    """Keeps what is said; is interrupted, like a process that is killed, at a validation."""

    def __init__(self, until=None):
        self.until = until
        self.notes = []
        self.validations = []

    def on_note(self, text):
        self.notes.append(text)

    def on_validation(self, iteration, psnr_y_db):
        self.validations.append((iteration, dict(psnr_y_db)))
        if iteration == self.until:
            raise KeyboardInterrupt


@pytest.fixture
def request_(tmp_path, workspace, photo_folder, held_out_folder):
    """Return a training of 24 iterations that is validated on two sets after every 10."""
    path = tmp_path / "tiny.json"
    path.write_text(TINY.to_json())
    return FinalRequest(
        network=str(path),
        iterations=24,
        workspace=workspace,
        data=photo_folder,
        validation=(f"held={held_out_folder}", f"other={held_out_folder}"),
        batch=4,
        patch=8,
        learning_rate=1e-2,
        validate_every=10,
        device="cpu",
    )


@pytest.fixture
def command(request_):
    """Return the arguments of the same training."""
    return (
        *("train", request_.network, "--iterations", 24, "--workspace", request_.workspace, "--data", request_.data),
        *("--val", request_.validation[0], "--val", request_.validation[1], "--batch", 4, "--patch", 8),
        *("--learning-rate", 1e-2, "--validate-every", 10, "--device", "cpu"),
    )


@pytest.fixture
def elsewhere(workspace, tmp_path):
    """Return another workspace."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(workspace / "mlflow.db", folder)
    return folder


def weights(final):
    return load_file(final.folder.weights)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def runs(workspace, scale=2):
    store = Store(workspace)
    return store.client, store._search(store._experiment(f"sr-x{scale}/final"), "")


def steps(client, run, metric):
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def test_weights_scores_and_run(request_, held_out_folder):
    watcher = Watcher()
    final = train_final(request_, watcher, Team())
    assert final.anew
    pairs = load_sets([f"held={held_out_folder}"], 2, 1)[0]["held"]
    source = load_key(request_.workspace, TINY.key)
    assert source.checkpoint == final.folder.weights
    psnr = evaluate(source.network, pairs, 2, CPU).mean_psnr_y_db
    quality = final.result.quality
    assert quality["held"].mean_psnr_y_db == pytest.approx(psnr, abs=1e-3)
    assert quality["held"] == quality["other"]
    assert [iteration for iteration, _ in watcher.validations] == [10, 20, 24]
    assert watcher.validations[-1][1] == {name: scores.mean_psnr_y_db for name, scores in quality.items()}
    assert not final.folder.training.exists()

    client, [run] = runs(request_.workspace)
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


def test_what_was_trained_is_not_trained_again(request_):
    first = weights(train_final(request_, Observer(), Team()))
    watcher = Watcher()
    again = train_final(
        replace(request_, validation=(*request_.validation[:1], f"new={request_.data}")), watcher, Team()
    )
    assert not again.anew
    assert watcher.validations == []
    assert "it was not validated on new: 'srnas evaluate' judges it there" in watcher.notes
    assert equal(first, weights(again))
    assert len(runs(request_.workspace)[1]) == 1
    other = train_final(replace(request_, seed=1), Observer(), Team())
    assert other.anew
    assert not equal(first, weights(other))
    assert len(runs(request_.workspace)[1]) == 2
    # The newest is the one that is shipped.
    assert load_key(request_.workspace, TINY.key).checkpoint == other.folder.weights


def test_an_interrupted_training_goes_on_in_the_same_run_to_equal_weights(request_, elsewhere):
    whole = weights(train_final(replace(request_, workspace=elsewhere), Observer(), Team()))
    with pytest.raises(KeyboardInterrupt):
        train_final(request_, Watcher(until=20), Team())
    client, [run] = runs(request_.workspace)
    assert (run.info.status, run.data.tags["srnas.error"]) == ("KILLED", "interrupted")
    assert steps(client, run, "loss") == [10]
    torch.manual_seed(999)
    watcher = Watcher()
    resumed = train_final(request_, watcher, Team())
    assert "going on from iteration 10 of 24" in watcher.notes
    assert [iteration for iteration, _ in watcher.validations] == [20, 24]
    assert equal(weights(resumed), whole)
    client, [again] = runs(request_.workspace)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert steps(client, again, "loss") == steps(client, again, "psnr_y_db.held") == [10, 20, 24]


@pytest.mark.slow
def test_a_killed_training_goes_on(request_, elsewhere):
    whole = weights(train_final(replace(request_, workspace=elsewhere), Observer(), Team()))
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pydantic import TypeAdapter\n"
        "from srnas.nas.final_plan import FinalRequest\nfrom srnas.nas.finals import train_final\n"
        "from srnas.nas.observer import Observer\nfrom srnas.nas.team import Team\n"
        "class Dying(Observer):\n"
        "    def on_step(self, progress):\n"
        "        if progress.iteration == 24: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train_final(TypeAdapter(FinalRequest).validate_json(sys.argv[1]), Dying(), Team())\n"
    )
    given = TypeAdapter(FinalRequest).dump_json(request_).decode()
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, given], check=False)
    assert done.returncode == -9
    client, [run] = runs(request_.workspace)
    assert run.info.status == "RUNNING"
    watcher = Watcher()
    assert equal(weights(train_final(request_, watcher, Team())), whole)
    assert "going on from iteration 20 of 24" in watcher.notes
    client, [again] = runs(request_.workspace)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert steps(client, again, "loss") == [10, 20, 24]


def test_the_run_of_a_dead_process_does_not_stay_running(request_):
    with pytest.raises(KeyboardInterrupt):
        train_final(request_, Watcher(until=10), Team())
    client, [dead] = runs(request_.workspace)
    client.update_run(dead.info.run_id, "RUNNING")
    client.set_tag(dead.info.run_id, "srnas.pid", str(2**22 + 1))
    train_final(replace(request_, seed=1, iterations=1), Observer(), Team())
    assert client.get_run(dead.info.run_id).info.status == "KILLED"


@pytest.mark.slow
def test_two_processes_compute_what_one_does(request_, command, elsewhere):
    whole = weights(train_final(replace(request_, workspace=elsewhere), Observer(), Team()))
    torchrun = (sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python")
    done = subprocess.run(
        [str(part) for part in (*torchrun, *SRNAS, *command, "--json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["processes"] == 2
    found = load_file(said["weights_file"])
    assert found.keys() == whole.keys()
    for name, value in found.items():
        # The gradients of halves of a batch are summed in another order.
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-5)
    client, [run] = runs(request_.workspace)
    assert (run.info.status, run.data.params["processes"]) == ("FINISHED", "2")
    assert steps(client, run, "loss") == [10, 20, 24]

    bad = [*map(str, command), "--batch", "5"]
    done = subprocess.run([*torchrun, *SRNAS, *bad], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "but got batch=5 and 2 processes; give --batch 4." in done.stderr


def test_a_training_that_diverges(run, command, request_):
    code, out, err = run(*command, "--learning-rate", 1e20)
    assert (code, out) == (2, "")
    assert "srnas: error: a training must stay finite, but the loss is nan after 10 iterations; lower --learn" in err
    _, [failed] = runs(request_.workspace)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["srnas.error"] == "the loss is nan after 10 iterations"


def test_bfloat16_is_another_training(request_):
    first = train_final(request_, Observer(), Team())
    second = train_final(replace(request_, precision="bfloat16"), Observer(), Team())
    assert first.folder != second.folder
    assert not equal(weights(first), weights(second))
    # It learns the same: 8 bits of mantissa in the activations, but float32 in the weights.
    psnr = [final.result.quality["held"].mean_psnr_y_db for final in (first, second)]
    assert psnr[0] == pytest.approx(psnr[1], abs=0.3)


def test_training_goes_on_from_weights(request_):
    first = train_final(request_, Observer(), Team())
    tuned = train_final(
        replace(request_, checkpoint=first.folder.weights, learning_rate=1e-9, iterations=1), Observer(), Team()
    )
    for name, value in weights(tuned).items():
        torch.testing.assert_close(value, weights(first)[name], rtol=0, atol=1e-6)


def test_folded_weights_are_refused(run, request_, command, tmp_path):
    folding = Architecture(scale=2, channels=6, positions=(Position(trunk="repmb"),))
    (tmp_path / "repmb.json").write_text(folding.to_json())
    short = ("--iterations", 1, "--workspace", request_.workspace, "--data", request_.data, "--device", "cpu")
    short += ("--val", request_.validation[0], "--patch", 8, "--batch", 2)
    assert run("train", tmp_path / "repmb.json", *short)[0] == 0
    export = ("export", folding.key, "--workspace", request_.workspace, "--format", "safetensors")
    code, _, err = run(*export, "--out", tmp_path / "folded.safetensors")
    assert code == 0, err
    code, _, err = run("train", tmp_path / "repmb.json", *short, "--checkpoint", tmp_path / "folded.safetensors")
    assert code == 2
    assert "--checkpoint must hold weights in training form, but those of" in err


def test_the_command_says_what_to_do_with_the_weights(run, command, request_, tmp_path, held_out_folder):
    code, out, err = run(*command, "--out", tmp_path / "shipped")
    assert code == 0, err
    assert "24 iterations" in out
    assert re.search(r"10 +held \d\d\.\d{3} dB, other \d\d\.\d{3} dB", err)
    files = {path.name for path in (tmp_path / "shipped").iterdir()}
    assert files == {"architecture.json", "weights.safetensors"}
    judge = next(line for line in out.splitlines() if line.startswith("judge")).split()[2:-1]
    code, scores, err = run(*judge, held_out_folder, "--json", "--device", "cpu")
    assert code == 0, err
    said = json.loads(run(*command, "--json")[1])
    assert said["sets"]["held"]["psnr_y_db"] == pytest.approx(json.loads(scores)["mean"]["psnr_y_db"], abs=1e-3)
    assert said["trained_anew"] is False

    out = tmp_path / "x.safetensors"
    code, _, err = run("export", TINY.key, "--workspace", request_.workspace, "--format", "safetensors", "--out", out)
    assert code == 0, err
    card = out.with_suffix(".md").read_text()
    assert "24 iterations on `photos" in card
    assert f"| held, 4 photographs | {said['sets']['held']['psnr_y_db']:.3f} |" in card
    assert f"| bicubic on the same | {said['sets']['held']['bicubic_psnr_y_db']:.3f} |" in card


@pytest.mark.usefixtures("brief_latency")
def test_an_architecture_of_a_study(run, search_request, request_, tmp_path):
    launch(replace(search_request, trials=1), Observer())
    rows = json.loads(run("leaderboard", "--workspace", request_.workspace, "--json")[1])
    key = rows[0]["key"]
    final = train_final(replace(request_, network=key, iterations=2), Observer(), Team())
    assert (final.result.record.study, final.result.record.trial) == ("small-x2", rows[0]["trial"])
    _, [found] = runs(request_.workspace)
    assert (found.data.tags["srnas.study"], found.data.tags["srnas.trial"]) == ("small-x2", str(rows[0]["trial"]))
    source = load_key(request_.workspace, key)
    assert (source.checkpoint, source.trial.number) == (final.folder.weights, rows[0]["trial"])
    # The study's board holds no more than it did, and its card has the latency that it measured.
    assert len(json.loads(run("leaderboard", "--workspace", request_.workspace, "--json")[1])) == 1
    out = tmp_path / "x.safetensors"
    code, _, err = run("export", key, "--workspace", request_.workspace, "--format", "safetensors", "--out", out)
    assert code == 0, err
    assert f"{rows[0]['latency_stable_ms']:.3f}" in out.with_suffix(".md").read_text()


def test_mlflow_that_does_not_answer_is_written_later(request_, monkeypatch):
    for name, value in (("RETRIES", "0"), ("TIMEOUT", "1")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{'MAX_' * (name == 'RETRIES')}{name}", value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    watcher = Watcher()
    final = train_final(request_, watcher, Team())
    assert final.unwritten
    assert sum("MLflow does not answer" in note for note in watcher.notes) == 1
    with pytest.raises(InputError, match="MLflow must answer to look up key 0123456789ab, but got"):
        train_final(replace(request_, network="0123456789ab"), watcher, Team())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    again = train_final(request_, Observer(), Team())
    assert (again.anew, again.unwritten) == (False, "")
    _, [run] = runs(request_.workspace)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["psnr_y_db.held"] == pytest.approx(final.result.quality["held"].mean_psnr_y_db, abs=1e-9)


def test_a_training_runs_once_at_a_time(request_):
    final = train_final(replace(request_, iterations=1), Observer(), Team())
    (final.folder.path / "result.json").unlink()
    with final.folder.held(), pytest.raises(InputError, match="must run once at a time, but another process holds"):
        train_final(replace(request_, iterations=1), Observer(), Team())


def test_a_run_takes_many_points(request_, monkeypatch):
    monkeypatch.setattr("srnas.leaderboard.finals._BATCH", 2)
    train_final(request_, Observer(), Team())
    client, [run] = runs(request_.workspace)
    assert steps(client, run, "learning_rate") == [10, 20, 24]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--iterations", 0], "but got iterations=0."),
        (["--batch", 0], "but got batch=0."),
        (["--validate-every", 0], "--validate-every must be at least 1, but got 0."),
        (["--patch", 40], "must be at least 80x80 pixels (a patch of 40 at scale 2), but the largest of 4 is 64x48"),
        (["--device", "cuda:9"], "device 'cuda:9' must exist, but this machine has"),
        (["--precision", "float15"], "unknown precision 'float15'. Did you mean 'bfloat16'?"),
        (["--threads", 0], "must hold, but got threads=0."),
        (["--scale", 3], "--scale must be 2, that of x2-c6[conv], but got 3."),
        (["--data", "/no/such"], "a folder of photographs must exist, but got '/no/such'."),
        (["--val", "held=/no/such"], "validation sets must have different names, but got held twice"),
        (["--val", "third=/no/such"], "a folder of photographs must exist, but got '/no/such'."),
        (["--checkpoint", "/no/such"], "a file of weights must exist, but got '/no/such'."),
    ],
)
def test_bad_options_end_with_2_and_write_nothing(run, command, request_, options, message):
    code, out, err = run(*command, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (request_.workspace / "finals").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0123456789ab", "must hold architecture 0123456789ab, but it does not"),
        ("a2n", "--scale must be given for the published network 'a2n'."),
        ("a2m", "unknown network 'a2m'. Did you mean 'a2n_m'?"),
        ("no.json", "a file of an architecture must exist, but got 'no.json'."),
    ],
)
def test_networks_that_do_not_exist(run, command, name, message):
    code, _, err = run("train", name, *command[2:])
    assert code == 2
    assert message in err
