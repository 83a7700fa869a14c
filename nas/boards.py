"""Ranked boards of studies, and their figures."""

from pathlib import Path

from srnas.leaderboard import Board, Pick, Quality, Store, TrialRecord, pick, rank, write_html, write_png
from srnas.nas.output import writing
from srnas.search_space import InputError, unknown_name


def load_board(workspace: Path, study: str | None = None, device: str | None = None) -> Board:
    """Return the ranked trials of a study.

    Args:
        workspace: Folder of the study.
        study: Its name; without one it is the newest that was not merely retimed.
        device: Part of the name of its device profile: then the newest such study, retimed ones included.

    Raises:
        InputError: If the workspace or the study does not exist.
    """
    if not workspace.is_dir():
        raise InputError(f"a workspace must exist, but got '{workspace}'; run 'srnas search' first.")
    if not Store.exists(workspace):
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    store = Store(workspace)
    studies = store.studies()
    named = [s for s in studies if study in (None, s.name, s.retimed_from if device else None)]
    if study is not None and not named:
        raise unknown_name("study", study, (s.name for s in studies))
    found = next(
        (s for s in named if (device.lower() in str(s.device).lower() if device else study or not s.retimed_from)), None
    )
    if found is None and device is not None:
        known = ", ".join(f"'{profile}'" for profile in dict.fromkeys(str(s.device) for s in named))
        raise InputError(
            f"a device profile must contain '{device}', but there are {known or 'none'}; see 'srnas retime'."
        )
    if found is None:
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    return rank(found, store.rows(found))


def load_pick(
    workspace: Path, budget_ms: float, confidence: float, study: str | None = None, device: str | None = None
) -> tuple[Board, Pick]:
    """Return the board of a study, and the network to ship within a budget.

    Raises:
        InputError: As :func:`load_board` and :func:`~srnas.leaderboard.pick`.
    """
    board, store = load_board(workspace, study, device), Store(workspace)
    runs = dict(zip(board.rows["trial"], board.rows["run_id"], strict=True)) if len(board.rows) else {}
    replicates = store.replicates(board.study)

    def load(number: int) -> tuple[TrialRecord, list[Quality]]:
        return store.trial(runs[number]), [one.quality for one in replicates if one.number == number]

    return board, pick(board, budget_ms, confidence, load)


def write_figures(board: Board, folder: Path) -> tuple[Path, ...]:
    """Write the front as PNG and HTML into ``folder``.

    Raises:
        InputError: If they cannot be written.
    """
    png, page = folder / f"{board.study.name}.png", folder / f"{board.study.name}.html"
    for path, write in ((png, write_png), (page, write_html)):
        with writing(path) as aside:
            write(board, aside)
    return png, page
