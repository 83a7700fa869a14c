"""Rows of a study as a ranked board: the front first, with its gain over bicubic and its hypervolume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from srnas.leaderboard.confidence import CONFIDENCE, confidence_rows
from srnas.leaderboard.front import hypervolume, non_dominated
from srnas.leaderboard.record import Replicate, StudyRecord, TrialRecord
from srnas.search_space import unknown_name

# By name the column that a board is sorted by, and whether its least value comes first.
SORTS = {
    "front": ("", True),
    "psnr": ("psnr_y_db", False),
    "latency": ("latency_stable_ms", True),
    "macs": ("macs_g", True),
    "params": ("params_k", True),
    "probability": ("front_probability", False),
}


@dataclass(frozen=True)
class Board:
    """A study's trials in ranking order.

    Attributes:
        study: The study.
        rows: One row per trial: complete ones first (front by rising latency, then the rest by falling PSNR), with
            the added columns ``front`` and ``gain_db`` (PSNR less bicubic's).
        hypervolume: Of the front against the study's reference point, in dB times natural log of latency.
    """

    study: StudyRecord
    rows: pd.DataFrame
    hypervolume: float

    @property
    def front(self) -> pd.DataFrame:
        """The non-dominated trials by rising latency."""
        return self.rows[self.rows["front"]]

    def selected(
        self, *, sort: str = "front", max_latency_ms: float | None = None, min_psnr_y_db: float | None = None
    ) -> "Board":
        """Return the rows within these limits, in another order; what is on the front stays so.

        Args:
            sort: ``front`` as ranked, else one of ``SORTS``; rows without the value come last.
            max_latency_ms: Of the fastest round.
            min_psnr_y_db: Of PSNR-Y.

        Raises:
            InputError: If there is no such order.
        """
        if sort not in SORTS:
            raise unknown_name("order", sort, SORTS)
        rows = self.rows
        if rows.empty:
            return self
        if max_latency_ms is not None:
            rows = rows[rows["latency_stable_ms"] <= max_latency_ms]
        if min_psnr_y_db is not None:
            rows = rows[rows["psnr_y_db"] >= min_psnr_y_db]
        column, ascending = SORTS[sort]
        if column in rows:
            rows = rows.sort_values(column, ascending=ascending, kind="stable", na_position="last")
        return replace(self, rows=rows.reset_index(drop=True))

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as plain data; what was not measured is ``None``."""
        plain = self.rows.astype(object).where(self.rows.notna(), None)
        return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def rank(study: StudyRecord, rows: pd.DataFrame, confidence: pd.DataFrame | None = None) -> Board:
    """Rank the rows of :meth:`Store.rows`, joined by trial with those of :func:`confidence_rows`, if given."""
    if rows.empty:
        return Board(study, rows.assign(front=False, gain_db=0.0), 0.0)
    if confidence is not None:
        rows = rows.drop(columns=list(CONFIDENCE), errors="ignore").merge(confidence, on="trial", how="left")
    complete = (rows["state"] == "complete").to_numpy()
    points = list(zip(rows["psnr_y_db"].where(complete), rows["latency_stable_ms"], strict=True))
    rows = rows.assign(front=non_dominated(points), gain_db=rows["psnr_y_db"] - study.bicubic_psnr_y_db)
    order = pd.DataFrame(
        {
            "group": [0 if front else 1 if done else 2 for front, done in zip(rows["front"], complete, strict=True)],
            "value": rows["latency_stable_ms"].where(rows["front"], -rows["psnr_y_db"]).fillna(rows["trial"]),
        }
    ).sort_values(["group", "value"])
    reference = (study.reference_psnr_y_db, study.reference_latency_ms)
    return Board(study, rows.loc[order.index].reset_index(drop=True), hypervolume(points, reference))


def rank_records(study: StudyRecord, trials: Sequence[TrialRecord], replicates: Sequence[Replicate] = ()) -> Board:
    """Rank trials that need not be in MLflow, with their doubt; the columns are as of :meth:`Store.rows`, no run."""
    return rank(study, pd.DataFrame([row_of(trial) for trial in trials]), confidence_rows(trials, replicates))


def row_of(trial: TrialRecord) -> dict[str, Any]:
    """Return a trial as a row of a board."""
    sizes, latency, quality = trial.sizes, trial.latency, trial.quality
    return {
        "task": f"x{trial.genotype.scale}",
        "study": trial.study,
        "trial": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "key": trial.genotype.key,
        "architecture": str(trial.genotype),
        "design": trial.design,
        "validation": trial.validation,
        "psnr_y_db": quality.mean_psnr_y_db if quality else math.nan,
        "ssim_y": quality.mean_ssim_y if quality else math.nan,
        "latency_stable_ms": latency.stable_ms if latency else math.nan,
        "latency_ms": latency.latency_ms if latency else math.nan,
        "latency_ms_low": latency.low_ms if latency else math.nan,
        "latency_ms_high": latency.high_ms if latency else math.nan,
        "latency_flags": ",".join(latency.flags) if latency else "",
        "params_k": sizes.params / 1e3 if sizes else math.nan,
        "macs_g": sizes.macs / 1e9 if sizes else math.nan,
        "activations_m": sizes.activations / 1e6 if sizes else math.nan,
        "peak_memory_mib": math.nan if trial.peak_memory_mib is None else trial.peak_memory_mib,
        "train_s": trial.train_s,
        "protocol": trial.protocol,
        "started_ms": trial.started_ms,
        "ended_ms": trial.ended_ms,
    }
