"""LKA: cases known by hand."""

import torch
from torch import nn


def test_lka_weighs_with_what_its_kernels_give(silent):
    block = silent("lka", 2)
    block.point.bias.data = torch.tensor([3.0, -2.0])
    x = torch.randn(1, 2, 5, 4)
    # No sigmoid: the attention is the last bias.
    torch.testing.assert_close(block(x), x * torch.tensor([3.0, -2.0]).view(1, 2, 1, 1))


def test_lka_reaches_over_39_pixels(silent):
    block = silent("lka", 1)
    for conv in (block.local, block.dilated, block.point):
        nn.init.ones_(conv.weight)
    impulse = torch.zeros(1, 1, 99, 99)
    impulse[..., 49, 49] = 1
    attention = block.point(block.dilated(block.local(impulse)))
    assert attention[0, 0, 49].count_nonzero() == 39
