"""A board that has nothing but numpy and ONNX Runtime times networks of this package."""

import ast
import contextlib
import importlib.util
import json
import platform
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from srnas.profiling import LatencyProtocol, Target, describe_device, measure_latency
from srnas.profiling.agent import executorch_method, onnx_session
from srnas.profiling.agent.bundle import script
from srnas.profiling.agent.measuring import as_bytes, measure, plain, rounds_of
from srnas.profiling.agent.runtimes import installed
from srnas.profiling.agent.server import Agent, make_server
from srnas.profiling.boards.board import Board, BoardRuntime
from srnas.profiling.boards.client import Client
from srnas.profiling.boards.registry import add, ask, boards, find, registry_file, remove
from srnas.profiling.remote import Order
from srnas.profiling.rounds import REFERENCE, DeviceState, Rounds, Timed, Way
from srnas.profiling.runtimes import RUNTIMES, RuntimeFailedError, runtime_version
from srnas.profiling.targets import describe, resolve_target
from srnas.search_space import Architecture, InputError, Network, published

SHAPE = (1, 3, 16, 16)
BRIEF = LatencyProtocol(
    window_calls=1, warmup_min_s=0, warmup_cap_s=0.01, min_rounds=3, max_rounds=3, burst_ms=0.1, gap_ms=0
)


def environment(folder, *names):
    """Return the Python of an environment that holds these packages and nothing else, and the agent's file."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    [packages] = (folder / "venv" / "lib").glob("*/site-packages")
    for name in names:
        found = Path(importlib.util.find_spec(name).origin).parent
        for part in (found, found.with_name(f"{name}.libs")):
            if part.is_dir():
                (packages / part.name).symlink_to(part)
    (folder / "agent.py").write_text(script())
    return folder / "venv" / "bin" / "python", folder / "agent.py"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("board"), "numpy", "onnxruntime")


@contextlib.contextmanager
def serving(command, folder):
    """Yield a board whose measurements run in an environment."""
    (folder / "files").mkdir()
    server = make_server("127.0.0.1", 0, Agent(str(folder / "files"), "", list(map(str, command))))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ask(Board("pi", f"http://127.0.0.1:{server.server_port}")).board
    finally:
        server.agent.stop()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def board(bare, tmp_path):
    with serving(bare, tmp_path) as board:
        yield board


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Return the file of the targets."""
    monkeypatch.setenv("SRNAS_TARGETS", str(tmp_path / "settings" / "targets.json"))
    return registry_file()


def test_the_agent_keeps_to_python_3_9():
    ast.parse(script(), feature_version=(3, 9))
    for line in script().splitlines():
        if line.startswith("MODULES["):
            source = ast.literal_eval(line.partition(" = ")[2])
            ast.parse(source, feature_version=(3, 9))
            # Unions and the like are for later Pythons, unless nobody evaluates them.
            assert "from __future__ import annotations" in source
            assert "StrEnum" not in source
            assert "strict=" not in source


def test_the_agent_needs_nothing_of_this_package(bare):
    python, agent = bare
    code = f"import runpy, sys; sys.argv = ['agent.py', '--help']; runpy.run_path({str(agent)!r}, run_name='__main__')"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert "Times networks for srnas on this machine." in said.stdout
    unsafe = subprocess.run([python, "-I", agent, "--host", "0.0.0.0"], capture_output=True, text=True, check=False)
    assert unsafe.returncode == 2
    assert "a token must be given to listen on 0.0.0.0" in " ".join(unsafe.stderr.split())


@pytest.mark.slow
def test_networks_are_timed_on_a_board_by_the_rules_of_here(board):
    network = Network(published("ecbsr_m4c8", 2)).deploy().eval()
    there, told = Target(runtime="onnxruntime", board=board), []
    found = measure_latency(
        {"a": network, "b": network}, SHAPE, {"a": there, "b": replace(there, dtype="int8")}, protocol=BRIEF, cold=True,
        on_round=told.append,
    )  # fmt: skip
    latency = found.latencies["a"]
    assert len(latency.rounds_ms) == len(latency.reference_rounds_ms) == 3
    assert 0 < latency.fastest_ms <= latency.median_ms
    assert latency.cold_fastest_ms > 0
    assert latency.first_call_ms > latency.fastest_ms
    assert found.max_abs_difference["a"] < 1e-5 < found.max_abs_difference["b"] < 0.5
    assert found.devices["a"] == describe_device(there)
    assert found.devices["a"].runtime_version == board.version("onnxruntime")
    assert found.devices["a"].torch_version == ""
    assert told[-1] == 3
    assert set(found.preflight) == {"before", "after"}


