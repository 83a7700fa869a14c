"""Studies by name: which of several is meant, and whose trials are whose."""

import pytest
from filled import fill, made
from handmade import study

from srnas.leaderboard.store.store import Store
from srnas.nas.workspace.boards import find_study
from srnas.nas.workspace.workspace import Workspace


@pytest.fixture
def filled(workspace):
    """Return a function that fills the store with a study of one trial, and its workspace."""
    store = Store(workspace)

    def filled(name, scale, *, done=True, **fields):
        record = study().model_copy(update={"name": name, "scale": scale, **fields})
        parent = fill(store, record, [made(0, 31.0, 1.0, "conv")])
        if done:
            store.close_study(parent, {}, ())
        return Workspace(workspace)

    return filled


def test_a_study_of_the_same_name_for_another_task_does_not_say_whether_one_is_through(filled):
    filled("mine.1200", 4, goes_on_from="mine")
    place = filled("mine.1200", 2, done=False, goes_on_from="mine")
    assert find_study(place).task == "x4"


def test_where_only_retimed_studies_are_left_the_newest_is_shown(filled):
    assert find_study(filled("demo@eager", 2, retimed_from="demo")).name == "demo@eager"
