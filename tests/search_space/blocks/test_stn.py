"""The warp and the spatial transformer: cases known by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import build_block
from srnas.search_space.blocks.stn import warp


def affine(*entries):
    return torch.tensor(entries).view(1, 2, 3)


def test_warp_by_the_identity_changes_nothing():
    x = torch.randn(2, 3, 7, 10)
    torch.testing.assert_close(warp(x, affine(1.0, 0, 0, 0, 1, 0).expand(2, 2, 3)), x, rtol=0, atol=2e-5)


def test_warp_moves_by_whole_pixels():
    x = torch.randn(1, 2, 4, 8)
    # One column of 8 is 2 / 8 of the width.
    moved = warp(x, affine(1.0, 0, 0.25, 0, 1, 0))
    torch.testing.assert_close(moved[..., :-1], x[..., 1:])
    assert moved[..., -1].abs().max() == 0
    border = warp(x, affine(1.0, 0, 0.25, 0, 1, 0), padding_mode="border")
    torch.testing.assert_close(border[..., -1], x[..., -1])


def test_warp_transposes_and_flips():
    x = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(warp(x, affine(0.0, 1, 0, 1, 0, 0)), x.transpose(-2, -1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(warp(x, affine(1.0, 0, 0, 0, -1, 0)), x.flip(-2), rtol=1e-5, atol=1e-5)


def test_warp_equals_affine_grid():
    x, theta = torch.randn(2, 3, 9, 6), affine(1.0, 0, 0, 0, 1, 0) + 0.2 * torch.randn(2, 2, 3)
    grid = F.affine_grid(theta, [2, 3, 9, 6], align_corners=False)
    torch.testing.assert_close(warp(x, theta), F.grid_sample(x, grid, align_corners=False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_warp_is_computed_in_float32_under_autocast(dtype):
    x, theta = torch.randn(1, 2, 40, 60), affine(0.97, 0.02, 0.05, -0.01, 1.03, -0.04)
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(warp(x, theta), warp(x.double(), theta).float(), rtol=1e-5, atol=1e-5)
        assert warp(x.to(dtype), theta).dtype == dtype


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 16), (33, 20)])
def test_stn_is_an_identity_that_can_learn_at_the_start(size):
    block, x = build_block("stn", 4), torch.randn(2, 4, *size)
    output = block(x)
    assert torch.equal(output, x)
    output.square().mean().backward()
    assert block.gamma.grad.all()


def test_stn_blends_the_warp_by_channel(silent):
    block = silent("stn", 2)
    block.last.bias.data[2] = 100.0
    block.gamma.data[1] = 0.25
    x = torch.randn(1, 2, 6, 20)
    # tanh(100) = 1, so the sampling moves by the bound 0.1, one column of 20.
    moved = F.pad(x[..., 1:], (0, 1))
    expected = torch.stack([x[:, 0], 0.75 * x[:, 1] + 0.25 * moved[:, 1]], dim=1)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_stn_stays_within_its_bound(drawn):
    block = drawn("stn", 3, bound=0.3).eval()
    nn.init.normal_(block.last.weight, std=100)
    offsets = block.theta(torch.randn(4, 3, 9, 9)) - torch.eye(2, 3)
    assert 0.29 < offsets.abs().max() <= 0.3 + 1e-6
