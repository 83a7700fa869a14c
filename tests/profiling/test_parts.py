"""Parts against the networks that they make up: their sizes add up, and each runs at the network's input."""

import random

import pytest
import torch

from srnas.profiling import count
from srnas.profiling.parts import parts
from srnas.search_space import PUBLISHED, Architecture, Network, SearchSpace, human_designs, published

SIZE = (15, 17)


def sums(architecture):
    """Return parameters and MACs of all parts together."""
    counts = [count(part.build(), (1, part.channels, *SIZE)) for part in parts(architecture)]
    return sum(c.params for c in counts), sum(c.macs for c in counts)


def whole(architecture):
    counts = count(Network(architecture).deploy(), (1, 3, *SIZE))
    return counts.params, counts.macs


@pytest.mark.parametrize("name", [name for name in PUBLISHED if not name.startswith("man")])
def test_parts_of_published_networks_add_up(name):
    architecture = published(name, 3)
    assert sums(architecture) == whole(architecture)


def test_a_mean_shift_is_left_out():
    architecture = published("man_tiny", 2)
    # Two frozen 1x1 convolutions of three channels with biases, at the input's and at the output's size.
    pixels = SIZE[0] * SIZE[1]
    params, macs = sums(architecture)
    assert whole(architecture) == (params + 2 * 12, macs + 9 * pixels * (1 + 2**2))


@pytest.mark.parametrize("space", ["tiny", "mobile"])
def test_parts_of_random_networks_add_up(space):
    loaded, rng = SearchSpace.load(space, 2), random.Random(0)
    for architecture in [*human_designs(loaded).values(), *(loaded.sample(rng) for _ in range(10))]:
        assert sums(architecture) == whole(architecture), str(architecture)


def test_parts_run_and_say_where_they_stand():
    architecture = Architecture.from_dict(
        {
            "scale": 2,
            "channels": 12,
            "positions": [{"trunk": "conv", "attention": "pa", "active": 6}, {"attention": "cbam"}],
            "end": "conv",
            "long_skip": True,
        }
    )
    found = parts(architecture)
    assert [(part.place, part.key) for part in found] == [
        ("stem", "stem @12"),
        ("p00", "conv @6"),
        ("p00", "pa @6"),
        ("p00", "join @6"),
        ("p00", "split 6 @12"),
        ("p01", "cbam @12"),
        ("p01", "scaled join @12"),
        ("end", "end conv @12"),
        ("end", "join @12"),
        ("tail", "tail pixelshuffle x2 @12"),
        ("skip", "skip bilinear x2"),
    ]
    for part in found:
        out = part.build()(torch.rand(1, part.channels, *SIZE))
        side = 2 if part.place in ("tail", "skip") else 1
        assert out.shape[-2:] == (side * SIZE[0], side * SIZE[1]), part.key
