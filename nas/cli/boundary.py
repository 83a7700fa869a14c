"""Where errors end: one message, with what to do, for an error that a user can mend; else the traceback.

The libraries are not imported here, since their import may be what failed.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

DEBUG = "SRNAS_DEBUG"

# Our own errors, whose messages are meant for the user as they are.
_OWN = {("srnas.search_space.errors", "InputError"), ("srnas.profiling.lease", "DeviceBusyError")}
# Libraries behind which there is a file or a server, and what is asked of that.
_LIBRARIES = {
    "mlflow": "MLflow's store must answer",
    "requests": "MLflow's server must answer",
    "sqlalchemy": "the store must answer",
    "sqlite3": "the store must answer",
    "psycopg": "the storage must answer",
    "optuna": "the study's storage must answer",
    "filelock": "the workspace must be writable",
}
# What is in a message, and what to do then; the first that fits.
_ADVICE = (
    (
        ("database schema", "can't locate revision"),
        "another version of MLflow wrote it: install that version, or copy mlflow.db and run 'mlflow db upgrade', or "
        "move it away and run 'srnas leaderboard resync', which rebuilds it from the studies",
    ),
    (
        ("database is locked", "database table is locked"),
        "another program holds the file: close it (a database browser may hold unsaved changes), and run the same "
        "again",
    ),
    (
        ("readonly database", "read-only", "permission denied"),
        "the workspace must be writable for this: give another --workspace, or permission to write",
    ),
    (
        ("malformed", "not a database", "no such table", "no such column"),
        "the file is damaged, or another program wrote it: put a backup in its place; 'srnas leaderboard resync' "
        "rebuilds mlflow.db",
    ),
    (("no space left", "disk is full", "quota exceeded"), "free some space, and run the same again"),
    (
        ("connection", "timed out", "max retries", "does not answer", "name or service"),
        "start the server or set MLFLOW_TRACKING_URI or --storage to another, and run the same again",
    ),
    (("too many open files",), "raise 'ulimit -n', and run the same again"),
)


class _Once(logging.Filter):
    """Lets each message through once: a study is read again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in self._said
        self._said.add(message)
        return is_new


class _Worded(logging.Formatter):
    """Says of a warning that it is one."""

    def format(self, record: logging.LogRecord) -> str:
        said = record.getMessage()
        return f"warning: {said}" if record.levelno >= logging.WARNING else said


def print_logged() -> None:
    """Print the notes that reading files gives: what is used of them, and what cannot be read."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Worded())
    handler.addFilter(_Once())
    logger = logging.getLogger("srnas")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


@contextmanager
def told_errors(program: str) -> Iterator[None]:
    """End a program with one message and exit code 2 at an error that a user can mend."""
    try:
        yield
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print(f"{program}: error: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def message_of(error: Exception) -> str | None:
    """Return the message for an error, or ``None`` for a fault of this program, which a traceback shows best.

    With ``SRNAS_DEBUG=1`` every error is told by its traceback.
    """
    if os.environ.get(DEBUG, "") not in ("", "0"):
        return None
    if any(isinstance(error, getattr(sys.modules.get(module), name, ())) for module, name in _OWN):
        return str(error)
    if own := _of_own_block(error):
        return own
    if _is_memory(error):
        return (
            f"the device must have enough memory for this, but {_first_line(error)}; give a smaller input, "
            f"batch or network, or stop what else uses it. {DEBUG}=1 shows the traceback."
        )
    # The kind that is nearest to the error itself: errors of files are OSErrors of other libraries too.
    places = [cls.__module__.partition(".")[0] for cls in type(error).__mro__]
    library = next((place for place in places if place in _LIBRARIES), None)
    if library is None and not isinstance(error, OSError):
        return None
    said = _first_line(error)
    if library is None:
        what = getattr(error, "filename", None)
        must = f"'{what}' must be usable" if what else "files and connections must be usable"
        said = getattr(error, "strerror", None) or said
    else:
        must = _LIBRARIES[library]
    return f"{must}, but {said}; {_advice(error)}. {DEBUG}=1 shows the traceback."


def _of_own_block(error: Exception) -> str | None:
    """Return the message for an error that arose in a block of the user's own."""
    folders = [os.path.abspath(folder) for folder in os.environ.get("SRNAS_BLOCKS", "").split(os.pathsep) if folder]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if any(os.path.abspath(frame.filename).startswith(os.path.join(folder, "")) for folder in folders)
    ]
    if not frames:
        return None
    where = f"'{frames[-1].filename}', line {frames[-1].lineno}"
    return (
        f"{where}: a block must run on every input that its constraint allows, but {type(error).__name__}: {error}; "
        f"correct it, or tighten its constraint. {DEBUG}=1 shows the traceback."
    )


def _is_memory(error: Exception) -> bool:
    # Before torch is loaded nothing here is large.
    memory = sys.modules.get("srnas.profiling.memory")
    return memory is not None and memory.is_memory(error)


def _first_line(error: Exception) -> str:
    # Before the name of its allocator torch tells where in its source it is.
    line = str(error).strip().partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2].partition(". ")[0].rstrip(".")
    # SQLAlchemy names the class of the error that it wraps.
    return line.rpartition("Error) ")[2] or type(error).__name__


def _advice(error: Exception) -> str:
    text = f"{error} {error.__cause__ or ''}".lower()
    found = (advice for words, advice in _ADVICE if any(word in text for word in words))
    return next(found, "correct that, and run the same again")
