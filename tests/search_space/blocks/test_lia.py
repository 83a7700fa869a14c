"""LIA: cases known by hand."""

import math

import pytest
import torch

from srnas.search_space import InputError, build_block


def test_lia_with_zero_weights_scales_by_two_constants(constant):
    block = build_block("lia", 6, features=4)
    for conv in (block.squeeze, block.reduce, block.expand):
        constant(conv, 0.0, 0.3)
    x = torch.randn(1, 6, 15, 22)
    sigmoid = 1 / (1 + math.exp(-0.3))
    torch.testing.assert_close(block(x), x * sigmoid * x[:, :1].sigmoid())


def test_lia_is_shut_where_channel_0_is_very_negative():
    x = torch.randn(1, 6, 9, 9)
    x[:, 0] = -1e4
    assert build_block("lia", 6)(x)[:, 1:].abs().max() == 0


@pytest.mark.parametrize(("side", "map_side"), [(7, 1), (12, 1), (13, 2), (64, 10), (180, 29), (256, 42)])
def test_lia_map_size(side, map_side):
    block = build_block("lia", 3, features=1)
    assert block.reduce(block.pool(torch.zeros(1, 1, side, side))).shape[-1] == map_side


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (1, 1)])
def test_lia_refuses_small_inputs(shape):
    with pytest.raises(InputError, match=r"width and height must be at least 7 for block 'lia', but got \d+x\d+"):
        build_block("lia", 4)(torch.zeros(1, 4, *shape))
