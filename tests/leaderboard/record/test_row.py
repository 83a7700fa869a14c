"""A trial as a row: made from its record, and from its run; and the table of its columns."""

import dataclasses
import subprocess
import sys

import pytest
from handmade import study, trial

from srnas.leaderboard.rank.board import frame_of
from srnas.leaderboard.record.columns import COLUMNS, DOUBT, PAGE_KEYS
from srnas.leaderboard.record.row import TrialRow
from srnas.leaderboard.record.trials import Sizes
from srnas.leaderboard.store.store import Store

SIZES = Sizes(
    input_shape=(1, 3, 8, 8),
    params=1500,
    macs=2_000_000_000,
    other_ops=3_000_000,
    activations=4_000_000,
    bytes_moved=5_000_000_000,
    fvcore_macs=6_000_000_000,
    ptflops_macs=7_000_000_000,
)
WHOLE = trial(3, 31.5, (4.0, 4.5), started_ms=1_700_000_000_000, ended_ms=1_700_000_009_000).model_copy(
    update={"sizes": SIZES, "peak_memory_mib": 2.5, "max_abs_difference": 1e-6, "train_s": 12.5, "design": "mine"}
)
BARE = WHOLE.model_copy(
    update={"number": 4, "state": "failed", "reason": "because", "quality": None, "latency": None, "sizes": None}
)


def test_the_figures_of_a_row():
    row = TrialRow.of(WHOLE)
    assert (row.params_k, row.macs_g, row.other_ops_m, row.activations_m) == (1.5, 2.0, 3.0, 4.0)
    assert (row.bytes_moved_g, row.fvcore_macs_g, row.ptflops_macs_g) == (5.0, 6.0, 7.0)
    assert (row.latency_fastest_ms, row.latency_median_ms, row.psnr_y_db, row.ssim_y) == (4.0, 4.5, 31.5, 0.9)
    assert (row.front_probability, row.num_seeds, row.run_id, row.task) == (None, None, None, "x2")
    assert TrialRow.of(BARE).psnr_y_db is None


@pytest.mark.parametrize("record", [WHOLE, BARE], ids=["whole", "bare"])
def test_a_row_that_was_written_and_read_back_is_the_same(workspace, record):
    store = Store(workspace)
    run_id = store.write_trial(store.open_study(study()), study(), record)
    made = dataclasses.replace(TrialRow.of(record), run_id=run_id)
    assert store.read_rows([study()]) == [made]
    assert store.rows(study()).equals(frame_of([made]))


def test_the_doubt_of_a_row_is_written_and_read_back(workspace):
    store = Store(workspace)
    run_id = store.write_trial(store.open_study(study()), study(), WHOLE)
    doubt = {key: float(number) for number, key in enumerate(DOUBT, 1)} | {"num_seeds": 3}
    for key, value in doubt.items():
        store.client.log_metric(run_id, key, value)
    assert store.read_rows([study()]) == [dataclasses.replace(TrialRow.of(WHOLE), run_id=run_id, **doubt)]


def test_every_field_has_a_column_and_every_column_a_field():
    fields = {field.name for field in dataclasses.fields(TrialRow)}
    # What the place among all trials decides is no field of one.
    assert {column.key for column in COLUMNS} == fields | {"ranked_db", "gain_db"}
    assert len({column.key for column in COLUMNS}) == len(COLUMNS)
    assert set(PAGE_KEYS) <= fields


def test_a_record_loads_neither_mlflow_nor_pandas():
    """Nor does anything else of its room."""
    code = (
        "import importlib, pkgutil, sys, srnas.leaderboard.record as room\n"
        "for found in pkgutil.iter_modules(room.__path__):\n"
        "    importlib.import_module(f'{room.__name__}.{found.name}')\n"
        "print(sorted({'mlflow', 'pandas'} & sys.modules.keys()), 'srnas.leaderboard.record.row' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[] True"
