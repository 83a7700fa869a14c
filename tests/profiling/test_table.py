"""The block table: its fit by hand, what it covers, and one that is really timed."""

import itertools
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from srnas.profiling import CPU_PROTOCOL, BlockTable, Target, build_table, describe_device
from srnas.profiling.boards.board import Board
from srnas.profiling.parts import parts
from srnas.profiling.table import Validation, fit, space_parts
from srnas.search_space import Architecture, InputError, SearchSpace, human_designs

FAST = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.02, min_rounds=3, max_rounds=3)


def test_fit_recovers_overhead_and_factor():
    sums = [1.0, 2.0, 5.0, 9.0]
    assert fit(sums, [0.5 + 1.1 * value for value in sums]) == pytest.approx((0.5, 1.1))


def test_figures_of_a_validation():
    found = Validation.of([1.0, 2.1, 3.0, 5.2], [1.0, 2.0, 4.0, 5.0])
    assert found.mape == pytest.approx((0 + 0.05 + 0.25 + 0.04) / 4)
    assert found.kendall_tau == 1.0
    assert found.within_10_percent == 0.75
    # Nine tenths of the way through 0, 0.04, 0.05, 0.25.
    assert found.margin == pytest.approx(0.05 + 0.7 * 0.2)
    assert str(found).startswith("MAPE 8.5%, Kendall tau 1.000")


@pytest.mark.parametrize("name", ["tiny", "mobile", "man"])
def test_a_space_has_all_parts_of_its_networks(name):
    space = SearchSpace.load(name, 2)
    keys = set(space_parts(space))
    for design in human_designs(space).values():
        left_out = {part.key for part in parts(design)} - keys
        assert not left_out


GATHERING = """
channels = [16, 32]
positions = 2
trunk = [{ name = "spab", middle = 24 }, "conv"]
gather = ["none", "positions", "stem+body+first+inner", "body+picture+inner"]
tail = ["pixelshuffle", { name = "pixelshuffle", convolution = "separable" }]
colours = ["rgb", "y"]
"""


def test_a_space_has_the_tails_that_take_what_is_gathered(tmp_path):
    path = tmp_path / "gathering.toml"
    path.write_text(GATHERING)
    space, rng = SearchSpace.load(str(path), 2), random.Random(0)
    keys = set(space_parts(space))
    # Stem, body, first position and the inside of the last: 3 * 16 + 24, 3 * 32 + 24.
    assert {"gather 72 @16 as it is", "tail pixelshuffle(convolution=separable) x2 @120"} <= keys
    for _ in range(300):
        assert {part.key for part in parts(space.sample(rng))} <= keys


def test_what_a_table_would_lack_is_told_before_anything_is_timed(space_file, monkeypatch):
    monkeypatch.setattr("srnas.profiling.table.space_parts", lambda _: {})
    monkeypatch.setattr("srnas.profiling.table.measure_latency", None)
    with pytest.raises(InputError, match="a block table must hold every part of a network, but this one lacks"):
        build_table(SearchSpace.load(str(space_file), 2), (24, 24), Target(), num_calibration=4, num_validation=6)


def test_a_table_predicts_sums_and_refuses_the_rest():
    chain = Architecture.from_dict({"scale": 2, "channels": 12, "positions": [{"trunk": "conv"}, {"trunk": "conv"}]})
    other = Architecture.from_dict({"scale": 2, "channels": 12, "positions": [{"trunk": "conv", "attention": "pa"}]})
    table = BlockTable(
        device=describe_device(Target()),
        input_size=(8, 8),
        entries_ms={part.key: 1.0 for part in parts(chain)},
        overhead_ms=0.5,
        factor=2.0,
        sums_ms=(2.0, 10.0),
        validation=Validation.of([1.0, 2.0], [1.25, 2.5]),
    )
    # Stem, two convolutions, two joins, tail and skip.
    assert table.predict_ms(chain) == 0.5 + 2.0 * 7
    assert table.covers(chain)
    assert not table.covers(other)
    with pytest.raises(InputError, match=r"lacks pa @12 of x2-c12\[conv\+pa\]"):
        table.predict_ms(other)
    longer = Architecture.from_dict({"scale": 2, "channels": 12, "positions": [{"trunk": "conv"}] * 4})
    assert not table.covers(longer)
    with pytest.raises(InputError, match="must add up to 2 to 10 ms, which this block table was tried on"):
        table.predict_ms(longer)
    # Both validation networks took a quarter longer than predicted.
    assert table.least_ms(chain) == pytest.approx(14.5 / 1.2)
    assert BlockTable.model_validate_json(table.model_dump_json()) == table


def test_a_real_table(space_file):
    space = SearchSpace.load(str(space_file), 2)
    stages, rounds = [], []
    table = build_table(
        space,
        (24, 24),
        Target(),
        num_calibration=4,
        num_validation=6,
        protocol=FAST,
        on_stage=lambda text, total: stages.append((text, total)),
        on_round=rounds.append,
    )
    assert stages == [(f"parts: preparing {len(space_parts(space))}", 3), ("networks: preparing 10", 3)]
    assert rounds == [1, 2, 3] * 2
    assert all(ms > 0 for ms in table.entries_ms.values())
    assert len(table.validation.measured_ms) == 6
    assert 0 < table.validation.mape < math.inf
    assert table.sums_ms[0] < table.sums_ms[1]


@pytest.mark.parametrize(("board", "together"), [(Board("pi", "http://pi"), 2), (None, 1000)])
def test_on_a_board_parts_are_timed_as_many_at_once_as_it_holds(space_file, monkeypatch, board, together):
    stages = []

    def measure(modules, shapes, target, **_):
        stages.append(list(modules))
        latencies = {
            name: SimpleNamespace(fastest_ms=len(stages) + number / 100) for number, name in enumerate(modules)
        }
        return SimpleNamespace(latencies=latencies, device=describe_device(target))

    monkeypatch.setattr("srnas.profiling.table.measure_latency", measure)
    space = SearchSpace.load(str(space_file), 2)
    found = space_parts(space)
    widest = max(12, *(part.channels for part in found.values()))
    monkeypatch.setattr("srnas.profiling.table._BOARD_BYTES", 2 * 4 * widest * 24 * 24)
    table = build_table(space, (24, 24), Target(board=board), num_calibration=4, num_validation=6)
    assert table.entries_ms.keys() == found.keys()
    parts_alone = [stage for stage in stages if stage[0] in found]
    networks = [stage for stage in stages if stage not in parts_alone]
    assert sum(map(len, networks)) == 10
    assert max(map(len, networks)) == min(together, 10)
    assert list(itertools.chain(*parts_alone)) == list(found)
    assert max(map(len, parts_alone)) == min(together, len(found))


def test_a_space_that_is_too_small(tmp_path):
    path = tmp_path / "few.toml"
    path.write_text('channels = [8]\npositions = 2\ntrunk = ["none", "conv"]\n')
    with pytest.raises(InputError, match="must hold at least 112 networks to calibrate and validate a table"):
        build_table(SearchSpace.load(str(path), 2), (8, 8), Target())
