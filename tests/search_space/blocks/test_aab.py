"""AAB: cases known by hand."""

import math

import pytest
import torch
from torch import nn

from srnas.search_space import Architecture, Network, build_block


@pytest.mark.parametrize("name", ["aab", "aab_m"])
def test_aab_weighs_attention_with_index_0(name, constant):
    block = build_block(name, 4, temperature=1.0)
    for conv in (block.project_in, block.project_out):
        nn.init.dirac_(conv.weight)
    for conv in (block.gate_spatial, block.gate_point, block.value, block.plain):
        nn.init.zeros_(conv.weight)
    nn.init.zeros_(block.gate_point.bias)
    nn.init.dirac_(block.value.weight)
    nn.init.dirac_(block.merge.weight)
    constant(block.squeeze, 1.0)
    block.weigh.weight.data = torch.tensor([[1.0], [0.0]])
    x = torch.full((1, 4, 5, 5), 0.25)
    # The mean's logit is 4 * 0.25 = 1, so attention weighs sigmoid(1); the gate is 1/2; the plain branch is 0.
    expected = 0.25 + 0.25 * 0.5 / (1 + math.exp(-1))
    torch.testing.assert_close(block(x), torch.full_like(x, expected))


def test_aab_m_differs_only_in_the_plain_kernel():
    assert build_block("aab", 8).plain.kernel_size == (3, 3)
    assert build_block("aab_m", 8).plain.kernel_size == (1, 1)


def test_aab_is_nearly_an_identity_at_the_start():
    # 0.046 was measured on the official block at 40 channels.
    x = torch.randn(4, 40, 16, 16)
    change = (build_block("aab", 40)(x) - x).norm() / x.norm()
    assert 0.02 < change < 0.1


@pytest.mark.parametrize("name", ["aab", "aab_m"])
@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_the_reduction_that_stands_for_others_fits_few_channels(name, reduction):
    position = {"attention": {"name": name, "reduction": reduction}, "active": 3}
    made = Architecture.from_dict({"scale": 2, "channels": 12, "positions": [position]})
    assert Architecture.from_json(made.to_json()) == made
    Network(made)
