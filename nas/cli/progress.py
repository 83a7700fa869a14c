"""The progress of searches and trainings: a line per candidate or validation, and bars."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from srnas.leaderboard.rank.board import Board
from srnas.leaderboard.record.trials import Replicate, Rung, TrialRecord
from srnas.leaderboard.show.table import board_summary, board_table
from srnas.nas.judging.observer import Observer
from srnas.nas.training import loop as training
from srnas.search_space import Architecture


class _Bars(Observer):
    """Bars on ``console``; use as a context manager.

    Args:
        console: Usually of the standard error stream.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars.live.is_started:
            self._bars.stop()

    def on_note(self, text: str) -> None:
        """Print a line."""
        self._bars.console.print(escape(text), style="dim", highlight=False)


class FinalProgress(_Bars):
    """Shows a training on the long schedule."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._training = self._bars.add_task("training", total=None, status="")
        self._psnr = ""

    def on_start(self, judged: int, iterations: int, total: int | None = None) -> None:
        """Show from where the training continues."""
        self._bars.start()
        self._bars.update(self._training, completed=judged, total=iterations)

    def on_stage(self, stage: str) -> None:
        """Name the stage."""
        self._bars.update(self._training, description=stage)

    def on_step(self, progress: training.TrainingProgress) -> None:
        """Move the bar."""
        status = f"loss {progress.loss:.4f}, rate {progress.learning_rate:.2g}{self._psnr}"
        self._bars.update(self._training, completed=progress.iteration, status=status)

    def on_validation(self, iteration: int, psnr_y_db: Mapping[str, float]) -> None:
        """Print a line, and keep the first set's PSNR beside the bar."""
        scores = ", ".join(f"{name} {psnr:.3f} dB" for name, psnr in psnr_y_db.items())
        self._psnr = f", {next(iter(psnr_y_db.values())):.2f} dB at {iteration:,}"
        self._bars.console.print(escape(f"{iteration:>9,}  {scores}"), highlight=False, soft_wrap=True)


class SearchProgress(_Bars):
    """Shows a search.

    Args:
        console: Usually of the standard error stream.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._study = self._bars.add_task("trials", total=None, status="")
        self._training = self._bars.add_task("training", total=None, status="", visible=False)
        self._psnr = ""

    def on_start(self, judged: int, iterations: int, total: int | None = None) -> None:
        """Show how much of the study is done."""
        self._bars.start()
        self._bars.reset(self._study, completed=judged, total=total, description="trials")
        self._bars.reset(self._training, total=iterations, visible=False)

    def on_trial(self, number: int, architecture: Architecture, design: str) -> None:
        """Begin a candidate."""
        self._psnr = ""
        self._bars.update(self._study, status=escape(f"#{number} {design or architecture}"[:60]))
        self._bars.reset(self._training, visible=False, status="")

    def on_stage(self, stage: str) -> None:
        """Name the stage."""
        self._bars.update(self._training, description=stage, visible=True)

    def on_step(self, progress: training.TrainingProgress) -> None:
        """Move the training's bar."""
        status = f"loss {progress.loss:.4f} {self._psnr}"
        self._bars.update(self._training, completed=progress.iteration, status=status)

    def on_rung(self, rung: Rung) -> None:
        """Show the PSNR so far."""
        self._psnr = f"{rung.psnr_y_db:.2f} dB at {rung.iteration}"

    def on_board(self, board: Board) -> None:
        """Print the front so far."""
        console = self._bars.console
        console.print(board_table(board, width=console.width, limit=0))
        console.print(board_summary(board), soft_wrap=True)

    def on_record(self, record: TrialRecord, on_front: bool) -> None:
        """Print the candidate's line."""
        self._bars.update(self._study, advance=1)
        self._bars.update(self._training, visible=False)
        self._bars.console.print(_line(record, on_front), highlight=False, soft_wrap=True)

    def on_replicates(self, left: int) -> None:
        """Show how many trainings follow."""
        self._bars.reset(self._study, total=left, description="replicates")

    def on_replicate(self, record: TrialRecord, again: Replicate) -> None:
        """Print the replicate's line."""
        self._bars.update(self._study, advance=1)
        self._bars.update(self._training, visible=False)
        name = escape(f"#{record.number:<3} {record.design or record.architecture}")
        psnr = f"{again.quality.mean_psnr_y_db:.2f} dB"
        line = f"  {name}, seed {again.seed}: {psnr}, trained in {again.train_s:.1f} s"
        self._bars.console.print(line, highlight=False, soft_wrap=True)


def _line(record: TrialRecord, on_front: bool) -> str:
    name = escape(f"#{record.number:<3} {record.architecture}")
    design = f" ({record.design})" if record.design else ""
    if record.point is None:
        return f"  {name}{design}: [yellow]{record.state.replace('_', ' ')}[/] {escape(record.reason)}"
    psnr, latency = record.point
    how = "trained before" if record.reused else f"trained in {record.train_s:.1f} s"
    mark, style = ("*", "bold green") if on_front else (" ", "default")
    return f"[{style}]{mark} {name}{design}: {psnr:.2f} dB, {latency:.2f} ms[/], {how}"
