"""The capture of a graph, with doubles that record what CUDA is asked for."""

import contextlib
import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from srnas.profiling import Target
from srnas.profiling.graphs import Recorder
from srnas.profiling.runtimes import Supplies, cudagraph


class Stream:
    """A stream that only has a name."""

    def __init__(self, device):
        self.device = device

    def wait_stream(self, other):
        pass


class Graph:
    """A graph that counts its replays."""

    replays = 0

    def replay(self):
        self.replays += 1


@pytest.fixture
def captures(monkeypatch):
    """Replace what a capture asks of CUDA, and return what each asked for."""
    captures, current = [], SimpleNamespace(stream=Stream("current"))

    @contextlib.contextmanager
    def use(stream):
        before, current.stream = current.stream, stream
        yield
        current.stream = before

    @contextlib.contextmanager
    def graph(made, **options):
        captures.append(options | {"device": captured_on[-1]})
        yield

    captured_on = []

    @contextlib.contextmanager
    def device(name):
        captured_on.append(name)
        yield

    doubles = {"Stream": Stream, "CUDAGraph": Graph, "stream": use, "graph": graph, "device": device}
    doubles["graph_pool_handle"] = object
    for name, double in doubles.items():
        monkeypatch.setattr(torch.cuda, name, double)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current.stream)
    return captures


def load(device="cuda:1", recorder=None):
    network, x = nn.Conv2d(3, 3, 1), torch.rand(1, 3, 4, 4)
    executable = cudagraph.RUNTIME.load(network, [x], Target(torch.device(device)), Supplies(recorder))
    return executable, weakref.ref(network), weakref.ref(x)


def test_what_a_graph_reads_lives_as_long_as_it(captures):
    executable, network, x = load()
    gc.collect()
    assert network() is not None
    assert x() is not None
    executable.run()
    assert executable.output().shape == (1, 3, 4, 4)
    del executable
    gc.collect()
    assert network() is None
    assert x() is None


def test_each_capture_is_on_a_stream_of_its_own_device(captures):
    kept = [load(f"cuda:{number}") for number in (0, 1)]
    assert [str(one["device"]) for one in captures] == ["cuda:0", "cuda:1"]
    assert [str(one["stream"].device) for one in captures] == ["cuda:0", "cuda:1"]
    assert all(one["check_input_liveness"] for one in captures)
    assert len(kept) == 2


def test_captures_of_a_measurement_share_pool_and_stream(captures):
    recorder = Recorder(torch.device("cuda:0"))
    kept = [load("cuda:0", recorder) for _ in range(2)]
    assert len({id(one["pool"]) for one in captures}) == len({id(one["stream"]) for one in captures}) == 1
    assert len(kept) == 2
