"""Polarized self-attention: cases known by hand."""

import math

import pytest
import torch
from torch import nn

from srnas.search_space import build_block

PSA_P = {"spatial_softmax": "product", "channel_up": "conv", "projection_bias": False}
PSA_S = {"spatial_softmax": "value", "channel_up": "bottleneck", "projection_bias": False}


@pytest.mark.parametrize("options", [{}, PSA_P, PSA_S], ids=["paper", "p", "s"])
def test_psa_masks_are_a_half_without_signal(options):
    x = torch.randn(1, 8, 6, 5)
    for name, expected in (("psa_parallel", x), ("psa_sequential", x / 4)):
        block = build_block(name, 8, **options)
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        # The product's softmax gives 1/30 everywhere, whose sigmoid is not quite a half.
        slack = 0.01 * x.abs().max().item() if options.get("spatial_softmax") == "product" else 1e-6
        torch.testing.assert_close(block(x), expected, rtol=0, atol=slack)


def test_psa_channel_mask_pools_where_the_query_points():
    block = build_block("psa_parallel", 2, channel_up="conv")
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    block.channel_query.weight.data[0, 0] = 100.0
    block.channel_value.weight.data[0, 1] = 1.0
    block.channel_up.weight.data[:, 0] = 1.0
    x = torch.zeros(1, 2, 3, 3)
    x[0, 0, 1, 2], x[0, 1, 1, 2] = 1.0, 2.0
    # The softmax over pixels is one at (1, 2), where the value is 2.
    torch.testing.assert_close(block.channel_mask(x), torch.full((1, 2, 1, 1), 1 / (1 + math.exp(-2))))


def test_official_parallel_psa_has_a_nearly_constant_spatial_mask():
    # .5000 to .5246 was measured on the official module at 64x64.
    mask = build_block("psa_parallel", 32, **PSA_P).spatial_mask(torch.randn(1, 32, 64, 64))
    assert mask.min() >= 0.5
    assert mask.max() < 0.55
