"""The storage of a study, SQLite in the workspace or PostgreSQL, and locks for what one process does at a time."""

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from srnas.leaderboard.store.sqlite import has_content, made_aside
from srnas.nas.errors import StorageLostError
from srnas.nas.optuna_private import missing_indexes
from srnas.search_space import InputError

T = TypeVar("T")

HEARTBEAT_S = 30
# How long a storage may not answer before a worker gives up.
_PATIENCE_S = 300.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
# A worker of another host that is silent for so long is taken for dead; one of this host is known dead at once. Those
# that wait for the storage must be heard again before one of them is.
GRACE_S = 400
# SQLite waits so long for the transaction of another process; who only reads does not wait for a database browser.
_BUSY_S, _BUSY_READING_S = 60, 10
# A lock is held for about 0.1 s by each of the workers.
_POLL_S = 0.01
_MOMENT_S = 0.5


def file_url(file: Path) -> str:
    """Return the URL of a storage in a SQLite file."""
    return URL.create("sqlite", database=str(file.resolve())).render_as_string()


def given_url(given: str) -> str:
    """Return the URL of a storage that a user gave, as SQLAlchemy takes it.

    Raises:
        InputError: If it is neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(given)
    except ArgumentError:
        raise InputError(
            f"a storage must be a URL such as postgresql://user@host/database, but got '{given}'."
        ) from None
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql") or not url.database:
        raise InputError(
            "a storage must be postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE, but got "
            f"'{url.render_as_string()}'."
        )
    # SQLAlchemy's own default for this name is psycopg2, which this package does not ask for.
    if backend == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def exists(url: str) -> bool:
    """Return whether there is a storage to read: a file, or a server whatever it holds."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").is_file()


def open_storage(url: str, *, create: bool = True) -> RDBStorage:
    """Open a storage; without ``create``, nothing is written.

    Raises:
        InputError: If its driver is missing, the folder of a SQLite file cannot be written, or it is of another Optuna.
        StorageInternalError: If it does not answer.
    """
    # Otherwise it reports every study that is made or copied.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sqlite = make_url(url).get_backend_name() == "sqlite"
    # A connection that a server closed in the meantime is found out before it is used.
    busy_s = _BUSY_S if create else _BUSY_READING_S
    options = {"connect_args": {"timeout": busy_s}} if sqlite else {"pool_pre_ping": True}
    # Two processes that make the tables at once disturb each other, so one of them waits.
    try:
        with warnings.catch_warnings(), critical(url, "tables") if create else contextlib.nullcontext():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Heartbeats.
            if sqlite and create:
                _make_whole(Path(make_url(url).database or ""))
            storage = RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                skip_table_creation=not create,
            )
            if create:
                _make_missing_indexes(storage, url)
            return storage
    except ImportError:
        raise InputError(
            "a PostgreSQL storage needs psycopg, but it is not installed; run pip install 'srnas[postgresql]'."
        ) from None
    except SQLAlchemyError as error:
        raise StorageInternalError(_first_line(error)) from error
    except AssertionError:  # Whoever made the tables was killed before they had a version.
        raise StorageInternalError(f"the tables of {shown(url)} are not whole") from None
    except RuntimeError as error:  # The tables are of another version.
        raise InputError(
            f"the storage {shown(url)} must be of this version of Optuna ({optuna.__version__}), but {error}"
        ) from None


def is_held(error: BaseException) -> bool:
    """Return whether an error says that another program holds a SQLite file, which is sound all the same."""
    return "is locked" in f"{error} {error.__cause__ or ''}"


def has_no_tables(error: BaseException) -> bool:
    """Return whether an error says that a storage answers and has no tables, or holds something else."""
    cause = error.__cause__
    # A server that is not reached, and a file that is not read, are operational errors; SQLite calls this one so too.
    return not isinstance(cause, OperationalError | InterfaceError) or "no such table" in str(cause)


