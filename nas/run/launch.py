"""From what a user asks for to the outcome of a study, with one worker or many."""

import contextlib
import inspect
from dataclasses import replace
from typing import Any

from optuna.exceptions import StorageInternalError

from srnas.nas.judging.observer import Observer
from srnas.nas.run.engines import run_engine
from srnas.nas.run.final_timing import is_due, time_front
from srnas.nas.run.ladder import longer_plan, open_longer, tell_first
from srnas.nas.run.outcome import Outcome, conclude, summarise
from srnas.nas.run.plan import Plan, plan_search
from srnas.nas.run.replicates import missing
from srnas.nas.run.request import SearchRequest, search_options
from srnas.nas.run.session import Session, open_session
from srnas.nas.run.tasks import Task
from srnas.nas.study.claims import Standing
from srnas.nas.study.snapshot import Snapshot


def search(*, observer: Observer | None = None, **options: Any) -> Outcome:
    """Start or continue a search, as ``srnas search`` does.

    Args:
        observer: Told of every stage; by default nobody is. Several workers report through their records only.
        **options: Those of the command, with underscores: ``space``, ``trials``, ``max_latency_ms``, ``workspace``, ...

    Returns:
        The outcome; ``outcome.board.rows`` is a pandas frame of the ranked trials.

    Raises:
        InputError: If anything that was given cannot be used; nothing is written then.
        DeviceBusyError: If another process holds the device for too long; every finished trial is kept.
    """
    return launch(SearchRequest.of(**options), observer or Observer())


search.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("observer", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Observer | None),
        *(
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=option.field.default,
                annotation=option.field.annotation,
            )
            for option in search_options()
        ),
    ],
    return_annotation=Outcome,
)


def launch(request: SearchRequest, observer: Observer) -> Outcome:
    """Start or continue a search, until the study holds ``request.trials`` trials.

    Raises:
        InputError: If anything that was given cannot be used; nothing is written then.
        KeyboardInterrupt: After the study is marked; every finished trial is kept.
        DeviceBusyError: The same, if another process holds the device for too long.
    """
    first = plan = plan_search(request, observer.on_note)
    session: Session | None = None
    below: Snapshot | None = None
    for multiple in request.ladder:
        if below is not None:
            plan = longer_plan(plan, multiple, below, observer.on_note)
        if plan.known is not None and _is_finished(plan, plan.known):
            below = plan.known
            outcome = replace(summarise(below), exhausted=_is_exhausted(plan, below))
        else:
            session = session or open_session(first, observer)
            if below is not None:
                session = open_longer(session, plan, below)
            outcome = _run(session, plan)
            below = session.snapshot()
            if plan.is_gone_on_from:
                observer.on_board(outcome.board)
        # Also of what an earlier call finished: it may have been killed before it had told.
        if plan is not first:
            tell_first(first, below, observer.on_note)
    return outcome


def _run(session: Session, plan: Plan) -> Outcome:
    """Judge what a study lacks, and conclude it."""
    request, stored, settings = plan.request, session.search.stored, session.search.settings
    judged = len(session.snapshot().records)
    session.observer.on_start(judged, settings.training.iterations, request.trials)
    try:
        standing = run_engine(request, session, Task.TRIALS, request.trials - judged)
        if not plan.is_gone_on_from:
            # First, since the latencies of one run decide what is near the front.
            time_front(session)
            left, before = _missing(session, request), set[tuple[int, int]]()
            # What another process trains stays missing, and is not waited for.
            while left - before:
                session.observer.on_replicates(len(left))
                run_engine(request, session, Task.REPLICATES, len(left))
                # The mean over seeds may put on the front what was not timed with it, and is scored as it is timed; the
                # new latencies may bring others near it.
                if is_due(session.snapshot(), plan.target):
                    time_front(session)
                left, before = _missing(session, request), before | left
    # On an interrupt as well: else the study's run would stay open in MLflow.
    except BaseException:
        with contextlib.suppress(StorageInternalError):  # Then that is what is said.
            session.publisher.close(stored.snapshot().records, killed=True)
        raise
    return conclude(session, exhausted=standing is Standing.EXHAUSTED, is_last=not plan.is_gone_on_from)


def _missing(session: Session, request: SearchRequest) -> set[tuple[int, int]]:
    return {(record.number, seed) for record, seed in missing(session.snapshot(), request.replicates)}


def _is_exhausted(plan: Plan, known: Snapshot) -> bool:
    return len(known.records) >= plan.space.size


def _is_finished(plan: Plan, known: Snapshot) -> bool:
    """Return whether a study holds all that is asked for, and was concluded with that."""
    asked = plan.request
    has_all = len(known.records) >= asked.trials or known.has_come_to_rest(asked.patience) or _is_exhausted(plan, known)
    if known.study is None or not has_all or known.concluded != known.extent:
        return False
    if plan.is_gone_on_from:
        return True
    return not is_due(known, plan.target) and not missing(known, plan.request.replicates)
