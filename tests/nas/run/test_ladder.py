"""A ladder of two lengths, from its request to the front that is reported."""

import pytest

from srnas.nas.judging.observer import Observer
from srnas.nas.revisit.recording import load_recording
from srnas.nas.run.ladder import going_on
from srnas.nas.run.launch import launch
from srnas.nas.run.plan import plan_search
from srnas.nas.run.request import SearchRequest
from srnas.nas.study.search import Search
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError

pytestmark = pytest.mark.usefixtures("brief_latency")


@pytest.fixture
def ladder(search_request):
    """Return a search of six candidates at 3 steps, the best of which go on to 6."""
    return search_request.changed(iterations=3, ladder=(1, 2))


class Witness(Observer):
    """Keeps what was trained, told and shown."""

    def __init__(self):
        self.trained, self.notes, self.boards, self.totals = [], [], [], []
        self.on_note = self.notes.append
        self.on_board = self.boards.append

    def on_start(self, judged, iterations, total=None):
        self.totals.append((judged, iterations, total))

    def on_step(self, progress):
        self.trained.append(progress.iteration)


def held(request, name):
    return StoredStudy.find(Workspace(request.workspace).study_url(name), name).snapshot()


def test_what_is_near_the_front_goes_on(launched, ladder):
    outcome = launched(ladder)
    assert outcome.name == "small-x2.6"
    first, longer = held(ladder, "small-x2"), held(ladder, "small-x2.6")
    chosen = going_on(first.records)
    front = set(load_board(Workspace(ladder.workspace), "small-x2").front["trial"])
    assert front <= {record.number for record in chosen}
    assert [r.architecture.key for r in longer.records] == [r.architecture.key for r in chosen]
    by_key = {record.architecture.key: record for record in first.records}
    for record in longer.records:
        before = by_key[record.architecture.key]
        # It went on from the training that had ended: what that had reached is where it begins.
        assert [rung.iteration for rung in record.rungs] == [1, 3, 6]
        assert record.rungs[:2] == before.rungs
        assert record.rungs[1].psnr_y_db == before.quality.mean_psnr_y_db
        assert record.train_s > before.train_s
        assert not record.reused
    assert longer.study.goes_on_from == "small-x2"
    # One reference point, so that the hypervolumes of both lengths compare.
    assert longer.study.reference_fastest_ms == first.study.reference_fastest_ms
    assert first.longer == {6: {record.architecture.key: record.quality.mean_psnr_y_db for record in longer.records}}


def test_a_replay_stops_where_a_search_does(launched, ladder):
    launched(ladder)
    longer = load_recording(Workspace(ladder.workspace), "small-x2.6", ladder.space)
    assert [[rung.iteration for rung in one.rungs] for one in longer.trials] == [[1, 6]] * len(longer.trials)


def test_what_is_reported_is_of_the_longest_length_that_is_through(launched, ladder):
    launched(ladder)
    workspace = Workspace(ladder.workspace)
    assert (load_board(workspace).study.name, load_board(workspace).study.iterations) == ("small-x2.6", 6)
    assert load_board(workspace, "small-x2").study.iterations == 3


def test_a_search_that_has_climbed_runs_nothing_again(launched, ladder):
    done, witness = launched(ladder), Witness()
    again = launch(ladder, witness)
    assert not again.anew
    assert again.records == done.records
    assert (witness.trained, witness.totals) == ([], [])


def test_what_a_longer_length_has_reached_is_told_by_the_next_call_too(launched, ladder):
    launched(ladder)
    told = held(ladder, "small-x2").longer
    assert told[6]
    url = Workspace(ladder.workspace).study_url("small-x2")
    StoredStudy.find(url, "small-x2").keep_longer(6, {})
    assert not launch(ladder, Observer()).anew
    assert held(ladder, "small-x2").longer == told


def test_more_is_wanted_only_when_what_comes_first_is_queued(ladder, monkeypatch):
    """A worker that waits would propose something else."""
    done = []
    for name in ("queue", "want"):
        real = getattr(Search, name)
        monkeypatch.setattr(
            Search, name, lambda *given, name=name, real=real, **how: (done.append(name), real(*given, **how))[1]
        )
    launch(ladder, Observer())
    assert done == ["want", "queue", "want"]


def test_a_search_that_is_killed_on_its_way_up_goes_on(ladder):
    class Interrupts(Witness):
        def on_step(self, progress):
            if progress.iteration > 3:
                raise KeyboardInterrupt

    witness = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        launch(ladder, witness)
    (shown,) = witness.boards
    assert shown.study.name == "small-x2"
    # The next length is not through yet.
    assert load_board(Workspace(ladder.workspace)).study.name == "small-x2"
    witness = Witness()
    outcome = launch(ladder, witness)
    assert min(witness.trained) > 3
    assert [record.state for record in outcome.records] == ["complete"] * len(outcome.records)
    assert load_board(Workspace(ladder.workspace)).study.name == "small-x2.6"


def test_more_trials_let_more_go_on(launched, ladder):
    before = launched(ladder)
    witness = Witness()
    after = launch(ladder.changed(trials=9), witness)
    assert {r.architecture.key for r in before.records} <= {r.architecture.key for r in after.records}
    chosen = {record.architecture.key for record in going_on(held(ladder, "small-x2").records)}
    assert {r.architecture.key for r in after.records} == chosen | {r.architecture.key for r in before.records}
    assert witness.totals == [(6, 3, 9), (len(before.records), 6, len(after.records))]


def test_a_longer_length_that_is_asked_for_later_trains_anew_what_was_not_kept(launched, ladder):
    request = ladder.changed(ladder=(1,))
    launched(request)
    witness = Witness()
    outcome = launch(ladder, witness)
    anew = [note for note in witness.notes if note.endswith("no saved training to continue from, so it starts again")]
    assert len(anew) == len(outcome.records)
    # Digit for digit what it would have gone on from.
    reached = {record.architecture.key: record.rungs for record in held(ladder, "small-x2").records}
    assert all(record.rungs[:2] == reached[record.architecture.key] for record in outcome.records)


def test_a_worker_of_a_longer_length_finds_its_schedule(launched, ladder):
    launched(ladder)
    known = held(ladder, "small-x2.6")
    plan = plan_search(SearchRequest.model_validate_json(known.request), as_worker=True)
    assert plan.settings == known.settings
    assert not plan.is_gone_on_from


@pytest.mark.parametrize("bad", ["", "3", "1,1", "1,3,2", "1,a", "1,2.5", (1, 0), 3, None])
def test_an_impossible_ladder_is_refused(search_request, bad):
    with pytest.raises(InputError, match=r"ladder must be 1 and then larger integers in order, such as 1,3,9"):
        search_request.changed(ladder=bad)
