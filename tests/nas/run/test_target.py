"""A study that is timed elsewhere than it is trained: on a board, whose agent is a function here."""

import json
from dataclasses import replace

import pytest

from srnas.nas.judging.observer import Observer
from srnas.nas.run.join import join
from srnas.nas.run.launch import launch
from srnas.nas.run.plan import plan_search
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling.agent.measuring import plain
from srnas.profiling.boards.board import Board, BoardRuntime
from srnas.profiling.boards.client import Client
from srnas.profiling.rounds import REFERENCE, DeviceState, Rounds, Timed
from srnas.search_space import InputError

VERSION = "onnxruntime 1.2.3"
RUNTIMES = (BoardRuntime("onnxruntime", VERSION, ("float32", "int8")),)
BOARD = Board("pi", "http://pi:7788", "", "Raspberry Pi 5", 4, RUNTIMES)
BYTES_PER_MS = 1000


class Model:
    """An export in place of ONNX's, as large as the network."""

    def __init__(self, network):
        self.size = sum(parameter.numel() for parameter in network.parameters())

    def SerializeToString(self):  # noqa: N802
        return bytes(self.size)


@pytest.fixture
def board(monkeypatch):
    """Return what the board is asked for; it takes a millisecond for every thousand parameters."""
    asked = []

    def measure(client, order, contents, on_round):
        asked.append(order)
        took = {name: len(contents[it["files"]["model"]]) / BYTES_PER_MS for name, it in order["models"].items()}
        calls = {Timed(name): [(ms,)] * 8 for name, ms in took.items()} | {REFERENCE: [(1.0,)] * 8}
        rounds = Rounds(dict.fromkeys(calls, True), calls, [DeviceState(other_load=0.0)] * 8)
        told = {"first_call_ms": took, "max_abs_difference": dict.fromkeys(took, 1e-6), "before": {}, "after": {}}
        return json.loads(json.dumps({**plain(rounds), **told, "versions": {"onnxruntime": VERSION}}))

    monkeypatch.setattr(Client, "measure", measure)
    monkeypatch.setattr("srnas.profiling.targets.find", lambda name: replace(BOARD, name=name))
    monkeypatch.setattr("srnas.profiling.runtimes.onnxruntime_.to_onnx", lambda network, x, **_: Model(network))
    return asked


@pytest.fixture
def asked_for(search_request):
    options = {"trials": 2, "iterations": 2, "timed_on": "pi", "runtime": "onnxruntime"}
    return search_request.changed(**options)


@pytest.mark.slow
def test_a_study_trains_here_and_is_timed_on_a_board(asked_for, board):
    outcome = launch(asked_for, Observer())
    record = outcome.board.study
    assert (record.device.name, record.device.runtime_version) == ("Raspberry Pi 5", VERSION)
    assert record.config["timed_on"] == "pi"
    assert record.config["device"] == "cpu"
    for trial in outcome.records:
        assert trial.latency.fastest_ms == trial.sizes.params / BYTES_PER_MS
        assert trial.max_abs_difference == 1e-6
        assert trial.quality is not None
    assert {model["threads"] for one in board for model in (*one["models"].values(), one["reference"])} == {1}
    # The same command goes on, and another worker joins it, on whatever trains there.
    assert len(launch(asked_for.changed(trials=3), Observer()).records) == 3
    join(Workspace(asked_for.workspace), outcome.board.study.name, Observer())
    with pytest.raises(InputError, match="exists with other settings .*timed_on: pi -> "):
        launch(asked_for.changed(timed_on=""), Observer())


def test_threads_are_those_of_the_board(asked_for, board):
    assert plan_search(asked_for).target.board == BOARD
    with pytest.raises(InputError, match="1 <= threads <= 4"):
        plan_search(asked_for.changed(threads=5))
    assert plan_search(asked_for.changed(threads=4)).settings.training_threads == 1


def test_a_target_that_trains_is_no_other(asked_for, board):
    plain_request = asked_for.changed(timed_on="", runtime="eager")
    plan = plan_search(plain_request.changed(timed_on="cpu"))
    assert plan.settings == plan_search(plain_request).settings
    assert plan.target.board is None
    assert plan.settings.training_threads == plan.settings.threads
