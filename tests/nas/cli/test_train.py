"""``srnas train``: what it prints, on several processes, and what it refuses."""

import json
import re
import sys
from dataclasses import replace

import fresh
import pytest
import torch
from safetensors.torch import load_file
from trained import TINY, runs, steps, weights

from srnas.nas.judging.observer import Observer
from srnas.nas.ship.final import train_final
from srnas.nas.training.team import Team
from srnas.search_space import Architecture, Position

# torchrun as it is, but that the interpreters with code that it starts are forked: the imports are done already.
FORKING_TORCHRUN = """
import os, sys, time
from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler
from torch.distributed.run import main


class Forked:
    def __init__(self, args, env, stdout, stderr, start_new_session):
        interpreter, how, code, *given = args
        assert (interpreter, how, stdout, stderr) == (sys.executable, "-c", None, None)
        self.args, self.returncode, self.pid = args, None, os.fork()
        if self.pid:
            return
        status = 1
        try:
            os.setsid()
            os.environ.clear()
            os.environ.update(env)
            sys.argv = ["-c", *given]
            exec(compile(code, "program", "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=None):
        while self.poll() is None:
            time.sleep(0.01)
        return self.returncode


subprocess_handler.Popen = Forked
main()
"""


@pytest.mark.slow
def test_two_processes_compute_what_one_does(final_request, train_command, elsewhere, tmp_path):
    whole = weights(train_final(replace(final_request, workspace=elsewhere), Observer(), Team()))
    ours = ("--nproc-per-node", 2, "--no-python", sys.executable, "-c", fresh.SRNAS)
    done = fresh.python(tmp_path, FORKING_TORCHRUN, *ours, *train_command, "--json")
    assert done.returncode == 0, done.stderr
    assert "UserWarning" not in done.stderr
    said = json.loads(done.stdout)  # The second process prints nothing.
    assert said["processes"] == 2
    found = load_file(said["weights_file"])
    assert found.keys() == whole.keys()
    for name, value in found.items():
        # The gradients of halves of a batch are summed in another order.
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-5)
    client, [run] = runs(final_request.workspace)
    assert (run.info.status, run.data.params["processes"]) == ("FINISHED", "2")
    assert steps(client, run, "loss") == [10, 20, 24]


def test_a_batch_that_processes_cannot_share(run, train_command, monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, value)
    code, _, err = run(*train_command, "--batch", 5)
    assert code == 2
    assert "the batch must be a multiple of the number of processes, but got batch=5 and 2 processes" in err


def test_a_training_that_diverges(run, train_command, final_request):
    code, out, err = run(*train_command, "--learning-rate", 1e20)
    assert (code, out) == (2, "")
    assert "srnas: error: a training must stay finite, but the loss is nan after 10 iterations; lower --learn" in err
    _, [failed] = runs(final_request.workspace)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["srnas.error"] == "the loss is nan after 10 iterations"


def test_folded_weights_are_refused(run, final_request, train_command, tmp_path):
    folding = Architecture(scale=2, channels=6, positions=(Position(trunk="repmb"),))
    (tmp_path / "repmb.json").write_text(folding.to_json())
    short = ("--iterations", 1, "--workspace", final_request.workspace, "--data", final_request.data, "--device", "cpu")
    short += ("--val", final_request.validation[0], "--patch", 8, "--batch", 2)
    assert run("train", tmp_path / "repmb.json", *short)[0] == 0
    export = ("export", folding.key, "--workspace", final_request.workspace, "--format", "safetensors")
    code, _, err = run(*export, "--out", tmp_path / "folded.safetensors")
    assert code == 0, err
    code, _, err = run("train", tmp_path / "repmb.json", *short, "--checkpoint", tmp_path / "folded.safetensors")
    assert code == 2
    assert "--checkpoint must hold weights in training form, but those of" in err


def test_the_command_says_what_to_do_with_the_weights(run, train_command, final_request, tmp_path, held_out_folder):
    code, out, err = run(*train_command, "--out", tmp_path / "shipped")
    assert code == 0, err
    assert "24 iterations" in out
    assert re.search(r"10 +held \d\d\.\d{3} dB, other \d\d\.\d{3} dB", err)
    files = {path.name for path in (tmp_path / "shipped").iterdir()}
    assert files == {"architecture.json", "weights.safetensors"}
    judge = next(line for line in out.splitlines() if line.startswith("judge")).split()[2:-1]
    code, scores, err = run(*judge, held_out_folder, "--json", "--device", "cpu")
    assert code == 0, err
    said = json.loads(run(*train_command, "--json")[1])
    assert said["sets"]["held"]["psnr_y_db"] == pytest.approx(json.loads(scores)["mean"]["psnr_y_db"], abs=1e-3)
    assert said["trained_anew"] is False

    out = tmp_path / "x.safetensors"
    code, _, err = run(
        "export", TINY.key, "--workspace", final_request.workspace, "--format", "safetensors", "--out", out
    )
    assert code == 0, err
    card = out.with_name(f"{out.name}.md").read_text()
    assert "24 iterations on `photos" in card
    assert f"| held, 4 photographs | {said['sets']['held']['psnr_y_db']:.3f} |" in card
    assert f"| bicubic on the same | {said['sets']['held']['bicubic_psnr_y_db']:.3f} |" in card


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
def test_bad_options_end_with_2_and_write_nothing(run, train_command, final_request, options, message):
    code, out, err = run(*train_command, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (final_request.workspace.finals).exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0123456789ab", "must hold architecture 0123456789ab, but it does not"),
        ("a2n", "--scale must be given for the published network 'a2n'."),
        ("a2m", "unknown network 'a2m'. Did you mean 'a2n_m'?"),
        ("no.json", "a file of an architecture must exist, but got 'no.json'."),
    ],
)
def test_networks_that_do_not_exist(run, train_command, name, message):
    code, _, err = run("train", name, *train_command[2:])
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_a_full_disk_is_said_and_what_was_trained_is_kept(train_command, final_request, tmp_path):
    """A limit on the size of files stands for the disk; MLflow's own file is beyond it too."""
    # What is said is kept until the limit is lifted: it would cut the files that a forked program writes to.
    code = (
        "import contextlib, io, resource, sys\nfrom srnas.nas.cli import main\nimport srnas.nas.ship.final\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
        "with contextlib.redirect_stderr(io.StringIO()) as said:\n"
        "    try: main()\n"
        "    except SystemExit as error: code = error.code\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "sys.stderr.write(said.getvalue())\nsys.exit(code)\n"
    )
    done = fresh.python(tmp_path, code, *train_command)
    assert done.returncode == 2
    assert "must have room for 0.0 MiB, but File too large; free some and run the same command again" in done.stderr
    assert "MLflow does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert train_final(final_request, Observer(), Team()).anew
