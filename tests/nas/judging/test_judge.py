"""How long a candidate is timed before it is trained, and the front at the end; the clock is a fake one."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from srnas.nas.errors import OverBudgetError
from srnas.nas.judging import judge as judging
from srnas.nas.judging.draft import Draft
from srnas.nas.judging.judge import Judge, brief_protocol
from srnas.nas.judging.observer import Observer
from srnas.nas.study.options import Budgets
from srnas.profiling import CPU_PROTOCOL, BoardRefusedError, Latency, LatencyProtocol, Measurement, Target
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.search_space import Architecture, Position

ARCHITECTURE = Architecture(scale=2, channels=6, positions=(Position(trunk="conv"),))


def latency(fastest_ms, *flags):
    return Latency(fastest_ms, fastest_ms, fastest_ms, fastest_ms, 1.0, 1.0, (fastest_ms,), (1.0,), flags)


@pytest.fixture
def judge(monkeypatch):
    """Return a function that makes a judge for a budget; each measurement of ``times`` is of so many milliseconds."""

    def judge(*times, max_latency_ms=None, flags=()):
        protocols = []

        def measure(networks, shape, target, *, protocol, on_note):
            number = sum(isinstance(one, LatencyProtocol) for one in protocols)
            protocols.append(protocol)
            timed = {name: latency(times[number], *flags) for name in networks}
            return Measurement(timed, {}, {}, dict.fromkeys(timed), dict.fromkeys(timed, 0.0))

        monkeypatch.setattr(judging, "measure_latency", measure)
        monkeypatch.setattr(judging, "reconcile", lambda *_: None)
        settings = SimpleNamespace(
            budgets=Budgets(max_latency_ms=max_latency_ms),
            latency_input=(8, 8),
            training=SimpleNamespace(seed=0),
        )
        return Judge(SimpleNamespace(settings=settings, target=Target(), observer=Observer())), protocols

    return judge


def timed(judge):
    draft = Draft()
    judge._measure(ARCHITECTURE, draft)
    return draft.latency.fastest_ms


def test_a_candidate_is_timed_briefly(judge):
    made, protocols = judge(30.0)
    assert timed(made) == 30.0
    assert protocols == [brief_protocol(Target())]
    [brief] = protocols
    # Of a network of 30 ms: at least five calls to warm up, and six rounds with little beside it.
    assert (brief.warmup_cap_s, brief.window_calls, brief.max_rounds) == (0.3, 2, 6)
    assert brief.interval == 0.1
    assert brief.reference_tolerance == CPU_PROTOCOL.reference_tolerance


@pytest.mark.usefixtures("brief_latency")
def test_it_is_never_timed_longer_than_usual():
    assert brief_protocol(Target()).warmup_min_s == 0.0
    assert brief_protocol(Target()).warmup_cap_s == 0.01


def test_a_candidate_that_other_work_may_have_slowed_beyond_the_budget_is_timed_as_long_as_ever(judge):
    made, protocols = judge(14.9, 9.9, max_latency_ms=10)
    assert timed(made) == 9.9
    assert protocols == [brief_protocol(Target()), CPU_PROTOCOL]
    made, protocols = judge(10.5, 10.4, max_latency_ms=10)
    with pytest.raises(OverBudgetError, match=r"fastest_ms=10\.4 > 10"):
        timed(made)


@pytest.mark.parametrize(("fastest_ms", "is_over"), [(10.0, False), (15.1, True)])
def test_elsewhere_the_brief_timing_decides(judge, fastest_ms, is_over):
    made, protocols = judge(fastest_ms, max_latency_ms=10)
    if is_over:
        with pytest.raises(OverBudgetError):
            timed(made)
    else:
        assert timed(made) == fastest_ms
    assert len(protocols) == 1


@pytest.mark.parametrize("times", [(8.0, 4.0), (4.0, 8.0)])
def test_a_candidate_whose_timing_was_disturbed_is_timed_again_after_its_training(judge, times, monkeypatch):
    made, protocols = judge(*times, flags=("disturbed",))
    monkeypatch.setattr(made, "_train", lambda *_: protocols.append("trained"))
    draft = Draft()
    assert made._attempt(ARCHITECTURE, draft, None) == ("complete", "")
    assert (draft.latency.fastest_ms, protocols[1]) == (4.0, "trained")
    assert protocols[::2] == [brief_protocol(Target())] * 2


def test_otherwise_it_is_timed_once(judge, monkeypatch):
    made, protocols = judge(8.0, 4.0, flags=("unsteady", "wide"))
    monkeypatch.setattr(made, "_train", lambda *_: None)
    made._attempt(ARCHITECTURE, draft := Draft(), None)
    assert (draft.latency.fastest_ms, len(protocols)) == (8.0, 1)


def test_what_a_board_refuses_whichever_network_it_is_ends_no_candidate(judge, monkeypatch):
    made, _ = judge(30.0)
    made.materials.settings.name, made.materials.settings.protocol = "study", "protocol"

    def refuse(*_, **__):
        raise BoardRefusedError("target 'pi' must have the runtime that it had")

    monkeypatch.setattr(judging, "measure_latency", refuse)
    with pytest.raises(BoardRefusedError):
        made.judge(ARCHITECTURE, 0)


def test_a_trained_candidate_that_cannot_be_timed_again_keeps_its_timing(judge, monkeypatch):
    made, _ = judge(30.0, flags=("disturbed",))
    draft = Draft()
    made._measure(ARCHITECTURE, draft)

    def fail(*_, **__):
        raise RuntimeFailedError("the runtime must be able to run it")

    monkeypatch.setattr(judging, "measure_latency", fail)
    made._time_again(ARCHITECTURE, draft)
    assert draft.latency.fastest_ms == 30.0


@pytest.mark.parametrize(("error", "batch"), [(None, 4), (None, 1), (torch.OutOfMemoryError("CUDA out of memory"), 4)])
def test_proxies_hold_the_device_and_end_no_candidate(judge, monkeypatch, error, batch):
    made, _ = judge()
    held = []

    @contextlib.contextmanager
    def share(device):
        held.append(device)
        yield
        held.clear()

    def compute(network, lr, hr, names):
        assert held
        if error:
            raise error
        return dict.fromkeys(names, 1.0)

    monkeypatch.setattr(judging, "device_share", share)
    monkeypatch.setattr(judging, "proxies", compute)
    made.proxies = {"synflow"}
    made.materials.settings.training.batch, made.materials.settings.training_threads = batch, 1
    made.materials.device = torch.device("cpu")
    drawn = []
    made.materials.patches = SimpleNamespace(draw=lambda number, _: drawn.append(number) or (torch.zeros(2),) * 2)
    assert made._proxies(ARCHITECTURE) == ({} if error else {"synflow": 1.0})
    # Gradients of single images are compared with one another.
    assert drawn == [max(batch, 2)]
