"""The training of one candidate: what comes back after a kill, and what its record says of it."""

from dataclasses import replace

import pytest
import torch

from srnas.nas.judging import candidate
from srnas.nas.judging.cache import ResultCache
from srnas.nas.judging.judge import Judge
from srnas.nas.judging.observer import Observer
from srnas.nas.run.plan import plan_search
from srnas.nas.run.session import open_session
from srnas.nas.strategy.rungs import Decision
from srnas.search_space import human_designs


@pytest.fixture
def session(search_request, brief_latency):
    return open_session(plan_search(search_request), Observer())


@pytest.fixture
def design(session):
    return next(iter(human_designs(session.search.space).values()))


def spare(rung, fastest_ms):
    return Decision(survives=True, reason="dominated", spared=True)


def killed(*_):
    raise KeyboardInterrupt


def test_a_result_that_was_not_handed_in_is_not_one_of_an_earlier_study(session, design):
    first = session.judge.judge(design, 0, gate=spare)
    assert (first.reused, first.spared) == (False, True)
    # Its process was killed before it had handed the record in.
    again = session.judge.judge(design, 1, gate=spare)
    assert (again.reused, again.spared, again.quality) == (False, True, first.quality)
    session.judge.settle(design)
    later = session.judge.judge(design, 2, gate=spare)
    assert (later.reused, later.spared, later.quality) == (True, False, first.quality)


def test_another_study_reuses_what_one_has_not_handed_in(session, design):
    session.judge.judge(design, 0, gate=spare)
    materials = session.judge.materials
    other = Judge(materials.with_settings(materials.settings.model_copy(update={"name": "other"})))
    assert other.judge(design, 0).reused
    other.settle(design)
    assert not session.judge.judge(design, 1).reused


def test_a_batch_that_does_not_fit_is_halved_and_the_record_says_so(session, design, monkeypatch):
    real = candidate.train

    def train(network, patches, training, compute, **how):
        if compute.chunks == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(network, patches, training, compute, **how)

    monkeypatch.setattr(candidate, "train", train)
    for number in range(2):
        record = session.judge.judge(design, number)
        assert (record.state, record.halved_batch) == ("complete", True)


def test_a_kill_between_result_and_training_loses_neither(session, design, monkeypatch):
    judge = Judge(replace(session.judge.materials, keeps_trainings=True))
    cache, real = judge.materials.cache, ResultCache.save

    def save(*given):
        real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(ResultCache, "save", save)
        with pytest.raises(KeyboardInterrupt):
            judge.judge(design, 0)
    judge.judge(design, 1)
    assert cache.ended(design.key).is_file()
    assert not cache.training(design.key, judge.materials.settings.name).exists()


def test_half_a_training_does_not_replace_the_whole_one_of_another_study(session, design):
    materials = replace(session.judge.materials, keeps_trainings=True)
    other = materials.with_settings(materials.settings.model_copy(update={"name": "other"}))
    Judge(other).judge(design, 0)
    whole = materials.cache.ended(design.key).read_bytes()
    begun = materials.cache.training(design.key, materials.settings.name)
    begun.write_bytes(b"half")
    Judge(materials).judge(design, 0)
    assert materials.cache.ended(design.key).read_bytes() == whole
    assert not begun.exists()


def test_what_was_reached_before_a_kill_is_in_the_record_of_a_training_that_ends_early(session, design):
    materials = session.judge.materials
    first, *_ = materials.settings.training.rung_iterations

    def on_step(progress):
        if progress.iteration > first:
            raise KeyboardInterrupt

    session.observer.on_step = on_step
    with pytest.raises(KeyboardInterrupt):
        session.judge.judge(design, 0, gate=spare)
    hurried = Judge(materials.with_settings(materials.settings.model_copy(update={"max_train_s": 1e-9})))
    record = hurried.judge(design, 1, gate=spare)
    assert record.state == "timed_out"
    assert [rung.iteration for rung in record.rungs] == [first]
    assert record.spared


def test_only_of_the_first_seed_a_shorter_training_is_missed(session, design):
    settings, notes = session.judge.materials.settings, []
    longer = settings.model_copy(update={"training": settings.training.longer(2)})
    session.observer.on_note = notes.append
    judge = Judge(session.judge.materials.with_settings(longer))
    judge.replicate(design, settings.training.seed + 1)
    assert notes == []
    judge.judge(design, 0)
    assert [note for note in notes if "no saved training to continue from" in note]
