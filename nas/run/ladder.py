"""A ladder of lengths: networks near the front of one length continue to the next, in a study of their own.

A study holds results of one length only, so that a front compares like with like. What its best reach in longer
trainings is kept with the first study too, for its sampler.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from srnas.leaderboard.rank.confidence import near_front
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.judging.judge import Judge
from srnas.nas.run.plan import Plan, find_known, longer_name
from srnas.nas.run.publishing import Publisher
from srnas.nas.run.session import Session
from srnas.nas.study.search import open_search
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.storage import patiently
from srnas.nas.study.stored import StoredStudy

# A network goes on too if so much more PSNR, and a latency that is less by this share, would put it on the front.
# source: docs/measurements.md, "A ladder of lengths"
GOES_ON_DB, GOES_ON_SHARE = 0.1, 0.1


def going_on(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return what continues from one length to the next: the front, what is near it, and every human design."""
    near = {record.number for record in near_front(records, GOES_ON_DB, GOES_ON_SHARE)}
    chosen = [record for record in records if record.point and (record.design or record.number in near)]
    # The longest trainings first: else one worker may begin one when the others have nothing left to do.
    return sorted(chosen, key=lambda record: -record.train_s)


def longer_plan(plan: Plan, multiple: int, below: Snapshot, on_note: Callable[[str], None]) -> Plan:
    """Return the plan of the study with the longer trainings.

    Args:
        plan: That of the length before.
        multiple: The longer length as a multiple of the first.
        below: What the length before has come to.
        on_note: Told if the storage of the study does not answer.
    """
    settings, before = plan.settings, plan.settings.training
    training = before.longer(multiple)
    name = longer_name(settings, training)
    url = plan.workspace.study_url(name, plan.request.storage)
    known = find_known(url, name, on_note)
    chosen = {record.architecture.key for record in going_on(below.records)}
    judged = {record.architecture.key for record in known.records} if known else set()
    limit = settings.max_train_s and settings.max_train_s * training.iterations / before.iterations
    shared = {"rungs": "none", "max_train_s": limit}
    # No schedule is asked for: a worker takes that of the study.
    asked = {"study": name, "iterations": None, "learning_rate": None, "patience": None}
    return replace(
        plan,
        request=plan.request.model_copy(update=asked | shared | {"trials": len(chosen | judged)}),
        settings=settings.model_copy(update=shared | {"name": name, "training": training}),
        url=url,
        known=known,
    )


def open_longer(session: Session, plan: Plan, below: Snapshot) -> Session:
    """Open the study of the next length, with all its candidates queued.

    Args:
        session: An open study of the ladder.
        plan: That of the next length.
        below: What the length before has come to.
    """
    observer, settings, chosen = session.observer, plan.settings, going_on(below.records)
    before = below.study
    assert before is not None
    observer.on_note(
        f"{len(chosen)} of {len(below.records)} networks continue to {settings.training.iterations:,} steps"
    )
    search = patiently(lambda: open_search(plan.url, settings, plan.space), plan.url, observer.on_note)
    # The same reference point as before, so that the hypervolumes of all lengths compare.
    changes = {"name": settings.name, "config": settings.flat(), "goes_on_from": before.name}
    record = search.begin(lambda: before.model_copy(update=changes))
    search.queue(one.architecture for one in chosen)
    # Last: a worker that waits proposes as soon as more is wanted than is queued.
    search.want(total=plan.request.trials, request=plan.request.absolute().model_dump_json())
    materials = session.judge.materials.with_settings(settings)
    judge = Judge(replace(materials, keeps_trainings=plan.is_gone_on_from), session.judge.table, session.judge.proxies)
    return Session(search, judge, Publisher(plan.workspace, plan.url, record, observer.on_note))


def tell_first(first: Plan, longer: Snapshot, on_note: Callable[[str], None]) -> None:
    """Keep with the first study what its networks have reached in longer trainings."""
    assert longer.settings is not None
    iterations = longer.settings.training.iterations
    reached = {one.architecture.key: one.point[0] for one in longer.records if one.point}

    def tell() -> None:
        stored = StoredStudy.find(first.url, first.settings.name)
        assert stored is not None
        if stored.snapshot().longer.get(iterations) != reached:
            stored.keep_longer(iterations, reached)

    patiently(tell, first.url, on_note)
