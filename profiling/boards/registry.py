"""The targets that a user has named, in a file that only the user can read, since it holds tokens."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from srnas.profiling.boards.board import Board, BoardRuntime
from srnas.profiling.boards.client import BoardLostError, Client
from srnas.search_space import InputError, unknown_name

# A name must not be taken for a device of this machine.
_TAKEN = ("auto", "cpu", "cuda", "mps", "xpu")
_VARIABLE = "SRNAS_TARGETS"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    token: str = ""


class Asked(NamedTuple):
    """A board with what it says of itself."""

    board: Board
    about: dict[str, object]


def registry_file() -> Path:
    """Return the file: ``SRNAS_TARGETS``, else ``srnas/targets.json`` among the user's settings."""
    if given := os.environ.get(_VARIABLE, "").strip():
        return Path(given)
    settings = os.environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
    return Path(settings).expanduser() / "srnas" / "targets.json"


def boards() -> dict[str, Board]:
    """Return the targets by name, as they were added.

    Raises:
        InputError: If the file cannot be read.
    """
    return {name: Board(name, entry.url, entry.token) for name, entry in _read().items()}


def add(name: str, url: str, token: str) -> Asked:
    """Add a target, or change one; it must answer.

    Raises:
        InputError: If the name or the URL cannot be used, or the agent does not answer or refuses.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or name.partition(":")[0] in _TAKEN:
        raise InputError(
            f"a target's name must be letters, digits, '-' and '_', and no device ({', '.join(_TAKEN)}), but got "
            f"'{name}'."
        )
    if not url.startswith(("http://", "https://")):
        raise InputError(f"a target's URL must begin with http:// or https://, but got '{url}'.")
    asked = ask(Board(name, url, token))
    _write(_read() | {name: _Entry(url=url, token=token)})
    return asked


def remove(name: str) -> None:
    """Forget a target.

    Raises:
        InputError: If there is none of this name.
    """
    known = _read()
    if name not in known:
        raise unknown_name("target", name, known)
    _write({other: entry for other, entry in known.items() if other != name})


def find(name: str) -> Board:
    """Return a target with its present state.

    Raises:
        InputError: If there is none of this name, or it does not answer.
    """
    known = boards()
    if name not in known:
        raise unknown_name("target", name, ["cpu", "cuda:N", *known])
    return ask(known[name]).board


def ask(board: Board) -> Asked:
    """Ask a target for its state.

    Raises:
        InputError: If it does not answer or refuses.
    """
    try:
        about = Client(board).about()
    except BoardLostError as error:
        raise InputError(
            f"target '{board.name}' must answer at {board.url}, but {error}; start its agent ('srnas target script')."
        ) from None
    found = sorted(about["runtimes"].items())
    runtimes = tuple(BoardRuntime(name, told["version"], tuple(told["dtypes"])) for name, told in found)
    told = replace(
        board,
        machine=str(about["name"]),
        cores=int(about["cores"]),
        runtimes=runtimes,
        int8_saturates=bool(about["int8_saturates"]),
    )
    return Asked(told, about)


def _read() -> dict[str, _Entry]:
    path = registry_file()
    try:
        return {name: _Entry.model_validate(entry) for name, entry in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        reason = getattr(error, "strerror", "") or "it is not what 'srnas target add' writes"
        raise InputError(f"the targets must be readable, but '{path}' is not: {reason}.") from None


def _write(entries: dict[str, _Entry]) -> None:
    path = registry_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        # Mode 600 from the start: whoever can read it has the tokens.
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({name: entry.model_dump() for name, entry in entries.items()}, file, indent=2)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
