"""SoftPool against its closed forms."""

import pytest
import torch

from srnas.search_space.blocks.softpool import SoftPool2d


def test_softpool_is_the_softmax_weighted_mean():
    x = torch.randn(2, 3, 17, 20)
    windows = x.unfold(2, 7, 3).unfold(3, 7, 3).flatten(4)
    expected = (windows.softmax(-1) * windows).sum(-1)
    torch.testing.assert_close(SoftPool2d(7, 3)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [-1e4, -104.0, 0.0, 88.0, 1e4])
def test_softpool_of_a_constant_is_the_constant(value):
    pooled = SoftPool2d(3)(torch.full((1, 1, 6, 6), value))
    torch.testing.assert_close(pooled, torch.full((1, 1, 2, 2), value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_softpool_is_finite_and_within_its_window(dtype):
    x = (1000 * torch.randn(1, 4, 21, 21)).to(dtype)
    pooled = SoftPool2d(7)(x).float()
    windows = x.float().unfold(2, 7, 7).unfold(3, 7, 7).flatten(4)
    slack = 0.01 * windows.abs().amax(-1)
    assert (pooled <= windows.amax(-1) + slack).all()
    assert (pooled >= windows.amin(-1) - slack).all()


def test_softpool_leaves_padding_out():
    x = torch.full((1, 1, 4, 4), 3.0)
    torch.testing.assert_close(SoftPool2d(3, 1, padding=1)(x), x)
