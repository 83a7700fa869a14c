"""Replicates: the front, what is near it and the human designs are trained again with other seeds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from optuna.exceptions import StorageInternalError

from srnas.leaderboard.rank.confidence import near_front
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.nas.errors import DeviceLostError, DivergedError, TimedOutError
from srnas.nas.run.outcome import NEAR_DB
from srnas.nas.run.session import Session
from srnas.nas.study.claims import DIED, MAX_DEATHS, Standing
from srnas.nas.study.snapshot import Snapshot
from srnas.nas.study.storage import critical
from srnas.profiling import DeviceBusyError
from srnas.search_space import InputError


def missing(known: Snapshot, seeds: int) -> list[tuple[TrialRecord, int]]:
    """Return the trials, and their seeds, that are still to be trained again; of each seed the longest trainings first.

    Args:
        known: The study.
        seeds: Number of other seeds.
    """
    if known.settings is None:
        return []
    near = {record.number for record in near_front(known.ranked, NEAR_DB)}
    again = [record for record in known.ranked if record.point and (record.design or record.number in near)]
    again.sort(key=lambda record: -record.train_s)
    first, tried = known.settings.training.seed + 1, known.tried_again
    every = ((record, seed) for seed in range(first, first + seeds) for record in again)
    return [(record, seed) for record, seed in every if (record.number, seed) not in tried]


def replicate(session: Session, seeds: int) -> Standing:
    """Train what is missing, and what these trainings bring near the front; several processes may do so at once.

    Returns:
        That nothing is left which no other process trains.
    """
    goes_on = True
    while goes_on:
        goes_on = False
        for record, seed in missing(session.snapshot(), seeds):
            with _alone(session, record, seed) as is_mine:
                # Another process may have trained it since the study was read.
                if is_mine and (record.number, seed) not in session.snapshot().tried_again:
                    _train(session, record, seed)
                    goes_on = True
    return Standing.DONE


@contextmanager
def _alone(session: Session, record: TrialRecord, seed: int) -> Iterator[bool]:
    search = session.search
    part = f"{search.settings.name}.{record.number}.{seed}"
    with ExitStack() as stack:
        yield session.lasting(lambda: stack.enter_context(critical(search.url, part, waits=False)))


def _train(session: Session, record: TrialRecord, seed: int) -> None:
    stored, observer = session.search.stored, session.observer
    deaths = session.snapshot().deaths_again.get((record.number, seed), 0)
    if deaths >= MAX_DEATHS:
        _give_up(session, record, seed, f"{deaths} {DIED}")
        return
    observer.on_trial(record.number, record.architecture, f"{record.design} seed {seed}".strip())
    try:
        with _counted(session, record, seed, deaths):
            result = session.judge.replicate(record.architecture, seed)
    except (DeviceBusyError, InputError):
        raise  # Not the network's fault: it is trained when the study goes on.
    # Another seed that fails is no reason to end a study whose trials are all judged.
    except Exception as error:
        reason = str(error) if isinstance(error, DivergedError | TimedOutError) else f"{type(error).__name__}: {error}"
        _give_up(session, record, seed, reason)
        return
    again = Replicate(number=record.number, seed=seed, quality=result.quality, train_s=result.train_s)
    session.lasting(lambda: stored.keep_replicate(again))
    observer.on_replicate(record, again)


def _give_up(session: Session, record: TrialRecord, seed: int, reason: str) -> None:
    session.observer.on_note(f"trial {record.number} with seed {seed}: {reason}")
    session.lasting(partial(session.search.stored.keep_failed, record.number, seed, reason))


@contextmanager
def _counted(session: Session, record: TrialRecord, seed: int, deaths: int) -> Iterator[None]:
    """Count the death of this process before it trains, since it cannot afterwards; who lives takes that back."""
    keep = partial(session.search.stored.keep_deaths, record.number, seed)
    session.lasting(partial(keep, deaths + 1))
    try:
        yield
    except DeviceLostError:
        raise
    except BaseException:
        with suppress(StorageInternalError):
            keep(deaths)
        raise
