"""How a search reports its progress."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from srnas.leaderboard.record.trials import Replicate, Rung, TrialRecord
from srnas.nas.training.loop import TrainingProgress
from srnas.search_space import Architecture

if TYPE_CHECKING:
    from srnas.leaderboard.rank.board import Board


class Observer:
    """Receives the progress of a search; override the methods that you need."""

    def on_note(self, text: str) -> None:
        """Say something once."""

    def on_start(self, judged: int, iterations: int, total: int | None = None) -> None:
        """The search starts with some trials already judged; a candidate is trained for ``iterations`` steps."""

    def on_trial(self, number: int, architecture: Architecture, design: str) -> None:
        """A candidate is about to be judged."""

    def on_stage(self, stage: str) -> None:
        """A candidate enters ``counting``, ``timing``, ``training`` or ``judging``."""

    def on_step(self, progress: TrainingProgress) -> None:
        """Training has advanced."""

    def on_rung(self, rung: Rung) -> None:
        """The candidate was judged during training."""

    def on_record(self, record: TrialRecord, on_front: bool) -> None:
        """A candidate was judged."""

    def on_replicates(self, left: int) -> None:
        """So many trainings with other seeds follow."""

    def on_replicate(self, record: TrialRecord, again: Replicate) -> None:
        """The network of a trial was trained again with another seed."""

    def on_board(self, board: "Board") -> None:
        """All candidates of one length are judged; longer trainings follow."""

    def on_validation(self, iteration: int, psnr_y_db: Mapping[str, float]) -> None:
        """A training on the long schedule was validated on sets."""
