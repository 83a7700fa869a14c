"""A study that has started, by its name."""

from typing import NamedTuple

from srnas.leaderboard.rank.front import front_numbers
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.study.settings import StudySettings
from srnas.nas.study.snapshot import Snapshot, StoredTrial
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import Architecture, InputError, SearchSpace


class BegunStudy(NamedTuple):
    """What a study holds.

    Attributes:
        settings: Settings that the study was started with.
        study: What its trials are compared with.
        records: Judged trials of the study, in order.
    """

    settings: StudySettings
    study: StudyRecord
    records: tuple[TrialRecord, ...]


def load_snapshot(workspace: Workspace, name: str, storage: str | None = None) -> Snapshot:
    """Return all that is stored of an existing study; writes nothing.

    Raises:
        InputError: If there is no such study, or it cannot be read.
    """
    stored = StoredStudy.find(workspace.study_url(name, storage), name)
    if stored is None:
        raise InputError(f"workspace '{workspace}' must hold the file of study '{name}', but it does not.")
    known = stored.snapshot()
    known.check_usable()
    return known


def load_trials(workspace: Workspace, name: str, storage: str | None = None) -> tuple[StoredTrial, ...]:
    """Return the trials of an existing study as they are stored; writes nothing.

    Raises:
        InputError: If there is no such study.
    """
    return load_snapshot(workspace, name, storage).trials


def load_study(workspace: Workspace, name: str, storage: str | None = None) -> BegunStudy:
    """Return what an existing study holds; writes nothing.

    Raises:
        InputError: If there is no such study, or it has not started yet.
    """
    return begun(load_snapshot(workspace, name, storage))


def begun(known: Snapshot) -> BegunStudy:
    """Return what a study holds.

    Raises:
        InputError: If it has not started yet.
    """
    if known.settings is None or known.study is None:
        raise InputError(f"study '{known.name}' must have judged a trial, but it has not started yet.")
    return BegunStudy(known.settings, known.study, known.records)


def load_front(workspace: Workspace, name: str, space: SearchSpace, storage: str | None = None) -> list[Architecture]:
    """Return the networks on the front of an existing study; writes nothing.

    Raises:
        InputError: If there is no such study, it has no front yet, or a space does not hold one of these networks.
    """
    ranked = load_snapshot(workspace, name, storage).ranked
    front = front_numbers(ranked)
    networks = [record.architecture for record in ranked if record.number in front]
    if not networks:
        raise InputError(f"study '{name}' must have a front, but it has trained no network yet.")
    if outside := next((one for one in networks if not space.contains(one)), None):
        raise InputError(
            f"space '{space.name}' at scale {space.scale} must hold the front of study '{name}', but it does not hold "
            f"{outside}; search in the space and scale of that study."
        )
    return networks
