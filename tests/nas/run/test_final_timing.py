"""The front and its neighbours are timed together: who takes part, who joins, what is kept, and when it is done."""

import json
from dataclasses import replace

import pytest
from handmade import quality

from srnas.leaderboard.record.trials import Replicate
from srnas.nas.revisit.archive import export_study, import_study
from srnas.nas.revisit.resync import write_study
from srnas.nas.run import final_timing
from srnas.nas.run.final_timing import is_due, time_front
from srnas.nas.study.options import Budgets
from srnas.nas.study.snapshot import since_rise
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.boards import load_board
from srnas.profiling.runtimes import RuntimeFailedError


def known(session):
    return session.search.stored.snapshot()


def test_the_front_and_its_neighbours_are_timed_once(opened, clock):
    session, notes = opened()
    assert is_due(known(session), session.judge.materials.target)
    clock.factors = {1: 1.1}
    time_front(session)
    assert clock.runs == [[0, 1, 2, 3, 5]]
    assert notes == ["timing the front of 3 together with 2 neighbours and human designs"]
    held = known(session)
    assert not is_due(held, session.judge.materials.target)
    timed = held.records[1]
    assert (timed.latency.fastest_ms, timed.peak_memory_mib, timed.preflight) == (2.2, 2.0, {"host": "here"})
    assert timed.timed_together_ms == held.joint.ended_ms
    # How it was judged stays.
    assert held.as_judged[1].latency.fastest_ms == held.trials[1].record.latency.fastest_ms == 2.0
    assert held.records[4] == held.as_judged[4]
    time_front(session)
    assert len(clock.runs) == 1


def test_what_other_work_slowed_when_it_was_judged_takes_part(opened, clock):
    clock.slowed = {3: 1.25}
    session, _ = opened()
    time_front(session)
    assert clock.runs == [[0, 1, 2, 3, 5]]


