"""How a study ends: the ranked board with its errors, what the predictors were worth, figures, weights."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import optuna

from srnas.leaderboard import (
    Board,
    Replicate,
    StudyRecord,
    TrialRecord,
    hypervolume_curve,
    near_front,
    rank_records,
    write_curve,
)
from srnas.leaderboard.reading import SHOWN
from srnas.nas.accountability import Account, accounts_of
from srnas.nas.boards import write_figures
from srnas.nas.cache import ResultCache
from srnas.nas.candidates import TimedOutError
from srnas.nas.exhibits import exhibits_folder, make_exhibits
from srnas.nas.judging import Judge
from srnas.nas.output import writing
from srnas.nas.publishing import Publisher
from srnas.nas.rungs import FalseStopRate, false_stop_rate
from srnas.nas.stored import read_records, read_replicates
from srnas.nas.study import Search
from srnas.nas.training import DivergedError

# A candidate so close below the front is trained again with the members of the front.
_NEAR_DB = 0.03
# How the names of a study's figures and report go on after its own.
FILE_ENDS = (".png", ".html", "-hypervolume.png", "-predictors.json")


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        name: Of the study.
        records: Its judged trials.
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
    def replicated(self) -> int:
        """With how many other seeds every candidate near the front was trained."""
        counts = [
            sum(replicate.number == record.number for replicate in self.replicates)
            for record in near_front(self.records, _NEAR_DB)
        ]
        return min(counts, default=0)

    @property
    def metrics(self) -> dict[str, float]:
        """What the study's run keeps: size and hypervolume of the front, Kendall's tau of each predictor."""
        sizes = {"front_size": float(len(self.board.front)), "hypervolume": self.board.hypervolume}
        return sizes | {f"kendall_tau.{found.name}": found.tau for found in self.accounts}

    @property
    def members(self) -> list[TrialRecord]:
        """The trials on the front."""
        front = set(self.board.front["trial"]) if len(self.board.rows) else set()
        return [record for record in self.records if record.number in front]

    def member_files(self, workspace: Path) -> dict[int, dict[str, list[Path]]]:
        """Return what a workspace keeps of the members, by trial and folder among its artifacts."""
        found = {}
        for record in self.members:
            weights = ResultCache(workspace / "cache", record.protocol).weights(record.genotype.key)
            shown = exhibits_folder(workspace, record)
            found[record.number] = {
                "weights": [weights] if weights.is_file() else [],
                SHOWN: sorted(shown.iterdir()) if shown.is_dir() else [],
            }
        return found


def summarise(study: optuna.Study) -> Outcome:
    """Return what a study holds; nothing is run or written."""
    record = StudyRecord.model_validate_json(study.user_attrs["study"])
    records, replicates = read_records(study), read_replicates(study)
    return _outcome(record, records, replicates)


def replicate(search: Search, judge: Judge, seeds: int) -> None:
    """Train the candidates near the front again with other seeds, each once.

    Args:
        search: The study.
        judge: Trains.
        seeds: How many other seeds.
    """
    first = search.settings.training.seed + 1
    known = {(known.number, known.seed) for known in search.replicates}
    chosen = near_front(search.records, _NEAR_DB)
    for seed in range(first, first + seeds):
        for record in chosen:
            if (record.number, seed) in known:
                continue
            judge.observer.on_trial(record.number, record.genotype, f"{record.design} seed {seed}".strip())
            try:
                result = judge.replicate(record.genotype, seed)
            except (DivergedError, TimedOutError) as error:
                judge.observer.on_note(f"trial {record.number} with seed {seed}: {error}")
                continue
            search.add_replicate(
                Replicate(number=record.number, seed=seed, quality=result.quality, train_s=result.train_s)
            )


def conclude(search: Search, publisher: Publisher, judge: Judge, *, exhausted: bool) -> Outcome:
    """Write figures, report, and files of the members of the front, and return the outcome of a study."""
    outcome = _outcome(search.study_record, search.records, search.replicates)
    files = write_files(outcome, publisher.workspace)
    kept = outcome.member_files(publisher.workspace)
    publisher.close(outcome.records, outcome.replicates, outcome.metrics, files, kept, outcome.board)
    # The results are safe now, whatever becomes of what is shown of them.
    make_exhibits(judge, outcome.members, publisher.workspace)
    publisher.add_files(outcome.member_files(publisher.workspace))
    return replace(outcome, figures=files[:-1], exhausted=exhausted, unwritten=publisher.lost, anew=True)


def write_files(outcome: Outcome, workspace: Path) -> tuple[Path, ...]:
    """Write the figures of a study, and last the report of its predictors, to the workspace.

    Raises:
        InputError: If they cannot be written.
    """
    folder = workspace / "figures"
    curve, report = (folder / f"{outcome.name}{end}" for end in FILE_ENDS[2:])
    figures = write_figures(outcome.board, folder)
    with writing(curve) as aside:
        write_curve({outcome.name: hypervolume_curve(outcome.board.study, outcome.records)}, aside)
    with writing(report) as aside:
        aside.write_text(json.dumps([asdict(found) for found in outcome.accounts], indent=2), encoding="utf-8")
    return (*figures, curve, report)


def _outcome(study: StudyRecord, records: Sequence[TrialRecord], replicates: Sequence[Replicate]) -> Outcome:
    board = rank_records(study, records, replicates)
    finished = [record for record in records if record.point]
    return Outcome(
        name=study.name,
        records=tuple(records),
        replicates=tuple(replicates),
        board=board,
        accounts=tuple(accounts_of(records)),
        false_stops=false_stop_rate([r.point for r in finished if r.point], [r.spared for r in finished]),
    )
