"""The end of a search in another data type than float32: what is near the front is scored as it is timed.

A search goes by what networks are trained to, in float32. Which of them rank in the data type that is timed, only their
own scores there say. Whoever could be on the front or near it with the PSNR of its training is scored, until all who
still could be are: what is left has no rank, and would have none with that PSNR either.
"""

from functools import partial

from srnas.leaderboard.rank.confidence import near_front
from srnas.leaderboard.record.trials import TrialRecord
from srnas.nas.run.outcome import NEAR_DB
from srnas.nas.run.session import Session
from srnas.nas.study.snapshot import Snapshot

# A candidate is a neighbour of the front as well if so much less of its latency would put it there: two timings of one
# network, alone and beside other work, differ by less.
NEAR_SHARE = 0.1


def unscored(known: Snapshot) -> list[tuple[TrialRecord, int]]:
    """Return the trials near the front, and their seeds, that are still to be scored as they are timed.

    A trial that was trained again stands there once for each seed, with the protocol that its weights are kept by.
    """
    if known.study is None or known.settings is None or not known.study.ranks_timed:
        return []
    near = {record.number: record for record in near_front(known.hoped, NEAR_DB, NEAR_SHARE)}
    due = [(record, known.settings.training.seed) for record in near.values()]
    for one in known.trained_again:
        if one.number in near:
            protocol = known.settings.with_training(seed=one.seed).protocol
            due.append((near[one.number].model_copy(update={"protocol": protocol}), one.seed))
    return [(record, seed) for record, seed in due if (record.number, seed) not in known.timed]


def score_as_timed(session: Session) -> Snapshot:
    """Score what is near the front as it is timed, and return what the study holds then.

    Each score is kept at once, so that a search which is killed here goes on with the next. What has its weights in the
    workspace of another machine stays unscored.

    Raises:
        DeviceBusyError: If another process holds the device for too long.
    """
    stored, workspace = session.search.stored, session.publisher.workspace
    known = session.snapshot()
    while due := [
        (record, seed, weights) for record, seed in unscored(known) if (weights := workspace.weights(record)).is_file()
    ]:
        scorer = session.judge.timed_scorer
        session.observer.on_note(f"scoring {len(due)} network{'s' * (len(due) > 1)} near the front in {scorer}")
        for record, seed, weights in due:
            scores = scorer.score(record.number, seed, record.architecture, weights)
            if scores.reason:
                session.observer.on_note(f"trial {record.number} has no rank: {scores.reason}")
            session.lasting(partial(stored.keep_timed, scores))
        known = session.snapshot()
    return known
