"""Records as MLflow runs hold them: tags, params and metrics, and back as rows."""

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlflow.entities import Metric, Param, Run

from srnas.leaderboard.confidence import CONFIDENCE
from srnas.leaderboard.record import SCHEMA, StudyRecord, TrialRecord
from srnas.search_space import Architecture


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


def run_row(run: Run) -> dict[str, Any]:
    """Return a trial's run as a row of a board."""
    tags, metrics = run.data.tags, run.data.metrics
    validation = tags["srnas.validation"]
    return {
        "study": tags["srnas.study"],
        "trial": int(tags["srnas.trial"]),
        "state": tags["srnas.state"],
        "reason": tags["srnas.error"],
        "key": tags["srnas.key"],
        "architecture": tags["srnas.architecture"],
        "design": tags["srnas.design"],
        "validation": validation,
        "psnr_y_db": metrics.get(f"psnr_y_db.{validation}", math.nan),
        "ssim_y": metrics.get(f"ssim_y.{validation}", math.nan),
        "latency_stable_ms": metrics.get("latency_stable_ms", math.nan),
        "latency_ms": metrics.get("latency_ms", math.nan),
        "latency_ms_low": metrics.get("latency_ms.low", math.nan),
        "latency_ms_high": metrics.get("latency_ms.high", math.nan),
        "latency_flags": tags["srnas.latency_flags"],
        "params_k": metrics.get("params_k", math.nan),
        "macs_g": metrics.get("macs_g", math.nan),
        "activations_m": metrics.get("activations_m", math.nan),
        "train_s": metrics.get("train_s", math.nan),
        **{name: metrics.get(name, math.nan) for name in CONFIDENCE},
        "run_id": run.info.run_id,
    }
