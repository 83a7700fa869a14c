"""A study: Optuna proposes, the judge judges, the store records; it can be stopped and resumed at any point.

The Optuna file is the truth of the search, the cache that of the measurements, MLflow the view that people browse.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from srnas.leaderboard import (
    Board,
    Store,
    StudyRecord,
    TrialRecord,
    hypervolume,
    non_dominated,
    rank,
    write_html,
    write_png,
)
from srnas.nas.judging import Judge
from srnas.nas.output import writing
from srnas.nas.samplers import make_sampler
from srnas.nas.settings import StudySettings
from srnas.profiling import DeviceBusyError
from srnas.search_space import Architecture, InputError, SearchSpace, human_designs

_DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
_TOLD = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
# Proposals in a row that were judged before, until an unseen neighbour is enqueued instead.
_MAX_REPEATS = 5
_MAX_DRAWS = 2000


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        board: The ranked trials.
        figures: PNG and HTML of the front.
        exhausted: Whether the space has no unseen architecture left.
    """

    board: Board
    figures: tuple[Path, ...]
    exhausted: bool


class Search:
    """One study in a workspace, held by one process at a time.

    Args:
        workspace: Folder of all files of the study.
        settings: Must equal those that an existing study of this name started with.
        space: Where candidates come from.

    Raises:
        InputError: If the study exists with other settings.
    """

    def __init__(self, workspace: Path, settings: StudySettings, space: SearchSpace) -> None:
        self.workspace = workspace
        self.settings = settings
        self.space = space
        self.designs = {design.key: name for name, design in human_designs(space).items()}
        self.study = self._open()

    def _open(self) -> optuna.Study:
        url = storage_url(self.workspace, self.settings.name)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=RDBStorage(url), study_name=self.settings.name, directions=_DIRECTIONS, load_if_exists=True
        )
        if "settings" in study.user_attrs:
            self.settings.check_same(StudySettings.model_validate_json(study.user_attrs["settings"]))
        else:
            study.set_user_attr("settings", self.settings.model_dump_json())
        study.sampler = make_sampler(
            self.settings.sampler, self.settings.name, self.settings.seed, len(study.get_trials(deepcopy=False))
        )
        return study

    @property
    def records(self) -> list[TrialRecord]:
        """The judged trials, in order."""
        return _records(self.study)

    def prepare(self, make_record: Callable[[], StudyRecord]) -> StudyRecord:
        """Return the study's record, made at its first start, and queue what must be judged first."""
        attributes = self.study.user_attrs
        if "study" not in attributes:
            record = make_record()
            for design in human_designs(self.space).values():
                self.study.enqueue_trial(self.space.params(design), skip_if_exists=True)
            self.study.set_user_attr("study", record.model_dump_json())
            return record
        self._requeue_interrupted()
        return StudyRecord.model_validate_json(attributes["study"])

    def _requeue_interrupted(self) -> None:
        """Queue again what was running when its process died; this process holds the study's lock."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "record" in trial.user_attrs:
                self._tell(TrialRecord.model_validate_json(trial.user_attrs["record"]))
                continue
            self.study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                self.study.enqueue_trial(trial.params)

    def run(self, judge: Judge, store: Store, record: StudyRecord, num_trials: int) -> Outcome:
        """Judge candidates until the study holds ``num_trials``, and write the outcome.

        Raises:
            KeyboardInterrupt: After the parent run is marked KILLED; every finished trial is kept.
            DeviceBusyError: The same, if another process holds the device for too long.
        """
        parent = store.open_study(record)
        written = store.written_trials(record)
        records = self.records
        for missing in (r for r in records if r.number not in written):
            store.write_trial(parent, record, missing)
        store.reopen(parent)
        judge.observer.on_start(len(records), self.settings.training.iterations)
        exhausted = False
        try:
            while len(records) < num_trials:
                proposal = self._next({r.genotype.key for r in records})
                if proposal is None:
                    exhausted = True
                    break
                records.append(self._judge(judge, *proposal))
                store.write_trial(parent, record, records[-1])
                store.log_progress(parent, records[-1].number, self._progress(record, records))
                judge.observer.on_record(records[-1], _on_front(records))
        except (KeyboardInterrupt, DeviceBusyError):
            store.close_study(parent, {}, (), killed=True)
            raise
        board = rank(record, store.rows(record))
        figures = write_figures(board, self.workspace / "figures")
        front = [int(number) for number in board.front["trial"]] if len(board.rows) else []
        keys = {r.number: r.genotype.key for r in records}
        store.add_weights(record, {number: judge.cache.weights(keys[number]) for number in front})
        store.close_study(parent, {"front_size": len(front), "hypervolume": board.hypervolume}, figures)
        return Outcome(board, figures, exhausted)

    def _next(self, judged: set[str]) -> tuple[optuna.Trial, Architecture] | None:
        """Return an unseen candidate, or ``None`` if none can be found."""
        repeats = 0
        while True:
            trial = self.study.ask()
            architecture = self.space.suggest(trial)
            if architecture.key not in judged:
                return trial, architecture
            trial.set_user_attr("duplicate", architecture.key)
            self.study.tell(trial, state=TrialState.PRUNED)
            repeats += 1
            if repeats >= _MAX_REPEATS:
                unseen = self._unseen(architecture, judged, trial.number)
                if unseen is None:
                    return None
                self.study.enqueue_trial(self.space.params(unseen))

    def _unseen(self, start: Architecture, judged: set[str], seed: int) -> Architecture | None:
        """Walk by mutation from ``start`` to an architecture that was not judged."""
        rng = random.Random(seed)
        for _ in range(_MAX_DRAWS):
            start = self.space.mutate(start, rng)
            if start.key not in judged:
                return start
        return None

    def _judge(self, judge: Judge, trial: optuna.Trial, architecture: Architecture) -> TrialRecord:
        design = self.designs.get(architecture.key, "")
        judge.observer.on_trial(trial.number, architecture, design)
        record = judge.judge(architecture, trial.number, design)
        trial.set_user_attr("record", record.model_dump_json())
        self._tell(record)
        return record

    def _tell(self, record: TrialRecord) -> None:
        state = _TOLD.get(record.state, TrialState.PRUNED)
        self.study.tell(record.number, list(record.point) if record.point else None, state=state)

    @staticmethod
    def _progress(study: StudyRecord, records: list[TrialRecord]) -> dict[str, float]:
        points = [record.point for record in records if record.point]
        reference = (study.reference_psnr_y_db, study.reference_latency_ms)
        return {"hypervolume": hypervolume(points, reference), "front_size": float(sum(non_dominated(points)))}


def _on_front(records: list[TrialRecord]) -> bool:
    """Return whether the last record is on the front of all."""
    if records[-1].point is None:
        return False
    return non_dominated([record.point for record in records if record.point])[-1]


def write_figures(board: Board, folder: Path) -> tuple[Path, ...]:
    """Write the front as PNG and HTML into ``folder``.

    Raises:
        InputError: If they cannot be written.
    """
    png, page = folder / f"{board.study.name}.png", folder / f"{board.study.name}.html"
    for path, write in ((png, write_png), (page, write_html)):
        with writing(path) as aside:
            write(board, aside)
    return png, page


def storage_url(workspace: Path, name: str) -> str:
    """Return the URL of a study's Optuna file."""
    return f"sqlite:///{(workspace / 'studies' / f'{name}.db').resolve()}"


