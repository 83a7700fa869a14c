"""A worker: claims candidates of a study one after another until there is nothing left to do."""

import contextlib
import time
from collections.abc import Sequence

from optuna.exceptions import StorageInternalError

from srnas.leaderboard.rank.front import is_on_front
from srnas.leaderboard.record.trials import Rung, TrialRecord
from srnas.nas.errors import DeviceLostError
from srnas.nas.judging.accounts import SETTLED, without_signal
from srnas.nas.judging.judge import Judge
from srnas.nas.run.session import Session
from srnas.nas.strategy.rungs import Decision
from srnas.nas.study.claims import Claim, Standing

# How often a worker looks whether the others have left something to do.
_POLL_S = 0.5


def work(session: Session) -> Standing:
    """Judge candidates until the study has its total; several processes may do so at once.

    Returns:
        Why there is nothing left to claim.

    Raises:
        KeyboardInterrupt: After the candidate at hand is given back.
        StorageLostError: If the storage does not answer for too long; a result at hand is in the cache.
        InputError: If the workspace cannot be written; as with the device being busy, the candidate is given back.
        DeviceLostError: If the device answers nothing any more; the candidate is given back, until it has done so to
            ``MAX_DEATHS`` processes.
        DeviceBusyError: If another process holds the device for too long.
    """
    search, judge, publisher, observer = session.search, session.judge, session.publisher, session.observer

    def judged() -> tuple[TrialRecord, ...]:
        return session.snapshot().records

    shown = {record.number for record in judged()}
    due, mine, idle = SETTLED, set[int](), True
    while True:
        records = judged()
        for record in (record for record in records if record.number not in shown):
            shown.add(record.number)
            observer.on_record(record, is_on_front(record, records))
        # Others write what they judged; what one of them left when it died is looked for where there is time.
        publisher.publish(records, None if idle else mine)
        if len(records) >= due:
            # At every doubling: a few more trials hardly change what is known of a predictor.
            due = 2 * len(records)
            _drop_proxies(judge, records)
        claim = session.lasting(search.claims.claim)
        idle = not isinstance(claim, Claim)
        if isinstance(claim, Claim):
            mine.add(claim.number)
            _work_on(claim, session)
        elif claim is Standing.WAIT:
            time.sleep(_POLL_S)
        else:
            # The trials of all workers: one that was killed may not have written its last.
            publisher.publish(judged())
            return claim


def _drop_proxies(judge: Judge, records: Sequence[TrialRecord]) -> None:
    for name, account in without_signal(records, judge.proxies).items():
        judge.proxies.discard(name)
        judge.materials.observer.on_note(f"{account}; it is dropped")


def _work_on(claim: Claim, session: Session) -> None:
    search, observer, key = session.search, session.observer, claim.architecture.key

    def gate(rung: Rung, fastest_ms: float) -> Decision:
        decide = search.rung_book.decide
        return session.lasting(lambda: decide(claim.trial, key, rung, fastest_ms, is_yardstick=bool(claim.design)))

    try:
        observer.on_trial(claim.number, claim.architecture, claim.design)
        with search.claims.heartbeat(claim):
            record = session.judge.judge(claim.architecture, claim.number, claim.design, gate, claim.predictions)
            held = session.lasting(lambda: search.claims.finish(claim, record))
    # On an interrupt as well: another worker may then claim the candidate at once.
    except BaseException as error:
        with contextlib.suppress(StorageInternalError):  # Then others find out that this process is dead.
            search.claims.release(claim, is_death=isinstance(error, DeviceLostError))
        raise
    if held:
        session.judge.settle(claim.architecture)
    else:
        observer.on_note(f"trial {claim.number} was given to another worker: this one had been silent for too long")
