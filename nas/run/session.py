"""A study that is open in this process, with the judge of its candidates and the publisher to MLflow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from srnas.leaderboard.record.studies import StudyRecord
from srnas.nas.images.pairs import Pair, make_pairs, note_flat
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import all_notes
from srnas.nas.judging.judge import Judge
from srnas.nas.judging.materials import Materials
from srnas.nas.judging.observer import Observer
from srnas.nas.judging.proxies import PROXIES
from srnas.nas.run.plan import Plan, study_record
from srnas.nas.run.publishing import Publisher
from srnas.nas.study.search import Search, open_search
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.storage import patiently
from srnas.nas.workspace.tables import find_table
from srnas.search_space import human_designs

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Session:
    """A study that is open in this process.

    Attributes:
        search: The study.
        judge: What judges its candidates here.
        publisher: What writes them to MLflow.
    """

    search: Search
    judge: Judge
    publisher: Publisher

    @property
    def observer(self) -> Observer:
        """Who is told what happens."""
        return self.judge.materials.observer

    def lasting(self, action: Callable[[], T]) -> T:
        """Return what an action on the storage gives, which is waited for while the storage does not answer.

        Raises:
            StorageLostError: If it does not answer for too long.
        """
        return patiently(action, self.search.url, self.observer.on_note)

    def snapshot(self) -> Snapshot:
        """Return what the study holds now."""
        return self.lasting(self.search.stored.snapshot)


def open_session(plan: Plan, observer: Observer, *, as_worker: bool = False) -> Session:
    """Open the study of a plan, made if there is none.

    Args:
        plan: What was checked.
        observer: Told of every stage.
        as_worker: Whether the study is joined, and its wishes are left as they are.
    """
    settings, space, workspace = plan.settings, plan.space, plan.workspace
    for note in (f"space '{space.name}' holds {space.size_text} networks", *all_notes(*plan.photos)):
        observer.on_note(note)
    observer.on_note(f"reducing {sum(len(p.photos) for p in plan.photos)} photographs by {settings.scale}")
    # Every worker reduces the same photographs.
    train_pairs, validation = (make_pairs(p, settings.scale, folder=workspace.reduced) for p in plan.photos)
    for note in note_flat(plan.photos[1].name, validation):
        observer.on_note(note)
    # What the runtime cannot run is refused before the study exists.
    has_begun = plan.known is not None and plan.known.study is not None
    made = None if has_begun else _study_record(plan, validation, observer)
    table = find_table(workspace, space, plan.target, settings.latency_input)
    if table is not None:
        observer.on_note(f"the block table of {len(table.entries_ms)} parts expects latencies: {table.validation}")
    search = patiently(
        lambda: open_search(plan.url, settings, space, table, as_worker=as_worker), plan.url, observer.on_note
    )
    designs = human_designs(space).values()
    record = search.begin(lambda: made or _study_record(plan, validation, observer), designs)
    if plan.first:
        search.queue(plan.first)
        observer.on_note(f"{len(plan.first)} networks of the front of '{plan.request.enqueue}' come first")
    # Last: a worker that waits proposes as soon as more is wanted than is queued.
    if not as_worker:
        wishes = plan.request.absolute().model_dump_json()
        search.want(total=plan.request.trials, patience=plan.request.patience, request=wishes)
    materials = Materials(
        settings=settings,
        target=plan.target,
        patches=PatchSampler(train_pairs, settings.scale, settings.training.patch, torch.device(settings.device)),
        validation=validation,
        validation_name=plan.photos[1].name,
        cache=workspace.cache(settings.protocol),
        observer=observer,
        keeps_trainings=plan.is_gone_on_from,
    )
    judge = Judge(materials, table, PROXIES if plan.request.proxies else ())
    return Session(search, judge, Publisher(workspace, plan.url, record, observer.on_note))


def _study_record(plan: Plan, validation: tuple[Pair, ...], observer: Observer) -> StudyRecord:
    if plan.settings.budgets.max_latency_ms is None:
        timed = "human designs, whose slowest" if human_designs(plan.space) else "smallest network, which"
        observer.on_note(f"timing the {timed} fixes the reference point of the hypervolume")
    return study_record(plan, validation, plan.photos[1].name)
