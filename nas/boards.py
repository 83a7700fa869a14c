"""Ranked boards of studies, and their figures."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from srnas.leaderboard import (
    Board,
    Contender,
    Duel,
    Pick,
    Quality,
    Store,
    TrialRecord,
    duel,
    pick,
    rank,
    write_page,
    write_png,
)
from srnas.nas.output import check_study_name, writing
from srnas.search_space import InputError, unknown_name


def _open(workspace: Path) -> Store:
    if not workspace.is_dir():
        raise InputError(f"a workspace must exist, but got '{workspace}'; run 'srnas search' first.")
    if not Store.exists(workspace) and any((workspace / "studies").glob("*.db")):
        raise InputError(f"'{workspace / 'mlflow.db'}' must exist, but it does not; run 'srnas leaderboard resync'.")
    if not Store.exists(workspace):
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    return Store(workspace)


def load_board(workspace: Path, study: str | None = None, device: str | None = None, task: str | None = None) -> Board:
    """Return the ranked trials of a study.

    Args:
        workspace: Folder of the study.
        study: Its name; without one it is the newest that was not merely retimed.
        device: Part of the name of its device profile: then the newest such study, retimed ones included.
        task: Its upscaling, such as ``x2``.

    Raises:
        InputError: If the workspace or the study does not exist.
    """
    store = _open(workspace)
    studies = store.studies()
    if task is not None:
        tasks = {s.task for s in studies}
        if task not in tasks:
            raise unknown_name("task", task, sorted(tasks))
        studies = [s for s in studies if s.task == task]
    named = [s for s in studies if study in (None, s.name, s.retimed_from if device else None)]
    if study is not None and not named:
        raise unknown_name("study", study, (s.name for s in studies))
    if device is not None:
        found = next((s for s in named if device.lower() in str(s.device).lower()), None)
    else:
        found = next((s for s in named if study or not s.retimed_from), None)
    if found is None and device is not None:
        known = ", ".join(f"'{profile}'" for profile in dict.fromkeys(str(s.device) for s in named))
        raise InputError(
            f"a device profile must contain '{device}', but there are {known or 'none'}; see 'srnas retime'."
        )
    if found is None:
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    return rank(found, store.rows(found))


def load_boards(workspace: Path, names: Sequence[str] | None = None) -> list[Board]:
    """Return the ranked trials of the studies named, or of all, newest first.

    Raises:
        InputError: If the workspace or one of the studies does not exist.
    """
    if names:
        return [load_board(workspace, name) for name in dict.fromkeys(names)]
    store = _open(workspace)
    return [rank(study, store.rows(study)) for study in store.studies()]


def load_records(workspace: Path, board: Board, numbers: Iterable[int]) -> list[TrialRecord]:
    """Return the whole records of trials, wherever the storage of their study is.

    Raises:
        InputError: If the study lacks one of them.
    """
    store, runs = Store(workspace), _runs(board)
    found = []
    for number in numbers:
        if number not in runs:
            between = f"between {min(runs)} and {max(runs)}" if runs else "not there yet"
            raise InputError(
                f"study '{board.study.name}' must hold trial {number}, but its judged trials are {between}; "
                "'srnas leaderboard' lists them, 'srnas leaderboard resync' writes to MLflow what it lacks."
            )
        found.append(store.trial(runs[number]))
    return found


def _runs(board: Board) -> dict[int, str]:
    return dict(zip(board.rows["trial"], board.rows["run_id"], strict=True)) if len(board.rows) else {}


def load_pick(
    workspace: Path, budget_ms: float, confidence: float, study: str | None = None, device: str | None = None
) -> tuple[Board, Pick]:
    """Return the board of a study, and the network to ship within a budget.

    Raises:
        InputError: As :func:`load_board` and :func:`~srnas.leaderboard.pick`.
    """
    board = load_board(workspace, study, device)
    return board, pick(board, budget_ms, confidence, _loader(workspace, board))


def load_duel(
    workspace: Path, first: str, second: str, study: str | None = None, device: str | None = None
) -> tuple[Contender, Duel]:
    """Return two trained trials, named by number or key, and what the first is better by.

    Raises:
        InputError: As :func:`load_board`; or if one of them does not exist or was not trained to the end.
    """
    board = load_board(workspace, study, device)
    load = _loader(workspace, board)

    def find(name: str) -> Contender:
        rows = board.rows
        found = rows[(rows["trial"].astype(str) == name) | (rows["key"] == name)] if len(rows) else rows
        if found.empty:
            raise InputError(
                f"study '{board.study.name}' must hold trial or key '{name}', but it does not; "
                "'srnas leaderboard --json' lists them."
            )
        trial, others = load(int(found.iloc[0]["trial"]))
        if trial.quality is None or trial.latency is None or trial.state != "complete":
            raise InputError(f"trial {trial.number} must be trained to the end, but it is {trial.state}; name another.")
        return Contender(trial, (trial.quality, *others))

    one, other = find(first), find(second)
    return one, duel(one, other)


def _loader(workspace: Path, board: Board) -> Callable[[int], tuple[TrialRecord, list[Quality]]]:
    """Return what reads a trial, and the qualities of its further trainings, from the store."""
    store, runs = Store(workspace), _runs(board)
    replicates = store.replicates(board.study)

    def load(number: int) -> tuple[TrialRecord, list[Quality]]:
        return store.trial(runs[number]), [one.quality for one in replicates if one.number == number]

    return load


def write_leaderboard(workspace: Path, boards: Sequence[Board], path: Path) -> None:
    """Write the page with these boards as one file; of members of a front it holds all that their panel shows.

    Raises:
        InputError: If it cannot be written.
    """
    store = Store(workspace)
    details = {
        f"{row['study']}:{row['trial']}": store.details(str(row["run_id"]))
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
