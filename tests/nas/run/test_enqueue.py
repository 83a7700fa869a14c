"""The front of another study comes first."""

import pytest
from simulated import open_simulated, run_simulated

from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.nas.run.plan import plan_search
from srnas.nas.run.session import open_session
from srnas.nas.study.search import Search
from srnas.nas.workspace.studies import load_front
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError, SearchSpace, human_designs

pytestmark = pytest.mark.usefixtures("brief_latency")


def test_the_front_of_another_study_comes_before_any_proposal(search_request):
    workspace, space = Workspace(search_request.workspace), SearchSpace.load(search_request.space, search_request.scale)
    run_simulated(workspace.study_url("other"), search_request.workspace, "other", search_request.space, 18, 0)
    front = {one.key for one in load_front(workspace, "other", space)}
    first = front | {design.key for design in human_designs(space).values()}
    assert len(first) > len(human_designs(space))
    observer, notes = Observer(), []
    observer.on_note = notes.append
    outcome = launch(search_request.changed(enqueue="other", trials=len(first)), observer)
    assert {record.architecture.key for record in outcome.records} == first
    assert f"{len(front)} networks of the front of 'other' come first" in notes
    notes.clear()
    launch(search_request.changed(enqueue="other", trials=len(first)), observer)
    assert not [note for note in notes if "come first" in note]


def test_what_comes_first_is_queued_before_more_is_wanted(search_request, monkeypatch):
    workspace, totals = Workspace(search_request.workspace), []
    run_simulated(workspace.study_url("other"), search_request.workspace, "other", search_request.space, 18, 0)
    real = Search.queue
    monkeypatch.setattr(
        Search, "queue", lambda self, ones: (totals.append(self.stored.snapshot().total), real(self, ones))
    )
    open_session(plan_search(search_request.changed(enqueue="other", trials=9)), Observer())
    assert totals == [0]


def test_the_front_that_comes_first_must_be_of_the_space(search_request):
    workspace = Workspace(search_request.workspace)
    run_simulated(workspace.study_url("other"), search_request.workspace, "other", search_request.space, 4, 0)
    with pytest.raises(InputError, match="must hold the file of study 'nothing', but it does not"):
        launch(search_request.changed(enqueue="nothing"), Observer())
    with pytest.raises(InputError, match="at scale 3 must hold the front of study 'other', but it does not hold x2-"):
        launch(search_request.changed(enqueue="other", scale=3), Observer())
    assert [path.name for path in workspace.study_files] == ["other.db"]


def test_the_front_that_comes_first_must_exist(search_request):
    url = Workspace(search_request.workspace).study_url("other")
    open_simulated(url, search_request.workspace, "other", search_request.space, 4, 0)
    with pytest.raises(InputError, match="study 'other' must have a front, but it has trained no network yet"):
        launch(search_request.changed(enqueue="other"), Observer())
