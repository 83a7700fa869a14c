"""The end of a search: the front, its neighbours and the human designs are timed again, together, in the same rounds.

In another data type than float32 they are scored in that type first, since that decides what the front is.

Before, each network was timed alone and briefly, at another moment than the others. A network that the latencies of one
run put on the front without having been in it joins, and all are timed again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from srnas.leaderboard.rank.budget import meets
from srnas.leaderboard.rank.confidence import near_front
from srnas.leaderboard.rank.front import front_numbers
from srnas.leaderboard.record.timing import JointTiming
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.run.outcome import NEAR_DB
from srnas.nas.run.session import Session
from srnas.nas.run.timed_quality import score_as_timed, unscored
from srnas.nas.study.snapshot import Snapshot
from srnas.profiling import Measurement, Target
from srnas.profiling.memory import is_memory
from srnas.profiling.runtimes import RuntimeFailedError
from srnas.profiling.targets import describe
from srnas.search_space import Architecture

_MOST_RUNS = 3
# Beside other work brief timings are slower by so much, and who is timed together must not hang on that.
_NEAR_SHARE = 0.3


def is_due(known: Snapshot, target: Target) -> bool:
    """Return whether the front of a study is still to be timed or scored, and this machine is the one to do it."""
    return not _is_done(known) and known.study is not None and known.study.device.key == describe(target).key


def time_front(session: Session) -> None:
    """Time the front of a study, its neighbours and the human designs together, and score them, unless that is done.

    Raises:
        DeviceBusyError: If another process holds the device for too long.
    """
    stored, target, on_note = session.search.stored, session.judge.materials.target, session.observer.on_note
    known = session.snapshot()
    if _is_done(known):
        return
    if not is_due(known, target):
        on_note(
            f"the front is not timed together: the study was timed on '{session.publisher.study.device}', and this is "
            f"'{describe(target)}'"
        )
        return
    known = score_as_timed(session)
    while not is_settled(known.hoped, known.joint):
        joint = time_front_of(known.hoped, known.joint, session.judge.time_together, on_note)
        if joint is None:
            break
        session.lasting(partial(stored.keep_joint, joint))
        known = score_as_timed(session)
    else:
        if known.joint is not None:
            _tell(session, known, known.joint)
    _tell_unscored(session, known)


def is_settled(hoped: Sequence[TrialRecord], joint: JointTiming | None) -> bool:
    """Return whether the front was timed together, as far as that is tried.

    Args:
        hoped: All judged trials, with the scores that rank them, or may.
        joint: What was timed together.
    """
    front = front_numbers(hoped)
    if joint is None or joint.judged != len(hoped):
        return not front
    return joint.runs >= _MOST_RUNS or front <= joint.networks.keys()


def time_front_of(
    hoped: Sequence[TrialRecord],
    joint: JointTiming | None,
    time_together: Callable[[Mapping[str, Architecture]], Measurement],
    on_note: Callable[[str], None],
) -> JointTiming | None:
    """Time the front, its neighbours and the human designs in one run.

    Args:
        hoped: All judged trials, with the scores that rank them, or may.
        joint: What the run before gave.
        time_together: Times networks by the numbers of their trials.
        on_note: Told what is timed, or why it is not.

    Returns:
        What the run gives; ``None`` if the networks cannot be timed side by side.
    """
    judged = len(hoped)
    # What this end has timed already stays in, since its latencies made the front what it is.
    begun = joint if joint and joint.judged == judged else None
    chosen = {record.number for record in near_front(hoped, NEAR_DB, _NEAR_SHARE)}
    chosen |= begun.networks.keys() if begun else set()
    # What was found is compared with them.
    chosen |= {record.number for record in hoped if record.design and record.point}
    front = len(front_numbers(hoped))
    on_note(f"timing the front of {front} together with {len(chosen) - front} neighbours and human designs")
    architectures = {str(record.number): record.architecture for record in hoped if record.number in chosen}
    try:
        measured = time_together(architectures)
    except (RuntimeFailedError, MemoryError, RuntimeError) as error:
        if not (isinstance(error, RuntimeFailedError) or is_memory(error)):
            raise
        on_note(f"the front is not timed together: {error}")
        return None
    return JointTiming(
        networks={int(name): measured.of(name) for name in architectures},
        ended_ms=int(time.time() * 1000),
        judged=judged,
        runs=begun.runs + 1 if begun else 1,
    )


def _is_done(known: Snapshot) -> bool:
    return not unscored(known) and is_settled(known.hoped, known.joint)


def _tell_unscored(session: Session, known: Snapshot) -> None:
    """Say which weights another machine has."""
    on_note = session.observer.on_note
    for record, seed in unscored(known):
        if seed == session.search.settings.training.seed:
            on_note(
                f"trial {record.number} has no rank: its weights are not in this workspace; it was trained on "
                f"'{record.host}'"
            )
        else:
            on_note(f"trial {record.number} ranks without seed {seed}, whose weights are not in this workspace")


def _tell(session: Session, known: Snapshot, joint: JointTiming) -> None:
    """Say what the latencies of one run did not settle, and what misses the budget by them."""
    budget_ms, on_note = session.search.settings.budgets.max_latency_ms, session.observer.on_note
    front = front_numbers(known.ranked)
    if apart := sorted(front - joint.networks.keys()):
        on_note(
            f"the front was timed together {joint.runs} times, and other networks still join it: the latency "
            f"of {_named(apart)} is not of the same run"
        )
    late = [
        record.number
        for record in known.records
        if record.number in front and budget_ms and record.latency and not meets(record.latency.fastest_ms, budget_ms)
    ]
    if late:
        on_note(f"timed together, the fastest round of {_named(late)} now misses the budget of {budget_ms:g} ms")


def _named(numbers: Sequence[int]) -> str:
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
