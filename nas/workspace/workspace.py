"""A workspace, which owns every path below it and its store."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote

from srnas.leaderboard.record.finals import FinalRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.files import STORE_FILE, is_local
from srnas.leaderboard.store.store import Store
from srnas.nas.files import check_study_name
from srnas.nas.judging.cache import ResultCache
from srnas.nas.study.storage import file_url, given_url
from srnas.search_space import InputError


@dataclass(frozen=True)
class Workspace:
    """A folder of studies, results, weights and figures.

    Attributes:
        path: The folder; it need not exist.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def store(self) -> Store:
        """The MLflow store; made if it is missing.

        Raises:
            InputError: If the workspace cannot be written.
        """
        return Store(self.path)

    @property
    def has_store(self) -> bool:
        """Whether MLflow holds anything for this workspace."""
        return Store.exists(self.path)

    def check_exists(self) -> None:
        """Raise ``InputError`` unless the folder exists."""
        if not self.path.is_dir():
            raise InputError(f"a workspace must exist, but got '{self}'; run 'srnas search' first.")

    def existing_store(self) -> Store:
        """Return the store of a workspace that holds a study.

        Raises:
            InputError: If the workspace does not exist or holds none.
        """
        self.check_exists()
        if self.has_store:
            return self.store
        if self.study_files:
            raise InputError(f"'{self.path / STORE_FILE}' must exist, but it does not; run 'srnas leaderboard resync'.")
        raise InputError(f"workspace '{self}' must hold a study, but it holds none; run 'srnas search' first.")

    @property
    def shown_store(self) -> str:
        """Where MLflow keeps the results, in words: the workspace's file and the command that shows it, or another."""
        if not is_local():
            return "the store that MLFLOW_TRACKING_URI names"
        return f"{self.path / STORE_FILE} (browse it: srnas ui --workspace {quote(str(self.path))})"

    @property
    def study_files(self) -> list[Path]:
        """The SQLite files of the studies that lie in the workspace, by name."""
        return sorted((self.path / "studies").glob("*.db"))

    def study_url(self, name: str, storage: str | None = None) -> str:
        """Return the URL of a study's storage.

        Args:
            name: The study's name.
            storage: What a user gave; by default the study lies in a SQLite file of the workspace.

        Raises:
            InputError: If the given one is neither SQLite nor PostgreSQL, or a file cannot be called so.
        """
        if storage is not None:
            return given_url(storage)
        return file_url(self.path / "studies" / f"{check_study_name(name)}.db")

    def cache(self, protocol: str) -> ResultCache:
        """Return the cache of what was trained by a protocol."""
        return ResultCache(self.path / "cache", protocol)

    @property
    def reduced(self) -> Path:
        """The folder of reduced photographs."""
        return self.path / "cache" / "reduced"

    def weights(self, trial: TrialRecord) -> Path:
        """Return where the weights of a trial are, if it was trained."""
        cache, architecture = self.cache(trial.protocol), trial.architecture
        path, of_before = (cache.weights(key) for key in (architecture.key, architecture.key_of_before))
        return of_before if of_before.is_file() and not path.is_file() else path

    @property
    def figures(self) -> Path:
        """The folder of figures and reports."""
        return self.path / "figures"

    def exhibits(self, trial: TrialRecord) -> Path:
        """Return the folder of a trial's crops and places: a later study of the same name has others."""
        return self.figures / trial.study / f"{trial.number:04d}-{trial.architecture.key}-{trial.protocol}"

    def table(self, name: str) -> Path:
        """Return the file of a block table."""
        return self.path / "tables" / f"{name}.json"

    def log(self, study: str, worker: int) -> Path:
        """Return the log of a worker process."""
        return self.path / "logs" / f"{study}-{worker}.log"

    @property
    def finals(self) -> Path:
        """The folder of trainings on the long schedule."""
        return self.path / "finals"

    def final(self, record: FinalRecord) -> Path:
        """Return the folder of one of them."""
        return self.finals / f"{record.architecture.key}-{record.protocol}"
