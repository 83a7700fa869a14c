"""From what a user asks for to a running study, to which any number of workers may belong."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from pydantic import TypeAdapter

from srnas.leaderboard import StudyRecord
from srnas.nas.cache import ResultCache
from srnas.nas.engines import run_engine
from srnas.nas.judging import Judge
from srnas.nas.observer import Observer
from srnas.nas.outcome import Outcome, conclude, replicate, summarise
from srnas.nas.pairs import PatchSampler, make_pairs
from srnas.nas.photos import PhotoSet, all_notes
from srnas.nas.preparation import (
    SearchRequest,
    absolute,
    check_feasible,
    check_request,
    latency_input,
    load_photos,
    study_record,
    study_settings,
    training_config,
)
from srnas.nas.proxies import PROXIES
from srnas.nas.publishing import Publisher
from srnas.nas.settings import StudySettings
from srnas.nas.storage import patiently, storage_url
from srnas.nas.stored import stored_study
from srnas.nas.study import Search, Standing
from srnas.nas.tables import find_table
from srnas.nas.worker import work
from srnas.profiling import describe_device, resolve_device
from srnas.profiling.runtimes import runtime_version
from srnas.search_space import InputError, SearchSpace, human_designs

_REQUEST = TypeAdapter(SearchRequest)


@dataclass(frozen=True)
class Session:
    """A study that is open in this process, and what judges its candidates.

    Attributes:
        request: What the user asked for.
        search: The study.
        judge: Of this process.
        publisher: Of this process.
    """

    request: SearchRequest
    search: Search
    judge: Judge
    publisher: Publisher


def launch(request: SearchRequest, observer: Observer) -> Outcome:
    """Run a search, or go on with one, until the study holds ``request.trials`` trials.

    Raises:
        InputError: If anything that was given cannot be used; nothing is written then.
        KeyboardInterrupt: After the study is marked; every finished trial is kept.
        DeviceBusyError: The same, if another process holds the device for too long.
    """
    plan = _plan(request)
    done = plan.done
    if done is not None and len(done.records) >= request.trials and done.replicated >= request.replicates:
        return done
    session = _open(plan, observer)
    search = session.search
    observer.on_start(len(search.records), search.settings.training.iterations)
    try:
        if request.workers > 1 or request.engine != "local":
            standing = run_engine(request, search, session.publisher, observer)
        else:
            standing = work(search, session.judge, session.publisher)
        replicate(search, session.judge, request.replicates)
    except BaseException:
        with contextlib.suppress(StorageInternalError):  # Then that is what is said.
            session.publisher.close(search.records, killed=True)
        raise
    return conclude(search, session.publisher, exhausted=standing is Standing.EXHAUSTED)


def join(workspace: Path, study: str, observer: Observer, **changes: Any) -> Standing:
    """Work on a study that ``srnas search`` has started, on this or another machine, until nothing is left to do.

    Args:
        workspace: Folder of this worker's cache, MLflow store and unfinished trainings.
        study: Its name.
        observer: Told of every stage.
        **changes: Fields of the request that differ here: the storage, folders of photographs, the device.

    Raises:
        InputError: If there is no such study, or this machine is not what the study is about.
    """
    stored = stored_study(storage_url(workspace, study, changes.get("storage")), study)
    if stored is None or "study" not in stored.user_attrs:
        raise InputError(f"study '{study}' must have been started by 'srnas search', but there is none of that name.")
    request = replace(_REQUEST.validate_json(stored.user_attrs["request"]), workspace=workspace, **changes)
    plan = _plan(request, as_worker=True)
    mine = describe_device(plan.settings.target, runtime_version(request.runtime))
    theirs = StudyRecord.model_validate_json(stored.user_attrs["study"]).device
    if mine.key != theirs.key:
        raise InputError(
            f"every worker of study '{study}' must run on the device profile '{theirs.key}', since their latencies are "
            f"compared, but this is '{mine.key}'; start another study here."
        )
    session = _open(plan, observer, as_worker=True)
    observer.on_start(len(session.search.records), session.search.settings.training.iterations)
    return work(session.search, session.judge, session.publisher)


@dataclass(frozen=True)
class _Plan:
    """A request that was checked, and the study if it exists."""

    request: SearchRequest
    space: SearchSpace
    settings: StudySettings
    photos: tuple[PhotoSet, PhotoSet]
    url: str
    stored: optuna.Study | None

    @property
    def done(self) -> Outcome | None:
        """What the study holds, if it has started."""
        if self.stored is None or "study" not in self.stored.user_attrs:
            return None
        return summarise(self.stored)


def _plan(request: SearchRequest, *, as_worker: bool = False) -> _Plan:
    """Check everything without writing anything."""
    check_request(request)
    space = SearchSpace.load(request.space, request.scale)
    training = training_config(request, space)
    timed_input = latency_input(space, request.latency_input)
    photos = load_photos(request, space, training)
    settings = study_settings(request, space, resolve_device(request.device), training, timed_input, photos)
    url = storage_url(request.workspace, settings.name, request.storage)
    stored = stored_study(url, settings.name)
    if stored is not None and "settings" in stored.user_attrs:
        theirs = StudySettings.model_validate_json(stored.user_attrs["settings"])
        settings.check_same(theirs.model_copy(update={"device": settings.device}) if as_worker else theirs)
    else:
        check_feasible(settings, space)
    return _Plan(request, space, settings, photos, url, stored)


def _open(plan: _Plan, observer: Observer, *, as_worker: bool = False) -> Session:
    request, settings, space = plan.request, plan.settings, plan.space
    for note in (f"space '{space.name}' holds {space.size_text} networks", *all_notes(*plan.photos)):
        observer.on_note(note)
    observer.on_note(f"reducing {sum(len(p.photos) for p in plan.photos)} photographs by {request.scale}")
    train_pairs, validation = (make_pairs(p, request.scale) for p in plan.photos)
    name = plan.photos[1].name

    def make_record() -> StudyRecord:
        if settings.budgets.max_latency_ms is None:
            timed = "human designs, whose slowest" if human_designs(space) else "smallest network, which"
            observer.on_note(f"timing the {timed} fixes the reference point of the hypervolume")
        return study_record(settings, space, validation, name)

    # What the runtime cannot run is refused before the study exists.
    made = make_record() if plan.done is None else None
    table = find_table(request.workspace, space, settings.target, settings.latency_input)
    if table is not None:
        observer.on_note(f"the block table of {len(table.entries_ms)} parts expects latencies: {table.validation}")
    search = patiently(lambda: Search(plan.url, settings, space, table), plan.url, observer.on_note)
    wanted = {
        "total": request.trials,
        "patience": request.patience,
        "request": _REQUEST.dump_json(absolute(request)).decode(),
    }
    record = search.begin(lambda: made or make_record(), **({} if as_worker else wanted))
    patches = PatchSampler(train_pairs, request.scale, settings.training.patch, settings.target.device)
    cache = ResultCache(request.workspace / "cache", settings.protocol)
    proxies = PROXIES if request.proxies else ()
    judge = Judge(settings, patches, validation, name, cache, observer, table, proxies)
    return Session(request, search, judge, Publisher(request.workspace, plan.url, record, observer.on_note))
