"""Results: records, the MLflow store, the front, tables and figures."""

from srnas.leaderboard.figure import write_html, write_png
from srnas.leaderboard.front import hypervolume, non_dominated
from srnas.leaderboard.profile_figure import profile_figures
from srnas.leaderboard.profile_table import latency_table, places_table, reconciliations, sizes_table
from srnas.leaderboard.ranking import Board, rank
from srnas.leaderboard.record import Quality, Replicate, Rung, Sizes, State, StudyRecord, TrialRecord
from srnas.leaderboard.store import Store
from srnas.leaderboard.table import board_summary, board_table

__all__ = [
    "Board",
    "Quality",
    "Replicate",
    "Rung",
    "Sizes",
    "State",
    "Store",
    "StudyRecord",
    "TrialRecord",
    "board_summary",
    "board_table",
    "hypervolume",
    "latency_table",
    "non_dominated",
    "places_table",
    "profile_figures",
    "rank",
    "reconciliations",
    "sizes_table",
    "write_html",
    "write_png",
]
