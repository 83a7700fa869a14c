"""How a study ends: the ranked board with its errors, what the predictors were worth, figures, weights."""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from srnas.leaderboard.rank.board import Board, rank_records
from srnas.leaderboard.rank.curve import hypervolume_curve
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.leaderboard.show.curve_figure import write_curve
from srnas.leaderboard.store.reading import SHOWN
from srnas.nas.files import writing
from srnas.nas.judging.accounts import Account, accounts_of
from srnas.nas.run.exhibits import make_exhibits
from srnas.nas.run.session import Session
from srnas.nas.strategy.rungs import FalseStopRate, false_stop_rate
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.workspace.boards import write_figures
from srnas.nas.workspace.workspace import Workspace

# A candidate so close below the front is trained again with the members of the front and the human designs.
NEAR_DB = 0.03
# How the names of a study's figures and report go on after its own.
FILE_ENDS = (".png", ".html", "-hypervolume.png", "-predictors.json")


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        name: Name of the study.
        records: Judged trials of the study.
        replicates: What was trained again with other seeds.
        board: The ranked trials.
        accounts: What each predictor was worth.
        false_stops: How often a rung would have stopped a member of the front.
        figures: PNG and HTML of the front, PNG of the hypervolume; none where nothing was run.
        exhausted: Whether the space has no unseen architecture left.
        unwritten: Why MLflow lacks something, or nothing.
        anew: Whether anything was run.
    """

    name: str
    records: tuple[TrialRecord, ...]
    replicates: tuple[Replicate, ...]
    board: Board
    accounts: tuple[Account, ...]
    false_stops: FalseStopRate
    figures: tuple[Path, ...] = ()
    exhausted: bool = False
    unwritten: str = ""
    anew: bool = False

    @property
    def metrics(self) -> dict[str, float]:
        """What the study's run keeps: size and hypervolume of the front, Kendall's tau of each predictor."""
        sizes = {"front_size": float(len(self.board.front)), "hypervolume": self.board.hypervolume}
        return sizes | {f"kendall_tau.{account.name}": account.tau for account in self.accounts}

    @property
    def members(self) -> list[TrialRecord]:
        """The trials on the front."""
        front = set(self.board.front["trial"]) if len(self.board.rows) else set()
        return [record for record in self.records if record.number in front]

    def member_files(self, workspace: Workspace) -> dict[int, dict[str, list[Path]]]:
        """Return what a workspace keeps of the members, by trial and folder among its artifacts."""
        files = {}
        for record in self.members:
            weights, shown = workspace.weights(record), workspace.exhibits(record)
            files[record.number] = {
                "weights": [weights] if weights.is_file() else [],
                SHOWN: sorted(shown.iterdir()) if shown.is_dir() else [],
            }
        return files


def summarise(known: Snapshot) -> Outcome:
    """Return the outcome so far of a study that has started; nothing is run or written."""
    assert known.study is not None
    board = rank_records(known.study, known.records, known.replicates)
    finished = [record for record in known.ranked if record.point]
    return Outcome(
        name=known.name,
        records=known.records,
        replicates=known.replicates,
        board=board,
        accounts=tuple(accounts_of(known.records)),
        false_stops=false_stop_rate([r.point for r in finished if r.point], [r.spared for r in finished]),
    )


def conclude(session: Session, *, exhausted: bool, is_last: bool) -> Outcome:
    """Write figures, report, and files of the members of the front, and return the outcome of a study.

    Args:
        session: The open study.
        exhausted: Whether its space has no unseen architecture left.
        is_last: Whether its front is what the search ends with, of which pictures are kept.
    """
    known, publisher = session.snapshot(), session.publisher
    outcome = summarise(known)
    files = write_files(outcome, publisher.workspace)
    kept = outcome.member_files(publisher.workspace)
    publisher.close(outcome.records, outcome.replicates, outcome.metrics, files, kept, outcome.board)
    # The results are safe now, whatever becomes of what is shown of them.
    if is_last:
        make_exhibits(session.judge.materials, outcome.members, publisher.workspace)
        publisher.add_files(outcome.member_files(publisher.workspace))
    if not publisher.lost:
        session.lasting(partial(session.search.stored.keep_concluded, known.extent))
    return replace(outcome, figures=files[:-1], exhausted=exhausted, unwritten=publisher.lost, anew=True)


def write_files(outcome: Outcome, workspace: Workspace) -> tuple[Path, ...]:
    """Write the figures of a study, and last the report of its predictors, to the workspace.

    Raises:
        InputError: If they cannot be written.
    """
    folder = workspace.figures
    curve, report = (folder / f"{outcome.name}{end}" for end in FILE_ENDS[2:])
    figures = write_figures(outcome.board, folder)
    with writing(curve) as aside:
        write_curve({outcome.name: hypervolume_curve(outcome.board.study, outcome.records)}, aside)
    with writing(report) as aside:
        aside.write_text(json.dumps([asdict(account) for account in outcome.accounts], indent=2), encoding="utf-8")
    return (*figures, curve, report)
