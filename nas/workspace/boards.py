"""Studies of a workspace by name, their ranked boards, and the figures of those."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from srnas.leaderboard.rank.board import Board, rank_rows
from srnas.leaderboard.rank.picking import Contender, Duel, Pick, duel, pick
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.timed_quality import as_ranked, qualities_by_seed, replicates_as_ranked
from srnas.leaderboard.record.trials import Quality, TrialRecord
from srnas.leaderboard.show.figure import write_png
from srnas.leaderboard.show.page import write_page
from srnas.leaderboard.store.store import Store
from srnas.nas.files import check_study_name, writing
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError, unknown_name


def find_study(
    workspace: Workspace, name: str | None = None, device: str | None = None, task: str | None = None
) -> StudyRecord:
    """Return a study that MLflow holds.

    Args:
        workspace: The workspace in which the study is looked up.
        name: The study's name; without one it is the newest that was not merely retimed, nor goes on from another and
            is not through yet.
        device: Part of the name of its device profile: then the newest such study, retimed ones included.
        task: Upscaling of the study, such as ``x2``.

    Raises:
        InputError: If the workspace or the study does not exist.
    """
    stored = workspace.existing_store().stored_studies()
    studies = [one.record for one in stored]
    unfinished = [one.record for one in stored if one.record.goes_on_from and one.status != "FINISHED"]
    half = {(study.task, study.name) for study in unfinished}
    if task is not None:
        tasks = {s.task for s in studies}
        if task not in tasks:
            raise unknown_name("task", task, sorted(tasks))
        studies = [s for s in studies if s.task == task]
    named = [s for s in studies if name in (None, s.name, s.retimed_from if device else None)]
    if name is not None and not named:
        raise unknown_name("study", name, (s.name for s in studies))
    if device is not None:
        study = next((s for s in named if device.lower() in str(s.device).lower()), None)
    else:
        # Without a name it is one that was trained: a retimed study has the latencies of another device.
        trained = (s for s in named if name or not (s.retimed_from or (s.task, s.name) in half))
        study = next(trained, named[0] if named else None)
    if study is None and device is not None:
        known = ", ".join(f"'{profile}'" for profile in dict.fromkeys(str(s.device) for s in named))
        raise InputError(
            f"a device profile must contain '{device}', but there are {known or 'none'}; see 'srnas retime'."
        )
    if study is None:
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    return study


def load_board(
    workspace: Workspace, study: str | None = None, device: str | None = None, task: str | None = None
) -> Board:
    """Return the ranked trials of a study.

    Raises:
        InputError: As :func:`find_study`.
    """
    record = find_study(workspace, study, device, task)
    return rank_rows(record, workspace.store.rows(record))


def load_boards(workspace: Workspace, names: Sequence[str] | None = None) -> list[Board]:
    """Return the ranked trials of the studies named, or of all, newest first.

    Raises:
        InputError: If the workspace or one of the studies does not exist.
    """
    if names:
        return [load_board(workspace, name) for name in dict.fromkeys(names)]
    store = workspace.existing_store()
    return [rank_rows(study, store.rows(study)) for study in store.studies()]


def load_records(workspace: Workspace, study: StudyRecord, numbers: Iterable[int]) -> list[TrialRecord]:
    """Return the whole records of trials, wherever the storage of their study is.

    Raises:
        InputError: If the study lacks one of them.
    """
    runs, records = _runs(workspace.store, study), []
    for number in numbers:
        if number not in runs:
            between = f"between {min(runs)} and {max(runs)}" if runs else "not there yet"
            raise InputError(
                f"study '{study.name}' must hold trial {number}, but its judged trials are {between}; "
                "'srnas leaderboard' lists them, 'srnas leaderboard resync' writes to MLflow what it lacks."
            )
        records.append(workspace.store.trial(runs[number]))
    return records


def _runs(store: Store, study: StudyRecord) -> dict[int, str]:
    rows = store.rows(study)
    return dict(zip(rows["trial"], rows["run_id"], strict=True)) if len(rows) else {}


def load_pick(
    workspace: Workspace,
    budget_ms: float,
    confidence: float | None,
    study: str | None = None,
    device: str | None = None,
) -> tuple[Board, Pick]:
    """Return the board of a study, and the network to ship within a budget.

    Raises:
        InputError: As :func:`find_study` and :func:`~srnas.leaderboard.rank.picking.pick`.
    """
    board = load_board(workspace, study, device)
    return board, pick(board, budget_ms, confidence, _loader(workspace.store, board))


def load_duel(
    workspace: Workspace, first: str, second: str, study: str | None = None, device: str | None = None
) -> tuple[Contender, Duel]:
    """Return two trained trials, named by number or key, and what the first is better by.

    Raises:
        InputError: As :func:`find_study`; or if one of them does not exist or was not trained to the end.
    """
    board = load_board(workspace, study, device)
    load = _loader(workspace.store, board)

    def find(name: str) -> Contender:
        rows = board.rows
        matching = rows[(rows["trial"].astype(str) == name) | (rows["key"] == name)] if len(rows) else rows
        if matching.empty:
            raise InputError(
                f"study '{board.study.name}' must hold trial or key '{name}', but it does not; "
                "'srnas leaderboard --json' lists them."
            )
        trial, qualities = load(int(matching.iloc[0]["trial"]))
        if trial.point is None:
            raise InputError(f"trial {trial.number} must be trained to the end, but it is {trial.state}; name another.")
        if not qualities:
            raise InputError(
                f"trial {trial.number} must have its PSNR in {board.study.device.dtype}, as the front of study "
                f"'{board.study.name}' ranks it, but it has none; name another."
            )
        return Contender(trial, tuple(qualities), ranked_by=board.study.ranked_by)

    one, other = find(first), find(second)
    return one, duel(one, other)


def _loader(store: Store, board: Board) -> Callable[[int], tuple[TrialRecord, list[Quality]]]:
    """Return what reads a trial, and the qualities of its trainings that the study ranks, from the store."""
    runs = dict(zip(board.rows["trial"], board.rows["run_id"], strict=True)) if len(board.rows) else {}
    replicates = replicates_as_ranked(board.study, store.replicates(board.study))

    def load(number: int) -> tuple[TrialRecord, list[Quality]]:
        trial = store.trial(runs[number])
        return trial, qualities_by_seed(as_ranked(board.study, [trial]), replicates).get(number, [])

    return load


def write_leaderboard(workspace: Workspace, boards: Sequence[Board], path: Path) -> None:
    """Write the page with these boards as one file; of members of a front it holds all that their panel shows.

    Raises:
        InputError: If it cannot be written.
    """
    details = {
        f"{row['study']}:{row['trial']}": workspace.store.details(str(row["run_id"]))
        for board in boards
        for _, row in board.front.iterrows()
    }
    with writing(path) as aside:
        write_page(boards, aside, details)


def write_figures(board: Board, folder: Path) -> tuple[Path, ...]:
    """Write the front as PNG and HTML into ``folder``.

    Raises:
        InputError: If they cannot be written, or called after the study.
    """
    check_study_name(board.study.name)
    png, page = folder / f"{board.study.name}.png", folder / f"{board.study.name}.html"
    with writing(png) as aside:
        write_png(board, aside)
    with writing(page) as aside:
        write_page([board], aside)
    return png, page
