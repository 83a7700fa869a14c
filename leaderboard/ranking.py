"""Rows of a study as a ranked board: the front first, with its gain over bicubic and its hypervolume."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from srnas.leaderboard.front import hypervolume, non_dominated
from srnas.leaderboard.record import StudyRecord


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

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as plain data; what was not measured is ``None``."""
        plain = self.rows.astype(object).where(self.rows.notna(), None)
        return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def rank(study: StudyRecord, rows: pd.DataFrame) -> Board:
    """Rank the rows of :meth:`Store.rows`."""
    if rows.empty:
        return Board(study, rows.assign(front=False, gain_db=0.0), 0.0)
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
