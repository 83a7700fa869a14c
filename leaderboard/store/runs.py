"""Records as MLflow runs, with tags, params and metrics; and runs read back as rows."""

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from mlflow.entities import Metric, Param, Run

from srnas.leaderboard.record.base import SCHEMA
from srnas.leaderboard.record.before import METRICS, in_names_of_now
from srnas.leaderboard.record.columns import COLUMNS, Column
from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import TrialRecord
from srnas.search_space import Architecture

# What the run of a trial or a replicate ends as once everything is in it.
WHOLE = ("FINISHED", "FAILED")
_TAGGED = tuple(column for column in COLUMNS if column.tag)
_METRICS = tuple(column for column in COLUMNS if column.metric)
# The tags without which a run is no row.
ROW_TAGS = tuple(column.tag for column in _TAGGED)


@dataclass(frozen=True)
class FoundRun:
    """A run as it is read.

    Attributes:
        run_id: Id of the run.
        experiment_id: Id of its experiment.
        status: MLflow's: ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
        started_ms: Unix time of its start in milliseconds.
        ended_ms: Unix time of its end in milliseconds; ``None`` while it runs.
        tags: Texts by name.
        metrics: The latest value by name; what is not a number is left out.
    """

    run_id: str
    experiment_id: str
    status: str
    started_ms: int
    ended_ms: int | None
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return what MLflow's search found."""
        info, data = run.info, run.data
        metrics = {key: value for key, value in data.metrics.items() if not math.isnan(value)}
        return cls(info.run_id, info.experiment_id, info.status, info.start_time, info.end_time, data.tags, metrics)


def device_tags(study: StudyRecord) -> dict[str, str]:
    """Return the tags that name a study's device profile."""
    device = study.device
    return {
        "srnas.device": device.name,
        "srnas.device_profile": json.dumps(asdict(device), sort_keys=True),
        "srnas.runtime": device.runtime,
        "srnas.dtype": device.dtype,
        "srnas.schema": str(SCHEMA),
    }


def process_tags() -> dict[str, str]:
    """Return the tags that name this process, and that it lives now."""
    return {"srnas.host": socket.gethostname(), "srnas.pid": str(os.getpid()), "srnas.heartbeat": str(int(time.time()))}


def row_metrics(row: TrialRow) -> dict[str, float]:
    """Return the numbers of a row by the names of MLflow's metrics."""
    values = ((column, getattr(row, column.key)) for column in _METRICS)
    return {_metric_name(column, row.validation): float(value) for column, value in values if value is not None}


def row_tags(row: TrialRow) -> dict[str, str]:
    """Return the texts of a row by the names of MLflow's tags."""
    return {column.tag: str(getattr(row, column.key)) for column in _TAGGED}


def trial_params(study: StudyRecord, trial: TrialRecord) -> list[Param]:
    """Return the architecture by position, and the schedule."""
    schedule = {key: value for key, value in study.config.items() if key.startswith("training.")}
    return as_params(architecture_params(trial.architecture) | schedule)


def architecture_params(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture by position."""
    return {
        "scale": architecture.scale,
        "channels": architecture.channels,
        "stem": architecture.stem,
        "end": architecture.end,
        "long_skip": architecture.long_skip,
        "gather": architecture.gather,
        "tail": architecture.tail,
        "global_skip": architecture.global_skip,
        "depth": len(architecture.positions),
        **{f"p{depth:02d}": position for depth, position in enumerate(architecture.positions)},
    }


def as_params(params: Mapping[str, Any]) -> list[Param]:
    """Return values as MLflow holds them."""
    return [Param(key, str(value)) for key, value in params.items()]


def as_metrics(values: Mapping[str, float], timestamp_ms: int | None = None) -> list[Metric]:
    """Return finite values as metrics; MLflow's pages cannot draw inf and NaN."""
    now = timestamp_ms or int(time.time() * 1000)
    return [Metric(key, float(value), now, 0) for key, value in values.items() if math.isfinite(value)]


def read_row(run: FoundRun, task: str) -> TrialRow:
    """Return a trial's run as a row.

    Args:
        run: As it is read.
        task: The upscaling task of its experiment.
    """
    texts: dict[str, Any] = {column.key: run.tags[column.tag] for column in _TAGGED}
    metrics = in_names_of_now(run.metrics, METRICS)
    numbers = {c.key: _read(c, metrics.get(_metric_name(c, texts["validation"]))) for c in _METRICS}
    return TrialRow(
        task=task,
        **texts | {"trial": int(run.tags["srnas.trial"])},
        **numbers,
        started_ms=run.started_ms,
        ended_ms=run.ended_ms,
        run_id=run.run_id,
    )


def _metric_name(column: Column, validation: str) -> str:
    return column.metric.format(validation=validation)


def _read(column: Column, value: float | None) -> Any:
    """Return a metric as its column holds it: MLflow knows only fractions."""
    return int(value) if value is not None and column.digits == 0 else value
