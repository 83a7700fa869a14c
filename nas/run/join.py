"""Work on a study that another process has started, on this or another machine."""

from typing import Any

from srnas.nas.judging.observer import Observer
from srnas.nas.run.plan import find_known, plan_search
from srnas.nas.run.request import SearchRequest
from srnas.nas.run.session import open_session
from srnas.nas.run.tasks import Task
from srnas.nas.study.claims import Standing
from srnas.nas.study.settings import StudySettings
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling.targets import describe
from srnas.search_space import InputError


def join(workspace: Workspace, study: str, observer: Observer, task: Task = Task.TRIALS, **changes: Any) -> Standing:
    """Work on a study that ``srnas search`` has started until nothing is left to do.

    Args:
        workspace: Where this worker keeps its cache, MLflow store and unfinished trainings.
        study: The study's name.
        observer: Told of every stage.
        task: What is to be done.
        **changes: Options of the search that differ here: the storage, folders of photographs, the device.

    Returns:
        Why there is nothing left to do.

    Raises:
        InputError: If there is no such study, or this machine is not what the study is about.
        StorageLostError: If the storage does not answer for too long.
    """
    known = find_known(workspace.study_url(study, changes.get("storage")), study, observer.on_note)
    if known is None or known.study is None:
        raise InputError(f"study '{study}' must have been started by 'srnas search', but there is none of that name.")
    request = SearchRequest.of_study(known.request, study).changed(workspace=workspace.path, **changes)
    plan = plan_search(request, observer.on_note, as_worker=True)
    mine = describe(plan.target)
    theirs = known.study.device
    if mine.key != theirs.key:
        raise InputError(
            f"every worker of study '{study}' must run on the device profile '{theirs.key}', since their latencies are "
            f"compared, but this is '{mine.key}'; start another study here."
        )
    session = open_session(plan, observer, as_worker=True)
    judged = len(session.snapshot().records)
    observer.on_start(judged, session.search.settings.training.iterations, known.total)
    return task.do(session, request.replicates)


def changes_of(request: SearchRequest, settings: StudySettings, device: str) -> dict[str, str]:
    """Return the options of a search that differ in a worker.

    Args:
        request: What the user asked for.
        settings: What the study is fixed by.
        device: Name of the device that the worker trains on there.
    """
    # Where the device that trains is timed on, its name is another one there as well.
    target = {"timed_on": ""} if request.timed_on and not settings.timed_on else {}
    return {"device": device} | target | ({"storage": request.storage} if request.storage else {})
