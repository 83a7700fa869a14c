"""Ranked boards of studies, and their figures."""

from pathlib import Path

from srnas.leaderboard import Board, Store, rank, write_html, write_png
from srnas.nas.output import writing
from srnas.search_space import InputError, unknown_name


def load_board(workspace: Path, study: str | None = None) -> Board:
    """Return the ranked trials of a study; of the newest one without a name.

    Raises:
        InputError: If the workspace or the study does not exist.
    """
    if not workspace.is_dir():
        raise InputError(f"a workspace must exist, but got '{workspace}'; run 'srnas search' first.")
    if not Store.exists(workspace):
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    store = Store(workspace)
    studies = store.studies()
    found = next((s for s in studies if (s.name == study if study else not s.retimed_from)), None)
    if found is None and study is None:
        raise InputError(f"workspace '{workspace}' must hold a study, but it holds none; run 'srnas search' first.")
    if found is None:
        raise unknown_name("study", study, (s.name for s in studies))
    return rank(found, store.rows(found))


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
