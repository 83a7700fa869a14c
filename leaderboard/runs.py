"""Records as MLflow runs hold them: tags, params and metrics, and back as rows."""

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from mlflow.entities import Metric, Param, Run

from srnas.leaderboard.confidence import CONFIDENCE
from srnas.leaderboard.record import SCHEMA, StudyRecord, TrialRecord
from srnas.search_space import Architecture

# What a trial's run ends as once everything is in it.
WHOLE = ("FINISHED", "FAILED")


@dataclass(frozen=True)
class FoundRun:
    """A run as it is read.

    Attributes:
        run_id: Its id.
        experiment_id: Of its experiment.
        status: MLflow's.
        started_ms: Unix time in milliseconds.
        ended_ms: Unix time in milliseconds; ``None`` while it runs.
        tags: By name.
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


def trial_metrics(trial: TrialRecord) -> dict[str, float]:
    """Return what was counted, measured and reached in a trial, with units in the names."""
    values: dict[str, float] = {"train_s": trial.train_s}
    if trial.sizes:
        sizes = trial.sizes
        values |= {
            "params_k": sizes.params / 1e3,
            "macs_g": sizes.macs / 1e9,
            "activations_m": sizes.activations / 1e6,
            "other_ops_m": sizes.other_ops / 1e6,
        }
        counters = {
            "fvcore_macs_g": sizes.fvcore_macs,
            "ptflops_macs_g": sizes.ptflops_macs,
            "bytes_moved_g": sizes.bytes_moved,
        }
        values |= {name: count / 1e9 for name, count in counters.items() if count is not None}
    if trial.latency:
        latency = trial.latency
        values |= {
            "latency_ms": latency.latency_ms,
            "latency_ms.low": latency.low_ms,
            "latency_ms.high": latency.high_ms,
            "latency_stable_ms": latency.stable_ms,
            "latency_reference_ratio": latency.reference_ratio,
        }
    for name in ("peak_memory_mib", "max_abs_difference"):
        if (value := getattr(trial, name)) is not None:
            values[name] = value
    if trial.quality:
        values[f"psnr_y_db.{trial.validation}"] = trial.quality.mean_psnr_y_db
        values[f"ssim_y.{trial.validation}"] = trial.quality.mean_ssim_y
    return values


def trial_params(study: StudyRecord, trial: TrialRecord) -> list[Param]:
    """Return the architecture by position, and the schedule."""
    schedule = {key: value for key, value in study.config.items() if key.startswith("training.")}
    return as_params(architecture_params(trial.genotype) | schedule)


def architecture_params(genotype: Architecture) -> dict[str, Any]:
    """Return an architecture by position."""
    return {
        "scale": genotype.scale,
        "channels": genotype.channels,
        "end": genotype.end,
        "long_skip": genotype.long_skip,
        "tail": genotype.tail,
        "global_skip": genotype.global_skip,
        "depth": len(genotype.positions),
        **{f"p{depth:02d}": position for depth, position in enumerate(genotype.positions)},
    }


def as_params(params: Mapping[str, Any]) -> list[Param]:
    """Return values as MLflow holds them."""
    return [Param(key, str(value)) for key, value in params.items()]


def as_metrics(values: Mapping[str, float], timestamp_ms: int | None = None) -> list[Metric]:
    """Return finite values as metrics; MLflow's pages cannot draw inf and NaN."""
    now = timestamp_ms or int(time.time() * 1000)
    return [Metric(key, float(value), now, 0) for key, value in values.items() if math.isfinite(value)]


# By name of a row's text the tag that holds it.
_TEXTS = {
    "study": "srnas.study",
    "state": "srnas.state",
    "reason": "srnas.error",
    "key": "srnas.key",
    "architecture": "srnas.architecture",
    "design": "srnas.design",
    "validation": "srnas.validation",
    "latency_flags": "srnas.latency_flags",
    "protocol": "srnas.protocol",
}
_TRIAL = "srnas.trial"
ROW_TAGS = (*_TEXTS.values(), _TRIAL)


def run_row(run: FoundRun) -> dict[str, Any]:
    """Return a trial's run as a row of a board."""
    metrics, texts = run.metrics, {name: run.tags[tag] for name, tag in _TEXTS.items()}
    validation = texts["validation"]
    numbers = {
        "psnr_y_db": f"psnr_y_db.{validation}",
        "ssim_y": f"ssim_y.{validation}",
        "latency_stable_ms": "latency_stable_ms",
        "latency_ms": "latency_ms",
        "latency_ms_low": "latency_ms.low",
        "latency_ms_high": "latency_ms.high",
    }
    others = ("params_k", "macs_g", "activations_m", "peak_memory_mib", "train_s", *CONFIDENCE)
    return {
        "study": texts.pop("study"),
        "trial": int(run.tags[_TRIAL]),
        **texts,
        **{name: metrics.get(key, math.nan) for name, key in numbers.items()},
        **{name: metrics.get(name, math.nan) for name in others},
        "started_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "run_id": run.run_id,
    }
