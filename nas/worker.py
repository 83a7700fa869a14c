"""A worker: claims candidates of a study one after another until there is nothing left to do."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from optuna.exceptions import StorageInternalError

from srnas.leaderboard import Rung, TrialRecord
from srnas.nas.accountability import SETTLED, without_signal
from srnas.nas.judging import Judge
from srnas.nas.publishing import Publisher
from srnas.nas.rungs import Decision
from srnas.nas.storage import patiently
from srnas.nas.stored import is_on_front
from srnas.nas.study import Claim, Search, Standing

T = TypeVar("T")

# How often a worker looks whether the others have left something to do.
_POLL_S = 0.5


def work(search: Search, judge: Judge, publisher: Publisher) -> Standing:
    """Judge candidates until the study has its total; several processes may do so at once.

    Returns:
        Why there is nothing left to claim.

    Raises:
        KeyboardInterrupt: After the candidate at hand is given back.
        StorageLostError: If the storage does not answer for too long; a result at hand is in the cache.
        InputError: If the workspace cannot be written; as with the device being busy, the candidate is given back.
        DeviceBusyError: If another process holds the device for too long.
    """
    observer = judge.observer

    def lasting(action: Callable[[], T]) -> T:
        return patiently(action, search.url, observer.on_note)

    shown = {record.number for record in lasting(lambda: search.records)}
    due, mine, idle = SETTLED, set[int](), True
    while True:
        records = lasting(lambda: search.records)
        for record in (record for record in records if record.number not in shown):
            shown.add(record.number)
            observer.on_record(record, is_on_front(record, records))
        # Others write what they judged; what one of them left when it died is looked for where there is time.
        publisher.publish(records, None if idle else mine)
        if len(records) >= due:
            due = 2 * len(records)
            _drop_proxies(judge, records)
        claim = lasting(search.claim)
        idle = not isinstance(claim, Claim)
        if isinstance(claim, Claim):
            mine.add(claim.number)
            _work_on(claim, search, judge)
        elif claim is Standing.WAIT:
            time.sleep(_POLL_S)
        else:
            publisher.publish(lasting(lambda: search.records))
            return claim


def _drop_proxies(judge: Judge, records: Sequence[TrialRecord]) -> None:
    for name, found in without_signal(records, judge.proxies).items():
        judge.proxies.discard(name)
        judge.observer.on_note(f"{found}: it is computed no more")


def _work_on(claim: Claim, search: Search, judge: Judge) -> None:
    observer = judge.observer

    def gate(rung: Rung, latency_ms: float) -> Decision:
        return patiently(lambda: search.at_rung(claim, rung, latency_ms), search.url, observer.on_note)

    try:
        observer.on_trial(claim.number, claim.architecture, claim.design)
        with search.heartbeat(claim):
            record = judge.judge(claim.architecture, claim.number, claim.design, gate, claim.predictions)
            held = patiently(lambda: search.finish(claim, record), search.url, observer.on_note)
    except BaseException:
        with contextlib.suppress(StorageInternalError):  # Then others find out that this process is dead.
            search.release(claim)
        raise
    if not held:
        observer.on_note(f"trial {claim.number} was given to another worker: this one had been silent for too long")