@pytest.mark.slow
def test_each_network_has_threads_of_its_own_on_a_board(tmp_path, monkeypatch):
    threads, bind = [], onnx_session.bind

    def binding(files, x, number, dtype):
        threads.append(number)
        return bind(files, x, number, dtype)

    monkeypatch.setattr(onnx_session, "bind", binding)
    runtimes = (BoardRuntime("onnxruntime", "", ("float32",)),)
    there = Target(runtime="onnxruntime", threads=1, board=Board("pi", "http://pi", cores=4, runtimes=runtimes))

    def measured(client, asked, contents, on_round):
        for digest, content in contents.items():
            (tmp_path / digest).write_bytes(content)
        return {**measure(asked, lambda digest: str(tmp_path / digest), on_round), "versions": {}}

    monkeypatch.setattr(Client, "measure", measured)
    targets = {"a": replace(there, threads=3), "b": replace(there, threads=2)}
    found = measure_latency(dict.fromkeys(targets, nn.Conv2d(3, 8, 3).eval()), SHAPE, targets, protocol=BRIEF)
    # The reference comes last, and has the fewest.
    assert threads == [3, 2, 2]
    assert [found.devices[name].threads for name in targets] == [3, 2]


@pytest.mark.slow
def test_a_board_may_have_ncnn_alone(tmp_path):
    pytest.importorskip("ncnn", reason="needs srnas[ncnn]")
    with serving(environment(tmp_path, "numpy", "ncnn"), tmp_path) as board:
        # The process that serves tells what is here; the one that measures has the environment's.
        [only] = [runtime for runtime in board.runtimes if runtime.name == "ncnn"]
        board = replace(board, runtimes=(only,))
        there = Target(runtime="ncnn", board=board)
        found = measure_latency({"a": Network(published("ecbsr_m4c8", 2)).deploy()}, SHAPE, there, protocol=BRIEF)
        assert len(found.latencies["a"].rounds_ms) == 3
        assert found.max_abs_difference["a"] < 1e-5
        assert found.devices["a"].runtime_version == runtime_version("ncnn")
        with pytest.raises(RuntimeFailedError, match=r"torch\.gt\. The block that cannot run there: 'hard'"):
            measure_latency({"a": with_block("hard")}, SHAPE, there, protocol=BRIEF)


def test_int8_is_quantised_for_the_processor_of_the_board():
    weights = []
    for saturates in (True, False):
        runtimes = (BoardRuntime("onnxruntime", "", ("int8",)),)
        board = Board("pi", "http://pi", runtimes=runtimes, int8_saturates=saturates)
        target = Target(runtime="onnxruntime", dtype="int8", board=board)
        order = Order(target, BRIEF, cold=False, seed=0)
        order.add("a", nn.Conv2d(3, 8, 3), SHAPE, target)
        model = onnx.load_from_string(order._contents[order._models["a"]["files"]["model"]])
        arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
        weights.append(max(abs(array.astype(int)).max() for array in arrays if array.dtype == np.int8))
    # Seven bits where two products of eight could overflow.
    assert weights == [64, 127]


@pytest.mark.parametrize(("missing", "runtime"), [([], "onnxruntime"), (["onnx"], "ncnn")])
def test_the_reference_needs_no_package_that_the_networks_need_not(monkeypatch, missing, runtime):
    pytest.importorskip("ncnn", reason="needs srnas[ncnn]")
    monkeypatch.setattr("srnas.profiling.remote.missing_packages", lambda asked: missing * (asked.name != "ncnn"))
    runtimes = tuple(BoardRuntime(name, name, ("float32",)) for name in ("ncnn", "onnxruntime"))
    order = Order(Target(board=Board("pi", "http://pi", runtimes=runtimes)), BRIEF, cold=False, seed=0)
    order.set_reference(nn.Conv2d(3, 8, 3), SHAPE, "ncnn")
    assert order._asked["reference"]["runtime"] == runtime


def with_block(name):
    position = {"trunk": {"name": "conv"}, "attention": {"name": name}}
    return Network(Architecture.from_dict({"scale": 2, "channels": 8, "positions": [position]})).deploy()


