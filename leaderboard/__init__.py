"""Results: records, the MLflow store, the front, tables and figures."""

from srnas.leaderboard.confidence import (
    SeedSpread,
    confidence_rows,
    front_probability,
    near_front,
    paired_difference,
    seed_spread,
)
from srnas.leaderboard.curve import CurvePoint, hypervolume_curve, write_cost_curves, write_curve
from srnas.leaderboard.figure import write_png
from srnas.leaderboard.finals import FinalRun, Point
from srnas.leaderboard.front import hypervolume, non_dominated
from srnas.leaderboard.page import write_page
from srnas.leaderboard.picking import Contender, Duel, Pick, duel, pick
from srnas.leaderboard.profile_figure import profile_figures
from srnas.leaderboard.profile_table import latency_table, places_table, reconciliations, sizes_table
from srnas.leaderboard.ranking import Board, rank, rank_records
from srnas.leaderboard.record import (
    FinalRecord,
    FinalResult,
    Quality,
    Replicate,
    Rung,
    Sizes,
    State,
    StudyRecord,
    TrialRecord,
)
from srnas.leaderboard.repair import RepairStore, set_damaged_aside
from srnas.leaderboard.store import Store, StoreLostError, answering
from srnas.leaderboard.table import board_markdown, board_summary, board_table
from srnas.leaderboard.terminal import front_chart

__all__ = [
    "Board",
    "Contender",
    "CurvePoint",
    "Duel",
    "FinalRecord",
    "FinalResult",
    "FinalRun",
    "Pick",
    "Point",
    "Quality",
    "RepairStore",
    "Replicate",
    "Rung",
    "SeedSpread",
    "Sizes",
    "State",
    "Store",
    "StoreLostError",
    "StudyRecord",
    "TrialRecord",
    "answering",
    "board_markdown",
    "board_summary",
    "board_table",
    "confidence_rows",
    "duel",
    "front_chart",
    "front_probability",
    "hypervolume",
    "hypervolume_curve",
    "latency_table",
    "near_front",
    "non_dominated",
    "paired_difference",
    "pick",
    "places_table",
    "profile_figures",
    "rank",
    "rank_records",
    "reconciliations",
    "seed_spread",
    "set_damaged_aside",
    "sizes_table",
    "write_cost_curves",
    "write_curve",
    "write_page",
    "write_png",
]
