"""A trial as one row: what the leaderboard shows, MLflow stores, and CSV and JSON print."""

from dataclasses import dataclass
from typing import Any, Self

from srnas.leaderboard.record.trials import TrialRecord


@dataclass(frozen=True)
class TrialRow:
    """A row; :data:`~srnas.leaderboard.record.columns.COLUMNS` states the meaning and unit of each field.

    ``None`` is what was not measured, or is not known.
    """

    task: str
    study: str
    trial: int
    state: str
    reason: str
    key: str
    architecture: str
    design: str
    validation: str
    latency_flags: str
    protocol: str
    psnr_y_db: float | None = None
    timed_psnr_y_db: float | None = None
    psnr_mean_db: float | None = None
    psnr_se_db: float | None = None
    num_seeds: int | None = None
    front_probability: float | None = None
    step_db: float | None = None
    step_se_db: float | None = None
    step_is_tie: float | None = None
    ssim_y: float | None = None
    latency_fastest_ms: float | None = None
    latency_median_ms: float | None = None
    latency_median_low_ms: float | None = None
    latency_median_high_ms: float | None = None
    latency_reference_ratio: float | None = None
    params_k: float | None = None
    macs_g: float | None = None
    fvcore_macs_g: float | None = None
    ptflops_macs_g: float | None = None
    other_ops_m: float | None = None
    activations_m: float | None = None
    bytes_moved_g: float | None = None
    peak_memory_mib: float | None = None
    max_abs_difference: float | None = None
    timed_together_ms: int | None = None
    train_s: float | None = None
    started_ms: int = 0
    ended_ms: int | None = None
    run_id: str | None = None

    @classmethod
    def of(cls, trial: TrialRecord) -> Self:
        """Return the row of a trial, without what only MLflow knows of it: its run and its doubt."""
        return cls(
            task=f"x{trial.architecture.scale}",
            study=trial.study,
            trial=trial.number,
            state=trial.state,
            reason=trial.reason or trial.timed_reason,
            key=trial.architecture.key,
            architecture=str(trial.architecture),
            design=trial.design,
            validation=trial.validation,
            latency_flags=",".join(trial.latency.flags) if trial.latency else "",
            protocol=trial.protocol,
            peak_memory_mib=trial.peak_memory_mib,
            max_abs_difference=trial.max_abs_difference,
            timed_together_ms=trial.timed_together_ms,
            train_s=trial.train_s,
            started_ms=trial.started_ms,
            ended_ms=trial.ended_ms,
            **_measured(trial),
        )


def _measured(trial: TrialRecord) -> dict[str, Any]:
    """Return what was counted, timed and reached, as far as the trial got."""
    found: dict[str, Any] = {}
    if sizes := trial.sizes:
        found |= {
            "params_k": sizes.params / 1e3,
            "macs_g": sizes.macs / 1e9,
            "fvcore_macs_g": _billions(sizes.fvcore_macs),
            "ptflops_macs_g": _billions(sizes.ptflops_macs),
            "other_ops_m": sizes.other_ops / 1e6,
            "activations_m": sizes.activations / 1e6,
            "bytes_moved_g": _billions(sizes.bytes_moved),
        }
    if latency := trial.latency:
        found |= {
            "latency_fastest_ms": latency.fastest_ms,
            "latency_median_ms": latency.median_ms,
            "latency_median_low_ms": latency.low_ms,
            "latency_median_high_ms": latency.high_ms,
            "latency_reference_ratio": latency.reference_ratio,
        }
    if quality := trial.quality:
        found |= {"psnr_y_db": quality.mean_psnr_y_db, "ssim_y": quality.mean_ssim_y}
    if timed := trial.timed_quality:
        found["timed_psnr_y_db"] = timed.mean_psnr_y_db
    return found


def _billions(count: int | None) -> float | None:
    return None if count is None else count / 1e9
