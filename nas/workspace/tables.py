"""Block tables as files of the workspace, one for each space, input size and device profile."""

from pathlib import Path

from pydantic import ValidationError

from srnas.nas.files import writing
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import BlockTable, Target
from srnas.profiling.targets import describe
from srnas.search_space import InputError, SearchSpace


def table_path(workspace: Workspace, space: SearchSpace, target: Target, input_size: tuple[int, int]) -> Path:
    """Return where the table of a space, a target and an input size is kept."""
    height, width = input_size
    return workspace.table(f"{space.name}-x{space.scale}-{width}x{height}-{describe(target).key}")


def find_table(
    workspace: Workspace, space: SearchSpace, target: Target, input_size: tuple[int, int]
) -> BlockTable | None:
    """Return the table of a space on this device profile, or ``None`` if there is none.

    Raises:
        InputError: If its file is damaged.
    """
    path = table_path(workspace, space, target, input_size)
    if not path.is_file():
        return None
    try:
        return BlockTable.model_validate_json(path.read_bytes())
    except ValidationError:
        raise InputError(
            f"'{path}' must hold a block table, but it is damaged; delete it, or rebuild it with 'srnas profile table'."
        ) from None


def save_table(table: BlockTable, path: Path) -> None:
    """Write a table, whole or not at all.

    Raises:
        InputError: If it cannot be written.
    """
    with writing(path) as aside:
        aside.write_text(table.model_dump_json(), encoding="utf-8")
