"""Brings trials in MLflow up to date: the end of a study times its front together, and scores it as it is timed."""

import math
import time
from collections.abc import Iterable
from dataclasses import replace

from mlflow.entities import Metric, RunTag

from srnas.leaderboard.record.columns import DOUBT
from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.leaderboard.store.reading import Results
from srnas.leaderboard.store.runs import row_metrics, row_tags

# What the end of a study gives to trials.
_LATE = ("timed_together_ms", "timed_psnr_y_db")


def write_timing(store: Results, study: StudyRecord, trials: Iterable[TrialRecord]) -> int:
    """Write trials whose runs hold the latency of another timing, or not the PSNR in the data type that is timed.

    Returns:
        How many trials these were; a trial without a run is none of them.
    """
    written = 0
    wanted = {trial.number: trial for trial in trials}
    # By the rows: the records themselves are files of MLflow's, which would have to be fetched one by one.
    for before in store.read_rows([study]):
        trial = wanted.get(before.trial)
        if trial is None:
            continue
        now = replace(TrialRow.of(trial), study=study.name)
        is_same = all(getattr(now, key) == getattr(before, key) for key in _LATE)
        if not is_same or trial.timed_reason not in before.reason:
            _write(store, before, now, trial)
            written += 1
    return written


def _write(store: Results, before: TrialRow, now: TrialRow, trial: TrialRecord) -> None:
    run_id = str(before.run_id)
    store.client.log_text(run_id, trial.model_dump_json(), "trial.json")
    store.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in row_tags(now).items()])
    # Last, since the time of the timing tells that all is there. A metric cannot be taken back, only be overwritten.
    values = dict.fromkeys(row_metrics(before), math.nan) | row_metrics(now)
    time_ms = int(time.time() * 1000)
    metrics = [Metric(name, value, time_ms, 0) for name, value in values.items() if name not in DOUBT]
    store.client.log_batch(run_id, metrics)
