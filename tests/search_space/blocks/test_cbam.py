"""CBAM: cases known by hand."""

import math

import pytest
import torch
from torch import nn

from srnas.search_space import build_block


def test_cbam_halves_twice_without_signal():
    block = build_block("cbam", 8)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(block.eval()(x), x / 4)


def test_cbam_spatial_gate_sees_maximum_then_mean(constant):
    block = build_block("cbam", 2, spatial=True).eval()
    for conv in (block.squeeze, block.expand):
        constant(conv, 0.0, 0.0)
    block.spatial.conv.weight.data.zero_()
    block.spatial.conv.weight.data[0, 0, 3, 3] = 1.0
    x = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    # The channel gate is 1/2, so the maximum is 1.5; batch norm divides by sqrt(1 + eps).
    gate = 1 / (1 + math.exp(-1.5 / math.sqrt(1 + 1e-5)))
    torch.testing.assert_close(block(x), x * 0.5 * gate)


@pytest.mark.parametrize(
    ("pool", "value"), [("avg", 0.5), ("max", 2.0), ("lp", 2.0), ("lse", math.log(3 + math.exp(2.0)))]
)
def test_cbam_pools(pool, value, constant):
    block = build_block("cbam", 1, pools=[pool], spatial=False)
    for conv in (block.squeeze, block.expand):
        constant(conv, 1.0, 0.0)
    x = torch.tensor([[0.0, 0.0], [0.0, 2.0]]).view(1, 1, 2, 2)
    torch.testing.assert_close(block(x), x / (1 + math.exp(-value)))


def test_cbam_lp_has_a_gradient_at_zero():
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    build_block("cbam", 4, pools=["lp"])(x).sum().backward()
    assert x.grad.isfinite().all()