def test_what_the_mean_over_seeds_puts_on_the_front_is_timed_with_it(opened, clock):
    session, _ = opened()
    time_front(session)
    stored = session.search.stored
    assert not is_due(stored.snapshot(), session.judge.materials.target)
    for number in (1, 2, 3):
        stored.keep_replicate(Replicate(number=number, seed=1, quality=quality(0.0, "a"), train_s=1.0))
    assert is_due(stored.snapshot(), session.judge.materials.target)
    time_front(session)
    assert clock.runs == [[0, 1, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


def test_human_designs_are_timed_with_it(opened, clock):
    clock.designs = {0: "ESPCN-like", 6: "EDSR-like"}
    session, notes = opened()
    time_front(session)
    assert clock.runs == [[0, 1, 2, 3, 5, 6]]
    assert notes == ["timing the front of 3 together with 3 neighbours and human designs"]


def test_it_is_kept_by_its_own_key_in_every_process(opened, clock):
    session, _ = opened()
    time_front(session)
    held = known(session)
    again = StoredStudy.find(session.search.url, "timed").snapshot()
    assert again.joint == held.joint
    assert set(json.loads(session.search.stored.study.user_attrs["joint"])["networks"]) == set("01235")


def test_it_moves_with_the_study(opened, clock, elsewhere, tmp_path):
    session, _ = opened()
    clock.factors = {1: 1.1}
    time_front(session)
    export_study(session.publisher.workspace, "timed", tmp_path / "file")
    import_study(elsewhere, tmp_path / "file")
    write_study(elsewhere, "timed")
    moved = StoredStudy.find(elsewhere.study_url("timed"), "timed").snapshot()
    assert (moved.joint, moved.records) == (known(session).joint, known(session).records)
    rows = load_board(elsewhere, "timed").rows.set_index("trial")
    assert rows.loc[1, "latency_fastest_ms"] == 2.2
    assert rows["timed_together_ms"].notna().sum() == len(moved.joint.networks)


def test_what_gets_onto_the_front_joins_and_all_are_timed_again(opened, clock):
    session, notes = opened()
    clock.factors = {1: 1.75, 2: 1.7, 3: 1.7}
    time_front(session)
    assert clock.runs == [[0, 1, 2, 3, 5], [0, 1, 2, 3, 4, 5]]
    assert known(session).joint.runs == 2
    assert [note for note in notes if "timing" not in note] == []


def test_after_three_runs_what_is_left_is_said(opened, clock):
    session, notes = opened()
    clock.factors = dict.fromkeys(range(1, 8), 10.0)
    time_front(session)
    assert [run[-2:] for run in clock.runs] == [[3, 5], [4, 5], [5, 6]]
    assert notes[3:] == [
        "the front was timed together 3 times, and other networks still join it: the latency of trial 7 is not of "
        "the same run"
    ]
    assert not is_due(known(session), session.judge.materials.target)
    time_front(session)
    assert len(clock.runs) == 3


def test_an_interrupted_end_goes_on(opened, clock):
    session, _ = opened()
    clock.factors = {1: 1.75, 2: 1.7, 3: 1.7}
    for run in range(2):
        clock.failing = {run: KeyboardInterrupt()}
        with pytest.raises(KeyboardInterrupt):
            time_front(session)
        assert len(clock.runs) == run
        assert is_due(known(session), session.judge.materials.target)
        clock.failing = {run + 1: KeyboardInterrupt()}
        if run == 0:
            with pytest.raises(KeyboardInterrupt):
                time_front(session)
    clock.failing = {}
    time_front(session)
    assert clock.runs == [[0, 1, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


def test_an_extended_study_is_timed_anew(opened, clock):
    time_front(opened(6)[0])
    session, _ = opened(8)
    assert is_due(known(session), session.judge.materials.target)
    time_front(session)
    assert len(clock.runs) == 2
    assert known(session).joint.judged == 8


def test_a_study_without_a_front_has_nothing_to_time(opened, clock):
    session, notes = opened(0)
    assert not is_due(known(session), session.judge.materials.target)
    time_front(session)
    assert (clock.runs, notes) == ([], [])


def test_another_machine_leaves_it(opened, clock, monkeypatch):
    session, notes = opened()
    other = replace(known(session).study.device, name="Other CPU")
    monkeypatch.setattr(final_timing, "describe", lambda *_: other)
    assert not is_due(known(session), session.judge.materials.target)
    time_front(session)
    assert clock.runs == []
    [note] = notes
    assert note.startswith("the front is not timed together: the study was timed on '")
    assert "Other CPU" in note


@pytest.mark.parametrize("error", [RuntimeFailedError("no kernel"), MemoryError("full")])
def test_what_cannot_be_timed_together_is_said(opened, clock, error):
    session, notes = opened()
    clock.failing = {0: error}
    time_front(session)
    assert notes[1:] == [f"the front is not timed together: {error}"]
    assert known(session).joint is None


def test_other_errors_are_not_hidden(opened, clock):
    session, _ = opened()
    clock.failing = {0: RuntimeError("a bug")}
    with pytest.raises(RuntimeError, match="a bug"):
        time_front(session)


def test_what_misses_the_budget_now_is_said(opened, clock):
    session, notes = opened()
    budgets = Budgets(max_latency_ms=4.1)
    settings = session.search.settings.model_copy(update={"budgets": budgets})
    session = replace(session, search=replace(session.search, settings=settings))
    clock.factors = {5: 1.05}
    time_front(session)
    assert notes[1:] == ["timed together, the fastest round of trial 5 now misses the budget of 4.1 ms"]
    assert known(session).records[5].point == (32.0, pytest.approx(4.2))


def test_latencies_of_the_end_do_not_set_a_study_going_again(opened, clock):
    session, _ = opened(4)
    session.search.want(total=99, patience=2)
    assert known(session).is_stalled
    # By its latency of the end the last trial raises the hypervolume.
    clock.factors = {3: 0.5}
    time_front(session)
    assert since_rise(known(session).study, known(session).records) == 0
    assert known(session).is_stalled
