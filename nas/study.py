"""A study in an Optuna storage, shared by workers: each claims a candidate, judges it, and hands in its record.

Claims are made one at a time, proposals before them. Whatever a worker held when it died is known from the storage, and
claimed again.
"""

import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from srnas.leaderboard import Replicate, Rung, StudyRecord, TrialRecord
from srnas.nas.front_sampler import FrontSampler, Proposal
from srnas.nas.proposals import PartCounter, SpaceDomain
from srnas.nas.rungs import Decision, Halving, RungResult
from srnas.nas.samplers import FRONT, derived_seed, make_baseline
from srnas.nas.settings import StudySettings
from srnas.nas.storage import HEARTBEAT_S, critical, open_storage
from srnas.nas.stored import has_live_owner, is_stalled, owner, read_replicates
from srnas.profiling import BlockTable
from srnas.search_space import Architecture, SearchSpace, human_designs

_DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
_TOLD = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
# Proposals in a row that were judged before, until an unseen neighbour is enqueued instead.
_MAX_REPEATS = 5
_MAX_DRAWS = 2000
# A candidate that ends so many workers without a word is recorded as failed.
MAX_DEATHS = 3


@dataclass(frozen=True)
class Claim:
    """A candidate that this process judges.

    Attributes:
        number: Of the trial.
        architecture: The candidate.
        design: Name of the human design, if it is one.
        predictions: What was expected of it.
        trial: Optuna's.
    """

    number: int
    architecture: Architecture
    design: str
    predictions: dict[str, float]
    trial: optuna.Trial


class Standing(Enum):
    """Why there is nothing to claim: others judge what is left, the study has its total, or the space has no more."""

    WAIT = "wait"
    DONE = "done"
    EXHAUSTED = "exhausted"


