"""Records of a training on the long schedule, before it starts and after it has ended."""

import math
from typing import Any

from srnas.leaderboard.record.base import Record, StoredArchitecture
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, TrialRecord

# Relative difference of one set's bicubic PSNR between machines.
_SAME = 1e-6


class FinalRecord(Record):
    """A training of a chosen architecture on the long schedule, before it starts.

    Attributes:
        architecture: What is trained.
        protocol: Hash of everything that the weights depend on.
        config: Schedule, data, seed, precision, by name.
        bicubic: Scores of bicubic upscaling, by name of the validation set.
        study: Name of the newest study that judged the architecture, or nothing.
        trial: Number of the trial in that study that judged it, if one did.
    """

    architecture: StoredArchitecture
    protocol: str
    config: dict[str, Any]
    bicubic: dict[str, Quality]
    study: str = ""
    trial: int | None = None

    @property
    def experiment(self) -> str:
        """The MLflow experiment that holds the training."""
        return f"sr-x{self.architecture.scale}/final"


class FinalResult(Record):
    """What a training on the long schedule gave.

    Attributes:
        record: What was trained, and how.
        quality: Scores of the network, by name of the validation set.
        train_s: Seconds spent in training steps.
        ended_ms: Unix time of its end in milliseconds; ``None`` of what was trained before this was kept.
    """

    record: FinalRecord
    quality: dict[str, Quality]
    train_s: float
    ended_ms: int | None = None

    def outdone_by(self, study: StudyRecord, trial: TrialRecord) -> bool:
        """Return whether a trial scored better on photographs that this training was validated on as well."""
        return trial.quality is not None and any(
            scores.images == trial.quality.images
            and math.isclose(self.record.bicubic[name].mean_psnr_y_db, study.bicubic_psnr_y_db, rel_tol=_SAME)
            and scores.mean_psnr_y_db < trial.quality.mean_psnr_y_db
            for name, scores in self.quality.items()
        )
