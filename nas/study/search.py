"""A study as its workers use it: stored state, claims of candidates, and results at the rungs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from srnas.leaderboard.record.studies import StudyRecord
from srnas.nas.study.claims import Claims
from srnas.nas.study.proposer import Proposer
from srnas.nas.study.rung_book import RungBook
from srnas.nas.study.settings import StudySettings
from srnas.nas.study.storage import critical
from srnas.nas.study.stored import StoredStudy
from srnas.profiling import BlockTable
from srnas.search_space import Architecture, SearchSpace, human_designs


@dataclass(frozen=True, eq=False)
class Search:
    """A study that is open in this process.

    Attributes:
        url: URL of the study's storage.
        settings: Settings that the study was started with.
        space: The space that candidates come from.
        stored: The study in its storage.
        claims: Claims of this process on the study's candidates.
        rung_book: Results of the study's trials at each rung.
    """

    url: str
    settings: StudySettings
    space: SearchSpace
    stored: StoredStudy
    claims: Claims
    rung_book: RungBook

    def begin(self, make_record: Callable[[], StudyRecord], first: Iterable[Architecture] = ()) -> StudyRecord:
        """Return the study's record, made at its first start, when what is to be judged first is queued."""
        with critical(self.url, f"{self.settings.name}.claim"):
            # Asked again under the lock: the reference point of the hypervolume must be that of one worker.
            known = self.stored.snapshot().study
            if known is not None:
                return known
            record = make_record()
            self._enqueue(first)
            # Last: a study without this record has not begun, and the next worker starts over.
            self.stored.keep_study(record)
            return record

    def queue(self, architectures: Iterable[Architecture]) -> None:
        """Queue what the study does not hold yet."""
        with critical(self.url, f"{self.settings.name}.claim"):
            self._enqueue(architectures)

    def _enqueue(self, architectures: Iterable[Architecture]) -> None:
        for architecture in architectures:
            self.stored.enqueue_once(self.space.params(architecture))

    def want(self, *, total: int, patience: int | None = None, request: str = "") -> None:
        """Keep how many trials the study shall hold, when it ends before, and what the user asked for."""
        with critical(self.url, f"{self.settings.name}.claim"):
            self.stored.keep_wishes(total=total, patience=patience, request=request)


def open_search(
    url: str, settings: StudySettings, space: SearchSpace, table: BlockTable | None = None, *, as_worker: bool = False
) -> Search:
    """Open a study, made if there is none.

    Args:
        url: URL of the storage.
        settings: Must equal those that an existing study of this name was started with.
        space: The space that candidates come from.
        table: Predicts latencies of proposals, if there is one.
        as_worker: Whether the study is joined: a worker may train on another device.

    Raises:
        InputError: If the study exists with other settings.
        StorageInternalError: If the storage does not answer.
    """
    with critical(url, f"{settings.name}.claim"):
        stored = StoredStudy.create(url, settings.name)
        known = stored.snapshot().settings
        if known is None:
            stored.keep_settings(settings)
        else:
            settings.check_same(known.model_copy(update={"device": settings.device}) if as_worker else known)
    proposer = Proposer(stored, settings, space, table)
    designs = {design.key: name for name, design in human_designs(space).items()}
    claims = Claims(url, stored, settings, proposer, space, designs)
    return Search(url, settings, space, stored, claims, RungBook(stored, settings.rungs))
