"""Replicates: each is trained once, by one process, and one that fails is not tried again."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import tenacity
from handmade import quality
from optuna.exceptions import StorageInternalError
from simulated import open_simulated

from srnas.leaderboard.record.columns import DOUBT
from srnas.leaderboard.store.store import Store
from srnas.nas.errors import DeviceLostError, DivergedError
from srnas.nas.judging.cache import TrainedResult
from srnas.nas.judging.observer import Observer
from srnas.nas.run import launch as launching
from srnas.nas.run.launch import launch
from srnas.nas.run.replicates import missing, replicate
from srnas.nas.run.worker import work
from srnas.nas.study.claims import MAX_DEATHS
from srnas.nas.study.storage import critical
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import DeviceBusyError


@pytest.fixture
def judged(workspace, space_file, few_draws, monkeypatch):
    """Return a function that gives a judged simulated study whose replicates are trained so, and what was trained."""

    def give(train, trials=6):
        url = Workspace(workspace).study_url("shared")
        session, tried = open_simulated(url, workspace, "shared", space_file, trials, 0, "random"), []
        work(session)

        def note(architecture, seed):
            tried.append((architecture.key, seed))
            return train()

        monkeypatch.setattr(session.judge, "replicate", note, raising=False)
        return session, tried

    return give


def test_what_is_near_the_front_is_trained_with_other_seeds_once(search_request, brief_latency):
    request = search_request.changed(trials=3, rungs="none", replicates=2)
    outcome = launch(request, Observer())
    seeds = {(one.number, one.seed) for one in outcome.replicates}
    assert seeds == {(number, seed) for number, _ in seeds for seed in (1, 2)}
    assert not missing(
        StoredStudy.find(Workspace(request.workspace).study_url(outcome.name), outcome.name).snapshot(), 2
    )
    designs = {record.number for record in outcome.records if record.design and record.point}
    assert {number for number, _ in seeds} >= designs > set()
    front = outcome.board.front
    assert (front["num_seeds"] == 3).all()
    assert front["psnr_se_db"].gt(0).all()
    assert front["front_probability"].between(0, 1).all()
    again = launch(request, Observer())
    assert not again.anew
    stored = load_board(Workspace(request.workspace)).front
    for name in front.columns.intersection(DOUBT):
        if front[name].isna().all():  # A front of one has no step.
            continue
        np.testing.assert_allclose(stored[name].astype(float), front[name].astype(float))
    store = Store(request.workspace)
    runs = store.search_runs(store.open_experiment("sr-x2/search"), "tags.`srnas.role` = 'replicate'")
    assert len(runs) == len(seeds)


def test_what_another_process_trains_again_is_left_to_it(judged):
    session, trained = judged(lambda: TrainedResult(rungs=(), quality=quality(30.0, "a"), train_s=1.0))
    everything = missing(session.search.stored.snapshot(), 2)
    record, seed = everything[0]
    with critical(session.search.url, f"shared.{record.number}.{seed}", waits=False):
        replicate(session, 2)
        assert len(everything) > 1
        left = [(one.number, with_seed) for one, with_seed in missing(session.search.stored.snapshot(), 2)]
        assert left == [(record.number, seed)]
    replicate(session, 2)
    assert Counter(trained) == {(one.architecture.key, with_seed): 1 for one, with_seed in everything}
    assert not missing(session.search.stored.snapshot(), 2)


def test_what_the_mean_over_seeds_brings_near_the_front_is_trained_again_too(judged):
    """Other seeds are so bad that what is behind comes near the front, until all were trained again."""
    session, trained = judged(lambda: TrainedResult(rungs=(), quality=quality(10.0, "a"), train_s=1.0), trials=24)
    before = {record.number for record, _ in missing(session.search.stored.snapshot(), 1)}
    complete = {record.number for record in session.search.stored.snapshot().records if record.point}
    assert before < complete
    replicate(session, 1)
    known = session.search.stored.snapshot()
    assert {one.number for one in known.replicates} == complete
    assert not missing(known, 1)
    assert len(trained) == len(set(trained))


@pytest.mark.parametrize("error", [DivergedError("loss=nan"), MemoryError("out of memory")])
def test_a_replicate_that_fails_is_not_tried_again(judged, error):
    def fail():
        raise error

    session, tried = judged(fail)
    replicate(session, 1)
    replicate(session, 1)
    assert len(tried) == len(set(tried)) > 0
    assert not missing(session.search.stored.snapshot(), 1)
    assert not session.search.stored.snapshot().replicates


@pytest.mark.parametrize(("error", "ends"), [(DeviceLostError("lost"), True), (DeviceBusyError("busy"), False)])
def test_a_replicate_that_ends_every_process_is_not_tried_again(judged, error, ends):
    def fail():
        raise error

    session, tried = judged(fail)
    for _ in range(MAX_DEATHS + 1):
        with pytest.raises(type(error)):
            replicate(session, 1)
    assert (tried.count(tried[0]) == MAX_DEATHS) is ends
    assert bool(session.snapshot().failed_again) is ends


def test_a_replicate_is_kept_when_the_storage_answers_again(judged, monkeypatch):
    session, _ = judged(lambda: TrainedResult(rungs=(), quality=quality(30.0, "a"), train_s=1.0))
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _: None)
    asked = []

    def fails_first(real):
        def action(*given, **how):
            asked.append(real)
            if asked.count(real) == 1:
                raise StorageInternalError("gone")
            return real(*given, **how)

        return action

    stored = session.search.stored
    monkeypatch.setattr(stored, "keep_replicate", fails_first(stored.keep_replicate))
    monkeypatch.setattr(stored, "snapshot", fails_first(stored.snapshot))
    monkeypatch.setattr("srnas.nas.run.replicates.critical", fails_first(critical))
    replicate(session, 1)
    assert not missing(session.snapshot(), 1)
    assert session.snapshot().replicates


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        # The timing that follows may bring as many others near the front as were trained.
        (["ab", "cd", ""], [2, 2]),
        # What another process trains stays missing.
        (["ab", "b"], [2]),
        ([""], []),
    ],
)
def test_what_comes_near_the_front_later_is_trained_in_the_same_call(monkeypatch, rounds, expected):
    numbers = {name: number for number, name in enumerate("abcd")}
    due = iter([[(SimpleNamespace(number=numbers[name]), 1) for name in names] for names in rounds])
    trained = []
    known = SimpleNamespace(records=())
    session = SimpleNamespace(
        search=SimpleNamespace(stored=None, settings=SimpleNamespace(training=SimpleNamespace(iterations=1))),
        snapshot=lambda: known,
        observer=Observer(),
        publisher=None,
    )
    plan = SimpleNamespace(request=SimpleNamespace(trials=0, replicates=1), is_gone_on_from=False, target=None)
    monkeypatch.setattr(launching, "missing", lambda *_: next(due))
    monkeypatch.setattr(
        launching, "run_engine", lambda request, session, task, left: trained.append(left) if left else None
    )
    for name in ("time_front", "is_due", "conclude"):
        monkeypatch.setattr(launching, name, lambda *_, **__: None)
    launching._run(session, plan)
    assert trained == expected
