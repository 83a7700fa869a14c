"""Pixel attention: a case known by hand."""

import torch
from torch import nn

from srnas.search_space import build_block


def test_pixel_attention_closed_form():
    block = build_block("pa", 2)
    nn.init.dirac_(block.conv.weight)
    nn.init.zeros_(block.conv.bias)
    x = torch.randn(1, 2, 3, 4)
    torch.testing.assert_close(block(x), x * x.sigmoid())
