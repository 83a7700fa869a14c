"""What is recorded of a trained network in the data type that is timed, and which scores a front ranks.

In another type than float32 a network gives something else than what was trained. A study that is timed in such a type
ranks a network by its own scores there, and none that has no such scores. A network that was trained with several seeds
ranks by the mean over its trainings.
"""

from collections.abc import Iterable

from srnas.leaderboard.record.base import Record
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, Replicate, TrialRecord


class TimedQuality(Record):
    """A trained network as it is timed: run by the runtime, in the data type of the target.

    Attributes:
        number: Number of its trial in the study.
        seed: Seed of its training.
        dtype: The data type.
        runtime: Name and version of what ran it.
        quality: Its scores, without SSIM; ``None`` where it could not be run.
        reason: Why there are none, in words.
    """

    number: int
    seed: int
    dtype: str
    runtime: str
    quality: Quality | None = None
    reason: str = ""

    def of(self, trial: TrialRecord) -> TrialRecord:
        """Return its trial with these scores."""
        reason = f"no PSNR in {self.dtype}: {self.reason}" if self.quality is None else ""
        return trial.model_copy(update={"timed_quality": self.quality, "timed_reason": reason})


def as_ranked(study: StudyRecord, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return trials with the scores that the front of their study ranks; a trial that lacks them has none."""
    if not study.ranks_timed:
        return list(trials)
    return [trial.model_copy(update={"quality": trial.timed_quality}) for trial in trials]


def as_hoped(study: StudyRecord, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the same, but with the scores of its training for a trial whose own were not looked for yet.

    It can hardly have more: what such a trial could not reach with these, it reaches with none.
    """
    if not study.ranks_timed:
        return list(trials)
    return [
        trial.model_copy(update={"quality": trial.timed_quality})
        if trial.timed_quality or trial.timed_reason
        else trial
        for trial in trials
    ]


def over_seeds(trials: Iterable[TrialRecord], replicates: Iterable[Replicate]) -> list[TrialRecord]:
    """Return trials with the mean scores over their trainings, by which a front ranks them."""
    trials = list(trials)
    found = qualities_by_seed(trials, replicates)
    return [
        trial.model_copy(update={"quality": Quality.mean_of(found[trial.number])})
        if len(found.get(trial.number, ())) > 1
        else trial
        for trial in trials
    ]


def qualities_by_seed(trials: Iterable[TrialRecord], replicates: Iterable[Replicate]) -> dict[int, list[Quality]]:
    """Return the scores of the trainings of each trial that has any, by its number: its own, then its replicates'."""
    found = {trial.number: [trial.quality] for trial in trials if trial.quality}
    for replicate in replicates:
        if replicate.number in found:
            found[replicate.number].append(replicate.quality)
    return found


def replicates_as_ranked(study: StudyRecord, replicates: Iterable[Replicate]) -> list[Replicate]:
    """Return what was trained again with the scores that the front ranks; without them it is left out."""
    if not study.ranks_timed:
        return list(replicates)
    return [one.model_copy(update={"quality": one.timed_quality}) for one in replicates if one.timed_quality]
