"""Trainings on the long schedule as MLflow runs: one run each, which continues when the training does."""

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Run, RunTag

from srnas.leaderboard.record.base import SCHEMA
from srnas.leaderboard.record.finals import FinalRecord, FinalResult
from srnas.leaderboard.record.trials import Quality
from srnas.leaderboard.store.mlflow_private import MLFLOW_RUN_NAME
from srnas.leaderboard.store.runs import architecture_params, as_metrics, as_params, process_tags
from srnas.leaderboard.store.store import Store

# MLflow takes no more in one batch.
_BATCH = 1000


@dataclass(frozen=True)
class CurveValue:
    """A value of a curve.

    Attributes:
        name: Name of the metric, with its unit.
        value: A finite number.
        step: Iterations that were done.
        time_ms: Unix time in milliseconds.
    """

    name: str
    value: float
    step: int
    time_ms: int


class FinalRun:
    """The run of a training: found if it was begun before, made if it was not.

    Opening it ends the runs of dead processes, and marks this one as running here unless it is finished.

    Args:
        store: Where it is written.
        record: What is trained, and how.
        trained: Whether it has come to its end; if it has not, a finished run is that of an earlier training.
    """

    def __init__(self, store: Store, record: FinalRecord, *, trained: bool) -> None:
        self.client = store.client
        experiment = store.open_experiment(record.experiment)
        store.close_dead(experiment)
        runs = [run for run in _runs_of(store, record) if trained or run.info.status != "FINISHED"]
        run = runs[0] if runs else self._make(experiment, record)
        self.run_id = str(run.info.run_id)
        self.finished = run.info.status == "FINISHED"
        if not self.finished:
            self.client.update_run(self.run_id, "RUNNING")
            self._tag(process_tags())
        self._log_bicubic(record, run)
        curve = self.client.get_metric_history(self.run_id, "loss")
        self._written = max((point.step for point in curve), default=0)

    def _make(self, experiment: str, record: FinalRecord) -> Run:
        architecture = record.architecture
        tags = {
            "srnas.role": "final",
            "srnas.protocol": record.protocol,
            "srnas.architecture": str(architecture),
            "srnas.schema": str(SCHEMA),
            MLFLOW_RUN_NAME: f"{architecture.key}-{record.protocol}",
            **process_tags(),
        }
        if record.trial is not None:
            tags |= {"srnas.study": record.study, "srnas.trial": str(record.trial)}
        run = self.client.create_run(experiment, tags=tags, run_name=tags[MLFLOW_RUN_NAME])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "architecture.json")
            path.write_text(json.dumps(architecture.to_dict()), encoding="utf-8")
            self.client.log_artifact(run.info.run_id, str(path))
        params = as_params(architecture_params(architecture) | record.config)
        # The key comes last: a run that is found by it is whole.
        self.client.log_batch(run.info.run_id, params=params, tags=[RunTag("srnas.key", architecture.key)])
        return run

    def _log_bicubic(self, record: FinalRecord, run: Run) -> None:
        scores = {f"bicubic_{name}": value for name, value in _scores(record.bicubic).items()}
        fresh = {name: value for name, value in scores.items() if name not in run.data.metrics}
        self.client.log_batch(self.run_id, as_metrics(fresh))

    def _tag(self, tags: dict[str, str]) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log(self, points: Sequence[CurveValue]) -> None:
        """Append to the curves what they lack: what a training repeats after it was killed is there already."""
        fresh = [Metric(p.name, p.value, p.time_ms, p.step) for p in points if p.step > self._written]
        for start in range(0, len(fresh), _BATCH):
            self.client.log_batch(self.run_id, fresh[start : start + _BATCH])
        self._written = max([self._written, *(p.step for p in points)])
        self._tag({"srnas.heartbeat": process_tags()["srnas.heartbeat"]})

    def finish(self, result: FinalResult, files: Iterable[Path]) -> None:
        """Write the outcome and end the run."""
        step = int(result.record.config["training.iterations"])
        values = _scores(result.quality)
        metrics = as_metrics({"train_s": result.train_s, **values})
        self.client.log_batch(self.run_id, [Metric(m.key, m.value, m.timestamp, step) for m in metrics])
        for file in files:
            self.client.log_artifact(self.run_id, str(file))
        self._tag({"srnas.state": "complete", "srnas.error": ""})
        self.client.set_terminated(self.run_id)

    def fail(self, reason: str, *, killed: bool) -> None:
        """End the run of an unfinished training, which can be continued."""
        self._tag({"srnas.state": "killed" if killed else "failed", "srnas.error": reason})
        self.client.set_terminated(self.run_id, "KILLED" if killed else "FAILED")


def find_final_run(store: Store, record: FinalRecord) -> str | None:
    """Return the id of the run of a training, if there is one."""
    return next((str(run.info.run_id) for run in _runs_of(store, record)), None)


def _runs_of(store: Store, record: FinalRecord) -> list[Run]:
    filters = f"tags.`srnas.protocol` = '{record.protocol}' and tags.`srnas.role` = 'final'"
    found = store.search_runs(store.open_experiment(record.experiment), filters)
    return [run for run in found if run.data.tags.get("srnas.key") == record.architecture.key]


def _scores(quality: dict[str, Quality]) -> dict[str, float]:
    psnr = {f"psnr_y_db.{name}": scores.mean_psnr_y_db for name, scores in quality.items()}
    return psnr | {f"ssim_y.{name}": scores.mean_ssim_y for name, scores in quality.items()}