@pytest.mark.slow
def test_executorch_runs_on_a_board_as_here(tmp_path):
    pytest.importorskip("executorch", reason="needs srnas[executorch]")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval().requires_grad_(False)
    x = torch.rand(1, 3, 8, 8)
    files = {**RUNTIMES["executorch"].export(module, [x], Target()), "input": as_bytes(x.numpy())}
    assert files["model"][4:8] == executorch_method.IDENTIFIER
    (tmp_path / "model").write_bytes(files["model"])
    _, output = executorch_method.bind({"model": str(tmp_path / "model")}, x.numpy(), 1, "float32")
    assert np.abs(output() - module(x).numpy()).max() < 1e-5


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors may have the kernels")
def test_float16_that_a_board_would_compute_in_float32_is_refused(board):
    there = Target(runtime="onnxruntime", dtype="float16", board=board)
    with pytest.raises(RuntimeFailedError, match=r"onnxruntime must have float16 kernels for this"):
        measure_latency({"a": nn.Conv2d(3, 8, 3).eval()}, SHAPE, there, protocol=BRIEF)


@pytest.mark.slow
def test_what_a_board_cannot_run_is_the_networks_fault(board, monkeypatch):
    class Bessel(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    target = Target(runtime="onnxruntime", board=board)
    order = Order(target, BRIEF, cold=False, seed=0)
    with pytest.raises(RuntimeFailedError, match="exportable to onnxruntime to be timed on target 'pi', but got"):
        order.add("a", Bessel(), SHAPE, target)
    monkeypatch.setattr(Client, "measure", lambda *_: {"error": "Fail: no kernel"})
    with pytest.raises(RuntimeFailedError, match="target 'pi' must be able to run the networks, but got Fail: no kern"):
        order.take(print, print)


def test_a_board_that_has_changed_is_told(board, monkeypatch):
    monkeypatch.setattr(Client, "measure", lambda *_: {"versions": {"onnxruntime": "onnxruntime 0.1"}})
    order = Order(Target(runtime="onnxruntime", board=board), BRIEF, cold=False, seed=0)
    with pytest.raises(InputError, match="target 'pi' must have the runtime that it had .* but it has onnxruntime 0.1"):
        order.take(print, print)


def test_a_runtime_that_cannot_be_imported_is_not_there(monkeypatch):
    assert "onnxruntime" in installed()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "onnxruntime" not in installed()


def test_rounds_are_the_same_after_the_wire():
    subjects = (Timed("a"), Timed("a", Way.COLD), REFERENCE)
    calls = {subject: [(1.5, 2.5), (3.0,)] for subject in subjects}
    rounds = Rounds(dict.fromkeys(subjects, True), calls, [DeviceState(other_load=0.1), DeviceState(throttled=True)])
    assert rounds_of(json.loads(json.dumps(plain(rounds)))) == rounds


def test_a_target_has_a_name_and_its_token_is_kept_from_others(board, registry):
    added, about = add("pi", board.url, "s3cret")
    assert added.machine == about["name"]
    assert registry.stat().st_mode & 0o777 == 0o600
    assert boards()["pi"].token == "s3cret"
    assert "s3cret" not in repr(find("pi"))
    target = resolve_target("pi", "onnxruntime", "float32", "nchw", 1)
    assert target.board == replace(board, token="s3cret")
    assert describe(target).name == board.machine
    remove("pi")
    assert boards() == {}
    with pytest.raises(InputError, match="target"):
        find("pi")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("eager", "float32", "nchw", 1),
            r"runtime must be one of target 'pi' \(.*onnxruntime.*\), but got",
        ),
        (
            ("onnxruntime", "bfloat16", "nchw", 1),
            "dtype must be float32 or float16 or int8 and memory_format nchw in onnxruntime on target 'pi', but got",
        ),
        (("onnxruntime", "float32", "channels_last", 1), "memory_format=channels_last"),
        (("onnxruntime", "float32", "nchw", 1000), r"1 <= threads <= \d+ \(the cores of target 'pi'\) must hold"),
    ],
)
def test_what_a_board_has_not_is_refused(board, registry, options, message):
    add("pi", board.url, "")
    with pytest.raises(InputError, match=message):
        resolve_target("pi", *options)


def test_what_cannot_be_a_target(board, registry):
    for name in ("cpu", "cuda:1", "auto", "a b", ""):
        with pytest.raises(InputError, match="a target's name must be letters"):
            add(name, board.url, "")
    with pytest.raises(InputError, match="must begin with http"):
        add("pi", "pi:7788", "")
    with pytest.raises(InputError, match="target 'pi' must answer at http://127.0.0.1:1, but"):
        add("pi", "http://127.0.0.1:1", "")
    assert not registry.exists()
    registry.parent.mkdir()
    registry.write_text("[]")
    with pytest.raises(InputError, match="the targets must be readable, but"):
        boards()
    with contextlib.suppress(InputError):
        add("pi", board.url, "")
    assert registry.read_text() == "[]"
