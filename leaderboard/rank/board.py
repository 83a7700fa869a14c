"""Rows of a study as a ranked board: the front first, with its gain over bicubic and its hypervolume."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from srnas.leaderboard.rank.budget import meets
from srnas.leaderboard.rank.confidence import confidence_rows
from srnas.leaderboard.rank.front import hypervolume, non_dominated
from srnas.leaderboard.record.columns import COLUMNS, DOUBT
from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.timed_quality import as_ranked, replicates_as_ranked
from srnas.leaderboard.record.trials import Replicate, TrialRecord
from srnas.search_space import InputError, unknown_name

# By name the column that a board is sorted by, and whether its least value comes first.
SORTS = {
    "front": ("", True),
    "psnr": ("ranked_db", False),
    "latency": ("latency_fastest_ms", True),
    "macs": ("macs_g", True),
    "params": ("params_k", True),
    "probability": ("front_probability", False),
}


@dataclass(frozen=True)
class Board:
    """A study's trials in ranking order.

    Attributes:
        study: The study.
        rows: One row per trial: complete ones first (front by rising latency, then the rest by falling PSNR, then what
            lacks the PSNR that is ranked), with the added columns ``front``, ``ranked_db`` (that PSNR: the mean over
            its trainings) and ``gain_db`` (it less bicubic's). The index is the place in that order.
        hypervolume: Area between the front and the study's reference point, in dB times natural log of latency.
    """

    study: StudyRecord
    rows: pd.DataFrame
    hypervolume: float

    @property
    def front(self) -> pd.DataFrame:
        """The non-dominated trials by rising latency."""
        return self.rows[self.rows["front"]]

    @property
    def ranked(self) -> pd.DataFrame:
        """The complete trials that have the PSNR which is ranked."""
        if self.rows.empty:
            return self.rows
        return self.rows[(self.rows["state"] == "complete") & self.rows["ranked_db"].notna()]

    @property
    def psnr_said(self) -> str:
        """What the PSNR is called that is ranked."""
        return f"{self.study.psnr_said}, mean over seeds," if self.tells("psnr_mean_db") else self.study.psnr_said

    def tells(self, key: str) -> bool:
        """Return whether a column tells something of a trial."""
        return key in self.rows and bool(self.rows[key].notna().any())

    def selected(
        self, *, sort: str = "front", max_latency_ms: float | None = None, min_psnr_y_db: float | None = None
    ) -> "Board":
        """Return the rows within these limits, in another order; what is on the front stays so.

        Args:
            sort: ``front`` as ranked, else one of ``SORTS``; rows without the value come last.
            max_latency_ms: Budget in milliseconds, which the fastest round meets.
            min_psnr_y_db: Least PSNR-Y in dB, of that which is ranked.

        Raises:
            InputError: If there is no such order, no row has what it goes by, or a budget is not positive.
        """
        if sort not in SORTS:
            raise unknown_name("order", sort, SORTS)
        if max_latency_ms is not None and not max_latency_ms > 0:
            raise InputError(f"max_latency_ms > 0 must hold, but got max_latency_ms={max_latency_ms:g}.")
        rows = self.rows
        if rows.empty:
            return self
        if max_latency_ms is not None:
            rows = rows[[meets(fastest_ms, max_latency_ms) for fastest_ms in rows["latency_fastest_ms"]]]
        if min_psnr_y_db is not None:
            rows = rows[rows["ranked_db"] >= min_psnr_y_db]
        column, ascending = SORTS[sort]
        if column and column not in rows:
            raise InputError(
                f"a trial of study '{self.study.name}' must have a {column} to sort by '{sort}', but none has; sort by "
                "another, or let the study end."
            )
        if column:
            rows = rows.sort_values(column, ascending=ascending, kind="stable", na_position="last")
        return replace(self, rows=rows)

    def best(self, others: int) -> "Board":
        """Return the front and so many of the best others, in the order in which they stand here."""
        kept = self.rows.sort_index().index[: len(self.front) + others]
        return replace(self, rows=self.rows[self.rows.index.isin(kept)])

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as plain data; what was not measured is ``None``."""
        plain = self.rows.astype(object).where(self.rows.notna(), None)
        return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def frame_of(rows: Iterable[TrialRow]) -> pd.DataFrame:
    """Return rows as a table in their order; what is not known is NaN.

    Doubt, runs and PSNR in the data type that is timed are no columns where no row has them.
    """
    frame = pd.DataFrame([vars(row) for row in rows])
    if frame.empty:
        return frame
    unknown = [key for key in (*DOUBT, "run_id", "timed_psnr_y_db") if frame[key].isna().all()]
    # A column of nothing but None would hold objects, and whole numbers beside None fractions.
    whole = dict.fromkeys(("num_seeds", "timed_together_ms"), "Int64")
    numbers = {c.key: "float64" for c in COLUMNS if c.digits and c.key in frame} | whole
    return frame.astype(numbers).drop(columns=unknown)


def rank_rows(study: StudyRecord, rows: pd.DataFrame, confidence: pd.DataFrame | None = None) -> Board:
    """Rank the rows of :meth:`Store.rows`, joined by trial with those of :func:`confidence_rows`, if given."""
    if rows.empty:
        return Board(study, rows.assign(front=False, ranked_db=0.0, gain_db=0.0), 0.0)
    if confidence is not None:
        rows = rows.drop(columns=list(DOUBT), errors="ignore").merge(confidence, on="trial", how="left")
    known = rows.reindex(columns=["psnr_mean_db", study.ranked_by])
    complete, ranked = rows["state"] == "complete", known["psnr_mean_db"].fillna(known[study.ranked_by])
    points = list(zip(ranked.where(complete), rows["latency_fastest_ms"], strict=True))
    rows = rows.assign(front=non_dominated(points), ranked_db=ranked, gain_db=ranked - study.bicubic_psnr_y_db)
    order = pd.DataFrame(
        {
            # Whether it is not on the front, not ranked, not finished.
            "group": 3 - rows["front"].astype(int) - (complete & ranked.notna()) - complete,
            "value": rows["latency_fastest_ms"]
            .where(rows["front"], -ranked.fillna(rows["psnr_y_db"]))
            .fillna(rows["trial"]),
        }
    ).sort_values(["group", "value"])
    reference = (study.reference_psnr_y_db, study.reference_fastest_ms)
    return Board(study, rows.loc[order.index].reset_index(drop=True), hypervolume(points, reference))


def rank_records(study: StudyRecord, trials: Sequence[TrialRecord], replicates: Sequence[Replicate] = ()) -> Board:
    """Rank trials that need not be in MLflow, with their doubt."""
    doubt = confidence_rows(as_ranked(study, trials), replicates_as_ranked(study, replicates))
    return rank_rows(study, frame_of(map(TrialRow.of, trials)), doubt)