def stored_settings(workspace: Path, name: str) -> tuple[StudySettings, int] | None:
    """Return the settings and the number of judged trials of an existing study; writes nothing."""
    if not (workspace / "studies" / f"{name}.db").is_file():
        return None
    try:
        storage = RDBStorage(storage_url(workspace, name), skip_table_creation=True)
        study = optuna.load_study(study_name=name, storage=storage)
    except (KeyError, StorageInternalError):  # Another process is about to create it, or was killed before it did.
        return None
    if "settings" not in study.user_attrs:
        return None
    judged = sum("record" in trial.user_attrs for trial in study.get_trials(deepcopy=False))
    return StudySettings.model_validate_json(study.user_attrs["settings"]), judged


def stored_records(workspace: Path, name: str) -> tuple[StudySettings, StudyRecord, list[TrialRecord]]:
    """Return settings, record and judged trials of an existing study; writes nothing.

    Raises:
        InputError: If the workspace holds no such study, or it has not started yet.
    """
    settings = stored_settings(workspace, name)
    if settings is None:
        raise InputError(f"workspace '{workspace}' must hold the file of study '{name}', but it does not.")
    storage = RDBStorage(storage_url(workspace, name), skip_table_creation=True)
    study = optuna.load_study(study_name=name, storage=storage)
    if "study" not in study.user_attrs:
        raise InputError(f"study '{name}' must have judged a trial, but it has not started yet.")
    return settings[0], StudyRecord.model_validate_json(study.user_attrs["study"]), _records(study)


def _records(study: optuna.Study) -> list[TrialRecord]:
    trials = study.get_trials(deepcopy=False)
    return [TrialRecord.model_validate_json(t.user_attrs["record"]) for t in trials if "record" in t.user_attrs]


@contextlib.contextmanager
def study_lock(workspace: Path, name: str) -> Iterator[None]:
    """Hold a study for this process.

    Raises:
        InputError: If another process holds it, or the workspace cannot be written.
    """
    folder = workspace / "studies"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"one process at a time must run study '{name}', but another does; wait or stop it.") from None
    except OSError as error:
        raise InputError(f"workspace '{workspace}' must be writable, but {error}; give another --workspace.") from None
    try:
        yield
    finally:
        lock.release()