class Search:
    """A study as its workers use it.

    Args:
        url: Of the storage.
        settings: Must equal those that an existing study of this name started with.
        space: Where candidates come from.
        table: Predicts latencies of proposals, if there is one.

    Raises:
        InputError: If the study exists with other settings.
        StorageInternalError: If the storage does not answer; as by every method.
    """

    def __init__(self, url: str, settings: StudySettings, space: SearchSpace, table: BlockTable | None = None) -> None:
        self.url = url
        self.settings = settings
        self.space = space
        self.table = table
        self._counter = PartCounter(settings.latency_input)
        self.designs = {design.key: name for name, design in human_designs(space).items()}
        self._parsed: dict[int, TrialRecord] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with critical(url, f"{settings.name}.claim"):
            self.storage = open_storage(url)
            self.study = optuna.create_study(
                storage=self.storage, study_name=settings.name, directions=_DIRECTIONS, load_if_exists=True
            )
            if "settings" in self.study.user_attrs:
                settings.check_same(StudySettings.model_validate_json(self.study.user_attrs["settings"]))
            else:
                self.study.set_user_attr("settings", settings.model_dump_json())

    @property
    def records(self) -> list[TrialRecord]:
        """The judged trials, in order."""
        return [self._record(trial) for trial in self._trials() if "record" in trial.user_attrs]

    @property
    def replicates(self) -> list[Replicate]:
        """What was trained again with other seeds."""
        return read_replicates(self.study)

    @property
    def total(self) -> int:
        """The number of trials that the study shall hold."""
        return int(self.study.user_attrs.get("total", 0))

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        if trial.number not in self._parsed:
            self._parsed[trial.number] = TrialRecord.model_validate_json(trial.user_attrs["record"])
        return self._parsed[trial.number]

    def begin(self, make_record: Callable[[], StudyRecord], **attributes: Any) -> StudyRecord:
        """Return the study's record, made at its first start, and queue what must be judged first.

        Args:
            make_record: Makes the record.
            **attributes: Kept with the study, in place of earlier ones.
        """
        with critical(self.url, f"{self.settings.name}.claim"):
            known = self.study.user_attrs
            for name, value in attributes.items():
                if known.get(name) != value:
                    self.study.set_user_attr(name, value)
            if "study" in known:
                return StudyRecord.model_validate_json(known["study"])
            record = make_record()
            for design in human_designs(self.space).values():
                self.study.enqueue_trial(self.space.params(design), skip_if_exists=True)
            self.study.set_user_attr("study", record.model_dump_json())
            return record

    def claim(self) -> Claim | Standing:
        """Return a candidate that no process has judged or judges, or why there is none."""
        ahead = self._ahead()
        with critical(self.url, f"{self.settings.name}.claim"):
            self._reap()
            judged, running = self._begun()
            if len(judged) + len(running) >= self.total or self._stalled():
                return Standing.WAIT if running else Standing.DONE
            keys = {self._record(trial).genotype.key for trial in judged}
            proposal = self._next(keys | {trial.user_attrs["key"] for trial in running}, ahead)
            if proposal is None:
                return Standing.WAIT if running else Standing.EXHAUSTED
            trial, architecture = proposal
            self.storage.record_heartbeat(trial._trial_id)
        predicted = self._trials()[trial.number].user_attrs.get("predicted", {})
        predictions = {f"surrogate.{name}": float(value) for name, value in predicted.items()}
        return Claim(trial.number, architecture, self.designs.get(architecture.key, ""), predictions, trial)

    def _begun(self) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the judged trials and those that are being judged."""
        trials = self._trials()
        judged = [trial for trial in trials if "record" in trial.user_attrs]
        return judged, [t for t in trials if t.state == TrialState.RUNNING and "record" not in t.user_attrs]

    @property
    def standing(self) -> Standing:
        """Why no worker has anything left to do."""
        done = len(self.records) >= self.total or self._stalled()
        return Standing.DONE if done else Standing.EXHAUSTED

    def _stalled(self) -> bool:
        return is_stalled(self.study, self.records)

    @property
    def study_record(self) -> StudyRecord:
        """What the trials are compared with."""
        return StudyRecord.model_validate_json(self.study.user_attrs["study"])

    def _ahead(self) -> Proposal[Architecture] | None:
        """Return the front sampler's proposal for the next claim: the others need not wait while it is made.

        What they claim meanwhile is not believed, but it is not claimed again.
        """
        if self.settings.sampler != FRONT or self._is_queued:
            return None
        judged, running = self._begun()
        if len(judged) + len(running) >= self.total or self._stalled():
            return None
        # What one worker does repeats; several must not propose the same.
        return self._front(str(owner()) if running else "").propose(self.study)

    @property
    def _is_queued(self) -> bool:
        return any(trial.state == TrialState.WAITING for trial in self._trials())

    def _next(self, taken: set[str], ahead: Proposal[Architecture] | None) -> tuple[optuna.Trial, Architecture] | None:
        """Return an unseen candidate, or ``None`` if none can be found."""
        repeats = 0
        while True:
            if self.settings.sampler == FRONT and not self._is_queued:
                if ahead is None or ahead.candidate.key in taken:
                    ahead = self._front().propose(self.study)
                trial, architecture = self._start(ahead)
            else:
                trial, architecture = self._ask()
            if architecture.key not in taken:
                return trial, architecture
            trial.set_user_attr("duplicate", architecture.key)
            self.study.tell(trial, state=TrialState.PRUNED)
            repeats += 1
            if repeats >= _MAX_REPEATS:
                unseen = self._unseen(architecture, taken, trial.number)
                if unseen is None:
                    return None
                self.study.enqueue_trial(self.space.params(unseen))

    def _ask(self) -> tuple[optuna.Trial, Architecture]:
        """Return the next trial in the queue, or what a baseline proposes."""
        name = "random" if self.settings.sampler == FRONT else self.settings.sampler
        self.study.sampler = make_baseline(name, self._seed())
        with warnings.catch_warnings():  # Heartbeats are sent by whoever judges it.
            warnings.filterwarnings("ignore", "Heartbeat of storage")
            trial = self.study.ask()
        architecture = self.space.suggest(trial)
        for name, value in _held(architecture).items():
            trial.set_user_attr(name, value)
        return trial, architecture

    def _start(self, proposal: Proposal[Architecture]) -> tuple[optuna.Trial, Architecture]:
        """Return a proposal as a trial, written at once: parameters one by one take longer than all else in a claim."""
        answers = self.space.answers(proposal.candidate)
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params={name: value for name, (value, _) in answers.items()},
            distributions={name: CategoricalDistribution(choices) for name, (_, choices) in answers.items()},
            user_attrs={"predicted": proposal.predicted, **_held(proposal.candidate)},
        )
        trial_id = self.storage.create_new_trial(self.study._study_id, template)
        return optuna.Trial(self.study, trial_id), proposal.candidate

    def _seed(self, worker: str = "") -> int:
        return derived_seed(self.settings.name, self.settings.seed, len(self._trials()), worker)

    def _front(self, worker: str = "") -> FrontSampler[Architecture]:
        """Return the front sampler: what it knows is in the storage, whoever proposes."""
        study, records = self.study_record, self.records
        measured = {record.genotype: record.latency.stable_ms for record in records if record.latency}
        return FrontSampler(
            SpaceDomain(self.space, self.settings.budgets, self._counter, measured, self.table),
            seed=self._seed(worker),
            reference_point=(study.reference_psnr_y_db, study.reference_latency_ms),
            partial=self._first_rung,
        )

    def _first_rung(self, trial: FrozenTrial) -> float | None:
        """Return a trial's PSNR at the first rung, if it got there."""
        result = self._at(trial, self.settings.training.rung_iterations[0])
        return result.psnr_db if result else None

    def _unseen(self, start: Architecture, taken: set[str], seed: int) -> Architecture | None:
        """Walk by mutation from ``start`` to an architecture that was not judged."""
        rng = random.Random(seed)
        for _ in range(_MAX_DRAWS):
            start = self.space.mutate(start, rng)
            if start.key not in taken:
                return start
        return None

    def _reap(self) -> None:
        """End the trials of dead workers: what was judged is told, what was not is queued again."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        stale = self.storage._get_stale_trial_ids(self.study._study_id) if running else ()
        for trial in running:
            held = trial.user_attrs.get("owner")  # Without one, its worker died while it asked.
            mine = held == owner()  # This process judges nothing while it claims.
            if mine or trial._trial_id in stale or not has_live_owner(trial):
                self._bury(trial, _deaths(trial) + (held is not None))

    def _bury(self, trial: FrozenTrial, deaths: int) -> None:
        params = trial.system_attrs.get("fixed_params", {}) | trial.params
        if "record" not in trial.user_attrs and deaths >= MAX_DEATHS:
            reason = f"{deaths} processes died while they judged it"
            record = self._lost(trial, reason).model_dump_json()
            self.storage.set_trial_user_attr(trial._trial_id, "record", record)
            self.study.tell(trial.number, state=TrialState.FAIL)
        elif "record" in trial.user_attrs:
            self._tell(self._record(trial))
        else:
            self.study.tell(trial.number, state=TrialState.FAIL)
            if params:
                self.study.enqueue_trial(params, user_attrs={"deaths": deaths})

    def _lost(self, trial: FrozenTrial, reason: str) -> TrialRecord:
        architecture = self.space.suggest(optuna.trial.FixedTrial(trial.params))
        return TrialRecord(
            study=self.settings.name,
            number=trial.number,
            state="failed",
            reason=reason,
            architecture=architecture.to_dict(),
            design=self.designs.get(architecture.key, ""),
            protocol=self.settings.protocol,
            validation=self.study_record.validation,
        )

    def finish(self, claim: Claim, record: TrialRecord) -> bool:
        """Hand in a record; ``False`` if the trial was taken from this worker meanwhile."""
        with suppress(UpdateFinishedTrialError):
            if "record" not in claim.trial.user_attrs:
                claim.trial.set_user_attr("record", record.model_dump_json())
            self._tell(record)
        return "record" in self._trials()[claim.number].user_attrs

    def release(self, claim: Claim) -> None:
        """Give a candidate back that was not judged."""
        with critical(self.url, f"{self.settings.name}.claim"), suppress(UpdateFinishedTrialError):
            trial = self._trials()[claim.number]
            self._bury(trial, _deaths(trial))

    def _tell(self, record: TrialRecord) -> None:
        state = _TOLD.get(record.state, TrialState.PRUNED)
        self.study.tell(record.number, list(record.point) if record.point else None, state=state, skip_if_finished=True)

    def at_rung(self, claim: Claim, rung: Rung, latency_ms: float) -> Decision:
        """Note a candidate's result at a rung, and decide whether it goes on."""
        rungs = claim.trial.user_attrs.get("rungs", {}) | {str(rung.iteration): [rung.psnr_y_db, latency_ms]}
        claim.trial.set_user_attr("rungs", rungs)
        if self.settings.rungs == "none":
            return Decision(survives=True, reason="")
        newcomer = RungResult(claim.architecture.key, rung.psnr_y_db, latency_ms)
        others = [result for trial in self._trials() if (result := self._at(trial, rung.iteration))]
        return Halving().decide(newcomer, others, rung.iteration)

    def _at(self, trial: FrozenTrial, iteration: int) -> RungResult | None:
        """Return what a trial had reached at an iteration, whether it is judged or still trained."""
        if str(iteration) in (rungs := trial.user_attrs.get("rungs", {})):
            return RungResult(trial.user_attrs["key"], *rungs[str(iteration)])
        if "record" not in trial.user_attrs or (record := self._record(trial)).latency is None:
            return None
        psnr = next((rung.psnr_y_db for rung in record.rungs if rung.iteration == iteration), None)
        return None if psnr is None else RungResult(record.genotype.key, psnr, record.latency.stable_ms)

    def add_replicate(self, replicate: Replicate) -> None:
        """Keep what was trained again."""
        self.study.set_user_attr(f"replicate {replicate.number} {replicate.seed}", replicate.model_dump_json())

    @contextmanager
    def heartbeat(self, claim: Claim) -> Iterator[None]:
        """Tell the storage that this process lives, as long as it judges a candidate."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_S):
                with suppress(StorageInternalError):  # Whoever needs the storage next says so.
                    self.storage.record_heartbeat(claim.trial._trial_id)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _held(architecture: Architecture) -> dict[str, Any]:
    """Return what tells of a trial that this process judges it."""
    return {"key": architecture.key, "owner": owner()}


def _deaths(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("deaths", 0))
