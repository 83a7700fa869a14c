"""Block tables in a workspace: where they are kept, and how a search uses one."""

from dataclasses import replace

import pytest

from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.nas.run.request import SearchRequest
from srnas.nas.study.options import Budgets
from srnas.nas.workspace.tables import find_table, save_table, table_path
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import CPU_PROTOCOL, Target, build_table
from srnas.profiling.table import Validation
from srnas.search_space import InputError, SearchSpace

pytestmark = pytest.mark.usefixtures("brief_latency", "coarse_figures")

FAST = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.02, burst_ms=1.0, min_rounds=3, max_rounds=3)
# Longer than any network of the space takes on any machine, and shorter than what the table says of a slow part.
LIMIT_MS, SLOW_MS = 1e4, 1e9


class Witness(Observer):
    """Keeps what a search says."""

    def __init__(self):
        self.notes, self.records = [], []
        self.on_note = self.notes.append

    def on_record(self, record, on_front):
        self.records.append(record)


@pytest.fixture
def space(space_file):
    return SearchSpace.load(str(space_file), 2)


@pytest.fixture
def built(space):
    return build_table(space, (16, 16), Target(), num_calibration=2, num_validation=4, protocol=FAST)


def test_a_path_belongs_to_space_scale_size_and_device_profile(space, space_file, tmp_path):
    path = table_path(Workspace(tmp_path), space, Target(), (16, 24))
    assert path.parent == tmp_path / "tables"
    assert path.name.startswith("small-x2-24x16-")
    others = [
        table_path(Workspace(tmp_path), SearchSpace.load("tiny", 2), Target(), (16, 24)),
        table_path(Workspace(tmp_path), SearchSpace.load(str(space_file), 3), Target(), (16, 24)),
        table_path(Workspace(tmp_path), space, Target(), (24, 16)),
        table_path(Workspace(tmp_path), space, Target(memory_format="channels_last"), (16, 24)),
        table_path(Workspace(tmp_path), space, Target(runtime="onnxruntime"), (16, 24)),
    ]
    assert len({path, *others}) == 6


def test_a_table_is_kept_and_found(space, built, tmp_path):
    assert find_table(Workspace(tmp_path), space, Target(), (16, 16)) is None
    path = table_path(Workspace(tmp_path), space, Target(), (16, 16))
    save_table(built, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert find_table(Workspace(tmp_path), space, Target(), (16, 16)) == built
    assert find_table(Workspace(tmp_path), space, Target(), (16, 17)) is None
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="must hold a block table, but it is damaged"):
        find_table(Workspace(tmp_path), space, Target(), (16, 16))
    with pytest.raises(InputError, match="must be writable"):
        save_table(built, path / "below")


@pytest.fixture
def search(workspace, space_file, photo_folder, held_out_folder):
    """Return a function that runs a small search and returns what it said; fields given are added."""

    def search(**fields):
        given = {"workspace": workspace, "space": str(space_file), "iterations": 1, "device": "cpu", "workers": 1}
        given |= {"train": photo_folder, "validation": held_out_folder}
        witness = Witness()
        launch(SearchRequest(**given | fields), witness)
        return witness

    return search


def test_a_search_screens_by_the_table(space, built, workspace, search):
    """Every stem is slow by this table, which lacks LIA: what has LIA is measured, what has not is over budget."""
    entries = {key: SLOW_MS if key.startswith("stem") else ms for key, ms in built.entries_ms.items()}
    known = {key: ms for key, ms in entries.items() if not key.startswith("lia")}
    # The signal of a table that was built in an instant is chance.
    signal = Validation.of((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0))
    fields = {"entries_ms": known, "overhead_ms": 0.0, "factor": 1.0, "sums_ms": (0.0, 1e12), "validation": signal}
    table = built.model_copy(update=fields)
    save_table(table, table_path(Workspace(workspace), space, Target(), (16, 16)))
    witness = search(trials=3, budgets=Budgets(max_latency_ms=LIMIT_MS))
    assert f"the block table of {len(known)} parts expects latencies: {table.validation}" in witness.notes
    states = {record.design: record.state for record in witness.records}
    assert states == {"EDSR-like": "over_budget", "PlainUSR-like": "complete", "MAN-like": "over_budget"}
    for record in witness.records:
        if record.state == "complete":
            assert record.latency.fastest_ms < LIMIT_MS
            continue
        least = table.least_ms(record.architecture)
        assert record.reason == f"fastest_ms={least:.4g} at least > 10000, by the block table"
        assert record.latency is None
        assert record.sizes.macs > 0
        assert record.rungs == ()


def test_without_a_limit_the_table_ends_nothing(space, built, workspace, search):
    slow = built.model_copy(update={"overhead_ms": SLOW_MS})
    save_table(slow, table_path(Workspace(workspace), space, Target(), (16, 16)))
    witness = search(trials=1)
    assert witness.records[0].state == "complete"