def _make_whole(file: Path) -> None:
    """Make the tables of a missing SQLite file aside, and rename it when all are there.

    Each statement commits by itself: whoever is killed between two of them would leave a file that no study can be
    opened in again.
    """
    if has_content(file):
        return
    with made_aside(file) as aside:
        storage = RDBStorage(file_url(aside))
        storage.remove_session()
        storage.engine.dispose()


def _make_missing_indexes(storage: RDBStorage, url: str) -> None:
    """Make the indexes that a maker lacks who was killed before there was :func:`_make_whole`.

    Raises:
        InputError: If a study's name is there more than once, since nothing held it to be unique.
    """
    try:
        for index in missing_indexes(storage):
            index.create(storage.engine)
    except IntegrityError:
        raise InputError(
            f"the storage {shown(url)} must hold each study once, but several have one name: its maker was killed, and "
            "none of them can be opened; remove it (in a workspace by 'srnas studies rm') and run the same command "
            "again: what was trained is in the cache."
        ) from None


@contextlib.contextmanager
def critical(url: str, part: str, *, waits: bool = True) -> Iterator[bool]:
    """Let one process at a time into a part of the work on a storage, on all machines; a dead one leaves it.

    Without ``waits``, who comes second is told so by ``False``, and leaves the part to the other.

    Raises:
        InputError: If the folder of a SQLite file cannot be written.
        StorageInternalError: If the storage does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = Path(parsed.database or "")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(_lock_file(file, part))
            # Whoever lists studies holds it for a moment.
            lock.acquire(timeout=-1 if waits else _MOMENT_S, poll_interval=_POLL_S)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise InputError(f"'{file.parent}' must be writable, but {error}; give another --workspace.") from None
        try:
            yield True
        finally:
            if not waits:
                # Each such part is done once, and its file would lie there for good.
                with contextlib.suppress(OSError):
                    _lock_file(file, part).unlink()
            lock.release()
        return
    # PostgreSQL names such locks by 64-bit integers, and Python's own hash differs between processes.
    number = int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "big", signed=True)
    try:
        # Without a pool, to close the connection ends the session, and with it the lock.
        connection = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()
        how = "pg_advisory_lock" if waits else "pg_try_advisory_lock"
        is_in = connection.execute(text(f"SELECT {how}(:number)"), {"number": number}).scalar() is not False
    except ImportError:
        # This raises the error that names the missing package.
        open_storage(url, create=False)
        raise
    except SQLAlchemyError as error:
        raise StorageInternalError(_first_line(error)) from error
    try:
        yield is_in
    finally:
        with contextlib.suppress(SQLAlchemyError):
            connection.close()


def _lock_file(file: Path, part: str) -> Path:
    return file.with_name(f"{file.name}.{part}.lock")


def study_files(url: str) -> list[Path]:
    """Return the files of a study that lies in a SQLite file of its own."""
    file = Path(make_url(url).database or "")
    return [
        file,
        *file.parent.glob(f"{file.name}.*.lock"),
        *(file.with_name(file.name + end) for end in ("-wal", "-shm")),
    ]


def patiently(action: Callable[[], T], url: str, on_wait: Callable[[str], None]) -> T:
    """Return what ``action`` returns, tried again while the storage does not answer.

    Raises:
        StorageLostError: If it does not answer for five minutes.
    """

    def reason(state: RetryCallState) -> str:
        error = state.outcome.exception() if state.outcome else None
        return _first_line(error.__cause__ or error) if error else ""

    def say(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            on_wait(f"the storage {shown(url)} does not answer ({reason(state)}); trying again for {_PATIENCE_S:g} s")

    def give_up(state: RetryCallState) -> NoReturn:
        raise StorageLostError(
            f"the storage {shown(url)} must answer, but for {_PATIENCE_S:g} s it did not: {reason(state)}. Every "
            "finished trial is kept; run the same command again when it is back."
        )

    return Retrying(
        retry=retry_if_exception_type(StorageInternalError),
        wait=wait_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        stop=stop_after_delay(_PATIENCE_S),
        before_sleep=say,
        retry_error_callback=give_up,
    )(action)


def shown(url: str) -> str:
    """Return a URL without its password."""
    return f"'{make_url(url).render_as_string(hide_password=True)}'"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
