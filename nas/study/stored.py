"""The one place that reads and writes a study in its storage, every key with its type."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Self, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from srnas.leaderboard.record.base import Record
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.timed_quality import TimedQuality
from srnas.leaderboard.record.timing import JointTiming
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.nas import optuna_private
from srnas.nas.strategy.front_sampler import PREDICTED
from srnas.nas.study.owner import Owner
from srnas.nas.study.settings import StudySettings
from srnas.nas.study.snapshot import Snapshot, StoredTrial
from srnas.nas.study.storage import exists, has_no_tables, open_storage

R = TypeVar("R", bound=Record)

_DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)

# Keys of a study, as JSON but for the numbers; a replicate's key goes on with its trial and its seed, as do those of
# why it failed, of how often its process died, and of scores in the data type that is timed; that of longer trainings
# goes on with their length.
_SETTINGS, _STUDY, _REQUEST, _TOTAL, _PATIENCE = "settings", "study", "request", "total", "patience"
_REPLICATE, _FAILED, _DIED, _LONGER, _TIMED = "replicate ", "failed ", "died ", "longer ", "timed "
_JOINT, _CONCLUDED = "joint", "concluded"
# Keys of a trial.
_RECORD, _KEY, _OWNER, _DEATHS, _RUNGS, _DUPLICATE = "record", "key", "owner", "deaths", "rungs", "duplicate"

# How a judged trial ends in Optuna; every other state is pruned.
_TOLD = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}


class StoredStudy:
    """A study in its storage.

    Every method asks the storage, and raises ``StorageInternalError`` if that does not answer.

    Args:
        study: Optuna's.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self._parsed: dict[int, TrialRecord | None] = {}

    @classmethod
    def find(cls, url: str, name: str) -> Self | None:
        """Return an existing study; writes nothing.

        Raises:
            StorageInternalError: If the storage does not answer, or another program holds its file.
        """
        if not exists(url):
            return None
        try:
            return cls(optuna.load_study(study_name=name, storage=open_storage(url, create=False)))
        except KeyError:  # Another process is about to create it, or was killed before it did.
            return None
        except StorageInternalError as error:
            if not has_no_tables(error):
                raise
            return None

    @classmethod
    def create(cls, url: str, name: str) -> Self:
        """Return the study of a name, made if there is none."""
        storage = open_storage(url)
        return cls(optuna.create_study(storage=storage, study_name=name, directions=_DIRECTIONS, load_if_exists=True))

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study_name

    def snapshot(self) -> Snapshot:
        """Return what the study holds now."""
        kept = self.study.user_attrs
        patience = kept.get(_PATIENCE)
        timed = {(one.number, one.seed): one for one in _read_all(TimedQuality, kept, _TIMED, self.name)}
        settings = _settings(kept[_SETTINGS]) if _SETTINGS in kept else None
        study = StudyRecord.read(kept[_STUDY], f"the record of study '{self.name}'") if _STUDY in kept else None
        return Snapshot(
            name=self.name,
            settings=settings,
            study=study,
            damaged=(_SETTINGS in kept and settings is None) or (_STUDY in kept and study is None),
            total=int(kept.get(_TOTAL, 0)),
            patience=None if patience is None else int(patience),
            request=str(kept.get(_REQUEST, "")),
            trained_again=tuple(_read_all(Replicate, kept, _REPLICATE, self.name)),
            failed_again=frozenset(_place(key) for key in kept if key.startswith(_FAILED)),
            deaths_again={_place(key): int(value) for key, value in kept.items() if key.startswith(_DIED)},
            timed=timed,
            longer={int(key.removeprefix(_LONGER)): value for key, value in kept.items() if key.startswith(_LONGER)},
            joint=_joint(kept[_JOINT], self.name) if _JOINT in kept else None,
            concluded=str(kept.get(_CONCLUDED, "")),
            trials=self.trials(),
        )

    def trials(self) -> tuple[StoredTrial, ...]:
        """Return all trials as they are now, in order."""
        # Nothing here changes a trial, and copies of all of them take longer than reading them.
        return tuple(self._trial(trial) for trial in self.study.get_trials(deepcopy=False))

    def _trial(self, trial: FrozenTrial) -> StoredTrial:
        kept = trial.user_attrs
        return StoredTrial(
            trial=trial,
            record=self._record(trial),
            key="" if _DUPLICATE in kept else kept.get(_KEY, ""),
            owner=Owner.parse(kept[_OWNER]) if _OWNER in kept else None,
            deaths=int(kept.get(_DEATHS, 0)),
            rungs={int(iteration): tuple(reached) for iteration, reached in kept.get(_RUNGS, {}).items()},
            predicted=dict(kept.get(PREDICTED, {})),
        )

    def _record(self, trial: FrozenTrial) -> TrialRecord | None:
        # A kept record does not change, so that each is parsed once.
        if _RECORD in trial.user_attrs and trial.number not in self._parsed:
            what = f"trial {trial.number} of study '{self.name}'"
            self._parsed[trial.number] = TrialRecord.read(trial.user_attrs[_RECORD], what)
        return self._parsed.get(trial.number)

    def keep_settings(self, settings: StudySettings) -> None:
        """Keep what the study is started with."""
        self.study.set_user_attr(_SETTINGS, settings.model_dump_json())

    def keep_study(self, study: StudyRecord) -> None:
        """Keep what the trials are compared with; the study has begun then."""
        self.study.set_user_attr(_STUDY, study.model_dump_json())

    def keep_wishes(self, *, total: int, patience: int | None, request: str) -> None:
        """Keep what is asked of the study now, in place of what was asked before."""
        known = self.study.user_attrs
        for key, value in ((_TOTAL, total), (_PATIENCE, patience), (_REQUEST, request)):
            if known.get(key) != value:
                self.study.set_user_attr(key, value)

    def keep_replicate(self, replicate: Replicate) -> None:
        """Keep what was trained again."""
        self.study.set_user_attr(f"{_REPLICATE}{replicate.number} {replicate.seed}", replicate.model_dump_json())

    def keep_failed(self, number: int, seed: int, reason: str) -> None:
        """Keep why a trial could not be trained again with a seed."""
        self.study.set_user_attr(f"{_FAILED}{number} {seed}", reason)

    def keep_deaths(self, number: int, seed: int, deaths: int) -> None:
        """Keep how many processes died while they trained a trial again with a seed."""
        self.study.set_user_attr(f"{_DIED}{number} {seed}", deaths)

    def keep_timed(self, scores: TimedQuality) -> None:
        """Keep what a trained network scores in the data type that is timed."""
        self.study.set_user_attr(f"{_TIMED}{scores.number} {scores.seed}", scores.model_dump_json())

    def keep_longer(self, iterations: int, psnr_db: Mapping[str, float]) -> None:
        """Keep what networks have reached in a longer training, by key, in place of what was before."""
        self.study.set_user_attr(f"{_LONGER}{iterations}", dict(psnr_db))

    def keep_joint(self, joint: JointTiming) -> None:
        """Keep what was timed together, in place of what was before."""
        self.study.set_user_attr(_JOINT, joint.model_dump_json())

    def keep_concluded(self, extent: str) -> None:
        """Keep what the study held when its figures were drawn and MLflow had all of it."""
        self.study.set_user_attr(_CONCLUDED, extent)

    def keep_rung(self, trial: optuna.Trial, iteration: int, psnr_db: float, fastest_ms: float) -> None:
        """Keep what a trial has reached at a rung."""
        trial.set_user_attr(_RUNGS, trial.user_attrs.get(_RUNGS, {}) | {str(iteration): [psnr_db, fastest_ms]})

    def enqueue(self, params: Mapping[str, Any], **attributes: Any) -> None:
        """Queue a candidate, with what its trial shall say of it."""
        self.study.enqueue_trial(dict(params), user_attrs=attributes)

    def enqueue_once(self, params: Mapping[str, Any]) -> None:
        """Queue a candidate that the study does not hold yet."""
        self.study.enqueue_trial(dict(params), skip_if_exists=True)

    def hold(self, trial: optuna.Trial, key: str) -> None:
        """Say of a trial which network it is, and that this process judges it."""
        for name, value in held(key).items():
            trial.set_user_attr(name, value)

    def beat(self, trial: optuna.Trial) -> None:
        """Say that whoever judges a trial lives."""
        optuna_private.beat(self.study, trial)

    def silent(self, trials: Sequence[StoredTrial]) -> set[int]:
        """Return the numbers of those running trials whose judges have said nothing for too long."""
        return {trial.number for trial in optuna_private.silent(self.study, [trial.trial for trial in trials])}

    def drop_duplicate(self, trial: optuna.Trial, key: str) -> None:
        """End a trial whose network the study holds already."""
        trial.set_user_attr(_DUPLICATE, key)
        self.study.tell(trial, state=TrialState.PRUNED)

    def give_back(self, trial: StoredTrial, deaths: int) -> None:
        """End a running trial that nobody judges any more: its record is told, or its candidate is queued again."""
        if trial.record is not None:
            # Its worker died after it had kept the record and before it ended the trial.
            self.tell(trial.record)
            return
        # Optuna puts no running trial back into its queue: the candidate is enqueued as a new one, and that first.
        # Whoever dies in between leaves it there twice, of which one is dropped.
        # A trial whose worker died early lacks parameters that it was enqueued with.
        if params := trial.trial.system_attrs.get("fixed_params", {}) | trial.trial.params:
            self.enqueue(params, **{_DEATHS: deaths, PREDICTED: trial.predicted})
        self._fail(trial)

    def finish(self, trial: optuna.Trial, record: TrialRecord) -> None:
        """Keep a trial's record, unless it has one, and end it.

        Raises:
            UpdateFinishedTrialError: If it was ended meanwhile.
        """
        if _RECORD not in trial.user_attrs:
            trial.set_user_attr(_RECORD, record.model_dump_json())
        self.tell(record)

    def bury(self, trial: StoredTrial, record: TrialRecord) -> None:
        """Keep the record of a trial that nobody judges any more, and end it."""
        optuna_private.set_attributes(self.study, trial.trial, {_RECORD: record.model_dump_json()})
        self._fail(trial)

    def _fail(self, trial: StoredTrial) -> None:
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def tell(self, record: TrialRecord) -> None:
        """End a trial in Optuna as its record says; a trial that has ended stays as it is."""
        values = list(record.point) if record.point else None
        state = _TOLD.get(record.state, TrialState.PRUNED)
        self.study.tell(record.number, values, state=state, skip_if_finished=True)


def _read_all(kind: type[R], kept: Mapping[str, Any], start: str, name: str) -> list[R]:
    """Return the records of a study whose keys start so."""
    found = (kind.read(value, f"'{key}' of study '{name}'") for key, value in kept.items() if key.startswith(start))
    return [one for one in found if one is not None]


def _place(key: str) -> tuple[int, int]:
    """Return the number of the trial and the seed that a key ends with."""
    number, seed = key.split()[-2:]
    return int(number), int(seed)


@lru_cache(maxsize=1)
def _joint(text: str, name: str) -> JointTiming | None:
    """Return what was timed together; it holds every round, and a study is read again and again."""
    return JointTiming.read(text, f"the timing of the front of study '{name}'")


def _settings(text: str) -> StudySettings | None:
    """Return settings, or ``None`` if they cannot be read, or are of a version that knew others."""
    try:
        return StudySettings.model_validate_json(text)
    except ValidationError:
        return None


def held(key: str) -> dict[str, Any]:
    """Return the attributes of a trial that this process judges."""
    return {_KEY: key, _OWNER: Owner.this().plain()}
