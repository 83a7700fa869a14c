"""MLKA and its layer normalisation: cases known by hand."""

import pytest
import torch
from torch import nn

from srnas.search_space import build_block
from srnas.search_space.blocks.channel_norm import ChannelLayerNorm


def test_mlka_is_an_identity_at_the_start():
    x = torch.randn(1, 6, 9, 9)
    assert torch.equal(build_block("mlka", 6)(x), x)


def test_mlka_attends_with_the_first_half(constant):
    block = build_block("mlka", 3)
    nn.init.ones_(block.scale)
    nn.init.zeros_(block.norm.weight)
    nn.init.zeros_(block.norm.bias)
    nn.init.zeros_(block.project_in.weight)
    block.project_in.bias.data = torch.tensor([2.0, 2.0, 2.0, 5.0, 5.0, 5.0])
    nn.init.dirac_(block.project_out.weight)
    nn.init.zeros_(block.project_out.bias)
    for branch in block.branches:
        for conv, value in ((branch.gate, 3.0), (branch.point, 7.0), (branch.local, 0.0), (branch.dilated, 0.0)):
            constant(conv, 0.0, value)
    x = torch.randn(1, 3, 8, 8)
    # v = 5, m = 3 * 7 whatever x is: a product without a sigmoid.
    torch.testing.assert_close(block(x), x + 5.0 * 21.0)


def test_mlka_reaches_as_far_as_stated(constant):
    x = torch.zeros(1, 3, 99, 99)
    for branch, reach in zip(build_block("mlka", 3).branches, (11, 23, 39), strict=True):
        for conv in (branch.local, branch.dilated, branch.point):
            constant(conv, 1.0, 0.0)
        constant(branch.gate, 0.0, 1.0)
        impulse = x[:, :1].clone()
        impulse[..., 49, 49] = 1
        assert branch(impulse)[0, 0, 49].count_nonzero() == reach


def test_channel_layer_norm_equals_torch():
    x = torch.randn(2, 5, 4, 3)
    norm = nn.LayerNorm(5, eps=1e-6)
    expected = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ChannelLayerNorm(5)(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_channel_layer_norm_of_large_values_in_half_precision(dtype):
    x = (3000 * torch.randn(1, 12, 4, 4)).to(dtype)
    torch.testing.assert_close(ChannelLayerNorm(12)(x).float(), ChannelLayerNorm(12)(x.float()), rtol=0.02, atol=0.02)
