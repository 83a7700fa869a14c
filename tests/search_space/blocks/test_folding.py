"""Branches that fold: exact to the border in float64, and what cannot change the output has no gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import build_block
from srnas.search_space.blocks.conv3xc import Bottleneck
from srnas.search_space.blocks.ecb import Derivative
from srnas.search_space.registry import fold_all


@pytest.mark.parametrize(("height", "width"), [(1, 3), (4, 5)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv3xc", {}),
        ("ecb", {}),
        ("ecb", {"identity": True, "multiplier": 1.5}),
        ("edbb", {"expanded": True}),
        ("edbb", {}),
        ("spab", {}),
    ],
)
def test_a_fold_is_exact_at_the_border_too(drawn, name, options, biased, height, width):
    block = drawn(name, 6, **options).double()
    if not biased:
        for key, parameter in block.named_parameters():
            if key.endswith("bias"):
                nn.init.zeros_(parameter)
    x = torch.randn(1, 6, height, width, dtype=torch.float64)
    expected = block(x)
    torch.testing.assert_close(fold_all(block.eval())(x), expected, rtol=0, atol=1e-12)


def test_a_strided_convolution_folds():
    branches = Bottleneck(3, 5, stride=2).double()
    x = torch.randn(1, 3, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(branches.merge()(x), branches(x), rtol=0, atol=1e-12)


def test_the_bias_before_a_derivative_has_no_gradient(drawn):
    """The masks sum to zero, and the ring holds the bias. Zero padding instead would give it a gradient."""
    block = drawn("ecb", 6).double()
    block(torch.randn(2, 6, 5, 6, dtype=torch.float64)).square().mean().backward()
    for name in ("sobel_x", "sobel_y", "laplacian"):
        assert block.conv.branches[name].point.bias.grad.abs().max() < 1e-12
        assert block.conv.branches[name].point.weight.grad.any()
        assert block.conv.branches[name].mask.grad is None


@pytest.mark.parametrize("mask", [((1, 0, -1), (2, 0, -2), (1, 0, -1)), ((0, 1, 0), (1, -4, 1), (0, 1, 0))])
def test_a_derivative_of_a_constant_is_its_bias_inside(mask):
    branch = Derivative(2, 2, mask).double()
    nn.init.normal_(branch.bias)
    output = branch(torch.full((1, 2, 6, 6), 3.0, dtype=torch.float64))[..., 1:-1, 1:-1]
    torch.testing.assert_close(output, branch.bias[:, None, None].expand(2, 4, 4)[None], rtol=0, atol=1e-12)


def test_what_is_built_but_not_used_is_frozen():
    parameters = dict(build_block("edbb", 4).named_parameters())
    unused = [name for name in parameters if ".expanded." in name]
    assert len(unused) == 4
    assert not any(parameters[name].requires_grad for name in unused)
    used = dict(build_block("edbb", 4, expanded=True).named_parameters())
    assert all(used[name].requires_grad for name in unused)


def test_equal_inner_widths_are_one_choice():
    cls = type(build_block("ecb", 6))
    half = cls.canonical(cls.Config(multiplier=1.55), 6)
    assert half == cls.canonical(cls.Config(multiplier=1.6), 6)
    assert int(6 * half.multiplier) == 9
    assert cls.canonical(cls.Config(multiplier=2.1), 6) == cls.Config()


def test_spab_weighs_by_a_signed_sigmoid(drawn, silent):
    block = drawn("spab", 6)
    x = torch.randn(1, 6, 5, 7)
    output, first, attention = block.transform(x)
    assert attention.abs().max() < 0.5
    torch.testing.assert_close(first, F.silu(block.first(x)))
    block.tell_inner()
    assert torch.equal(block(x)[0], output)
    assert torch.equal(block(x)[1], first)
    assert not silent("spab", 6)(x).any()


def test_the_signed_attention_has_no_parameters():
    block, x = build_block("spa", 4), torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 1, 3)
    # 2 (sigmoid(2) - 1/2), the same for -2.
    torch.testing.assert_close(block(x).flatten(), torch.tensor([0.761594, 0.0, 0.761594]))
    assert not list(block.parameters())
