"""The split of a network's sizes by position and by block: it adds up, and its parts are what they are called."""

import random

import pytest
from torch import nn

from srnas.profiling import ModuleCounts, by_block, by_position, count
from srnas.search_space import PUBLISHED, REGISTRY, Architecture, InputError, Network, SearchSpace, published

LIA = {"trunk": "conv", "attention": "lia"}


def build(**fields):
    return Architecture.from_dict({"scale": 2, "channels": 12, **fields})


def assert_adds_up(counts, parts):
    assert sum(parts.values(), ModuleCounts()) == counts.by_module[""]
    assert all(part.params >= 0 and part.macs >= 0 and part.bytes_moved >= 0 for part in parts.values())


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_add_up(name, deployed):
    architecture = published(name, 3)
    network = Network(architecture)
    counts = count(network.deploy() if deployed else network, (1, 3, 24, 31))
    positions = by_position(counts)
    names = [f"p{i:02d}" for i in range(len(architecture.positions))]
    gather = [] if architecture.gather == "none" else ["gather"]
    assert list(positions) == ["stem", *names, "end", *gather, "tail", "skip"]
    assert_adds_up(counts, positions)
    assert_adds_up(counts, by_block(counts, architecture))


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_add_up(seed):
    architecture = SearchSpace.load("full", 2).sample(random.Random(seed))
    size = max(8, architecture.min_size)
    counts = count(Network(architecture), (1, 3, size, size))
    assert_adds_up(counts, by_position(counts))
    assert_adds_up(counts, by_block(counts, architecture))


def test_parts_are_the_closed_forms():
    architecture = build(positions=[LIA, {"attention": "pa", "active": 6}], tail="pixelshuffle")
    counts = count(Network(architecture).deploy(), (1, 3, 20, 30))
    blocks = by_block(counts, architecture)
    assert list(blocks) == ["stem", "p00.conv", "p00.lia", "p00.rest", "p01.pa", "p01.rest", "end", "tail", "skip"]
    for part, name, channels in (("p00.conv", "conv", 12), ("p00.lia", "lia", 12), ("p01.pa", "pa", 6)):
        assert blocks[part].macs == REGISTRY.block(name).macs(channels, 20, 30)
        assert blocks[part].params == REGISTRY.block(name).params(channels)
    assert blocks["stem"].macs == 3 * 12 * 9 * 600
    assert blocks["tail"].macs == 12 * 12 * 9 * 600
    # The residual of all channels; the scale, which is learned, and the residual of the active ones.
    assert (blocks["p00.rest"].other_ops, blocks["p00.rest"].params) == (12 * 600, 0)
    assert (blocks["p01.rest"].other_ops, blocks["p01.rest"].params) == (2 * 6 * 600, 6)
    assert blocks["end"] == ModuleCounts()
    # Bilinear upsampling with 4 taps, and an addition, at 40x60.
    assert blocks["skip"].other_ops == (4 + 1) * 3 * 2400


def test_positions_hold_their_blocks():
    architecture = build(positions=[{**LIA, "order": "around"}])
    counts = count(Network(architecture), (1, 3, 20, 30))
    blocks, positions = by_block(counts, architecture), by_position(counts)
    assert [name for name in blocks if name.startswith("p00")] == ["p00.lia", "p00.conv", "p00.lia.2", "p00.rest"]
    parts = [part for name, part in blocks.items() if name.startswith("p00")]
    assert sum(parts, ModuleCounts()) == positions["p00"]
    assert blocks["p00.lia"] == blocks["p00.lia.2"]


def test_what_is_no_network_has_no_positions():
    with pytest.raises(InputError, match="only a network has positions, but what was counted has no 'stem'"):
        by_position(count(nn.ReLU(), (1, 3, 8, 8)))
    counts = count(Network(build(positions=[LIA])), (1, 3, 8, 8))
    with pytest.raises(InputError, match="has 0 positions, and the counts 1"):
        by_block(counts, build())
