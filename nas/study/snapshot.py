"""The content of a study at one moment; reading it does not touch the storage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from optuna.trial import FrozenTrial, TrialState

from srnas.leaderboard.rank.curve import hypervolume_curve
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.timed_quality import TimedQuality, as_hoped, as_ranked, over_seeds, replicates_as_ranked
from srnas.leaderboard.record.timing import JointTiming
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.nas.study.owner import Owner
from srnas.nas.study.settings import StudySettings
from srnas.search_space import InputError


@dataclass(frozen=True)
class StoredTrial:
    """A trial as it is stored.

    Attributes:
        trial: The trial in Optuna.
        record: Record of the trial as it was judged; ``None`` until then.
        key: Key of the candidate's network; empty before it is known, and if another trial has that network.
        owner: The process that judges it, or did; ``None`` if it died before it said so.
        deaths: Number of processes that died while they judged this candidate.
        rungs: Reached PSNR in dB and latency of the fastest round in ms, by iteration.
        predicted: What the sampler expected of the candidate, by name of the figure.
    """

    trial: FrozenTrial
    record: TrialRecord | None
    key: str
    owner: Owner | None
    deaths: int
    rungs: dict[int, tuple[float, float]]
    predicted: dict[str, float]

    @property
    def number(self) -> int:
        """The trial's number in the study."""
        return self.trial.number

    @property
    def is_running(self) -> bool:
        """Whether the trial was begun and is not judged yet."""
        return self.trial.state == TrialState.RUNNING and self.record is None

    @property
    def was_given_back(self) -> bool:
        """Whether the trial has ended without a record; its candidate has another one then."""
        return self.trial.state == TrialState.FAIL and self.record is None

    @property
    def is_queued(self) -> bool:
        """Whether the trial waits to be begun."""
        return self.trial.state == TrialState.WAITING


@dataclass(frozen=True)
class Snapshot:
    """What a study held at one moment.

    Attributes:
        name: The study's name.
        settings: Settings that the study was started with; ``None`` before it has begun.
        study: What its trials are compared with; ``None`` before it has begun.
        total: The number of trials that it shall hold.
        patience: Number of trials without a rise of the hypervolume after which the study ends; ``None``: it goes on.
        request: What the user asked for when it was started or extended last, as JSON.
        trained_again: What was trained with other seeds.
        failed_again: Numbers of the trials and seeds that could not be trained with these seeds.
        deaths_again: Number of processes that died in such a training, by number of the trial and seed.
        longer: PSNR in dB that networks have reached in longer trainings, by iterations and key.
        timed: What networks score in the data type that is timed, by number of the trial and seed.
        joint: What was timed together at the end; ``None`` before.
        concluded: The extent of the study when its figures were drawn and MLflow had all of it.
        trials: All trials of the study, in order.
        damaged: Whether settings or record of the study are there but cannot be read.
    """

    name: str
    settings: StudySettings | None
    study: StudyRecord | None
    total: int
    patience: int | None
    request: str
    trained_again: tuple[Replicate, ...]
    failed_again: frozenset[tuple[int, int]]
    deaths_again: Mapping[tuple[int, int], int]
    longer: Mapping[int, Mapping[str, float]]
    timed: Mapping[tuple[int, int], TimedQuality]
    joint: JointTiming | None
    concluded: str
    trials: tuple[StoredTrial, ...]
    damaged: bool = False

    def check_usable(self) -> None:
        """Raise ``InputError`` if the study cannot be continued, since its settings cannot be read."""
        if self.damaged:
            raise InputError(
                f"the settings of study '{self.name}' must be readable, but they are damaged or of another version; "
                f"'srnas studies rm {self.name}' removes the study, or give another --study."
            )

    @cached_property
    def records(self) -> tuple[TrialRecord, ...]:
        """The judged trials, in order; what was timed together has its latency of that run, and its scores as timed."""
        records = tuple(map(self.joint.of, self.as_judged)) if self.joint else self.as_judged
        if self.settings is None or not self.timed:
            return records
        own = {number: scores for (number, seed), scores in self.timed.items() if seed == self.settings.training.seed}
        return tuple(own[one.number].of(one) if one.number in own else one for one in records)

    @cached_property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """The same with the scores that the front ranks, or none where it has none of a trial."""
        return self._scored(as_ranked)

    @cached_property
    def hoped(self) -> tuple[TrialRecord, ...]:
        """The same with the scores of its training for a trial that was not scored as it is timed yet."""
        return self._scored(as_hoped)

    def _scored(
        self, scores: Callable[[StudyRecord, Sequence[TrialRecord]], list[TrialRecord]]
    ) -> tuple[TrialRecord, ...]:
        if self.study is None:
            return self.records
        return tuple(over_seeds(scores(self.study, self.records), replicates_as_ranked(self.study, self.replicates)))

    @cached_property
    def replicates(self) -> tuple[Replicate, ...]:
        """What was trained again with other seeds, with its scores as timed."""
        known = {place: scores.quality for place, scores in self.timed.items()}
        return tuple(
            one.model_copy(update={"timed_quality": known.get((one.number, one.seed))}) for one in self.trained_again
        )

    @property
    def extent(self) -> str:
        """What tells whether anything was added to the study."""
        joint = self.joint.ended_ms if self.joint else 0
        return f"{len(self.records)} trials, {len(self.tried_again)} again, {len(self.timed)} as timed, joint {joint}"

    @property
    def tried_again(self) -> set[tuple[int, int]]:
        """Numbers of the trials and seeds that were trained again, or could not be."""
        return {(one.number, one.seed) for one in self.trained_again} | self.failed_again

    @cached_property
    def as_judged(self) -> tuple[TrialRecord, ...]:
        """The judged trials, in order, each with the latency that it was judged by."""
        return tuple(trial.record for trial in self.trials if trial.record is not None)

    @cached_property
    def running(self) -> tuple[StoredTrial, ...]:
        """The trials that are being judged."""
        return tuple(trial for trial in self.trials if trial.is_running)

    @property
    def is_queued(self) -> bool:
        """Whether candidates wait to be begun."""
        return any(trial.is_queued for trial in self.trials)

    @property
    def taken(self) -> set[str]:
        """Keys of what is judged or being judged."""
        return {record.architecture.key for record in self.records} | {trial.key for trial in self.running}

    @property
    def is_stalled(self) -> bool:
        """Whether the hypervolume has not risen for as many trials as is the study's patience."""
        return self.has_come_to_rest(self.patience)

    def has_come_to_rest(self, patience: int | None) -> bool:
        """Return whether the hypervolume has not risen for so many trials."""
        if patience is None or self.study is None:
            return False
        # Latencies of the end must not set a study going again that had come to rest.
        return since_rise(self.study, self.as_judged) >= patience

    @property
    def is_full(self) -> bool:
        """Whether no further trial is to be begun."""
        return len(self.records) + len(self.running) >= self.total or self.is_stalled

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to judge."""
        return len(self.records) >= self.total or self.is_stalled


def since_rise(study: StudyRecord, records: Sequence[TrialRecord]) -> int:
    """Return how many trials have ended since the hypervolume rose last."""
    volumes = [point.hypervolume for point in hypervolume_curve(study, records)]
    best = max(volumes, default=0.0)
    return len(volumes) - 1 - volumes.index(best) if best > 0 else len(volumes)
