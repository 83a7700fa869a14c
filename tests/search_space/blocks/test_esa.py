"""Enhanced spatial attention, and the blocks that end in it or distil features."""

import pytest
import torch
from torch import nn

from srnas.search_space import InputError, build_block


@pytest.mark.parametrize("name", ["esa", "rlfb", "rfdb", "efdb"])
def test_small_inputs_are_refused(name):
    block = build_block(name, 8)
    assert block(torch.randn(1, 8, 15, 16)).shape == (1, 8, 15, 16)
    with pytest.raises(InputError, match=f"width and height must be at least 15 for block '{name}', but got 20x14"):
        block(torch.randn(1, 8, 14, 20))


@pytest.mark.parametrize("form", ["rlfn", "rfdn"])
def test_the_mask_is_a_half_where_nothing_is_known(silent, form):
    x = torch.randn(1, 8, 16, 17)
    torch.testing.assert_close(silent("esa", 8, form=form)(x), x / 2)


def test_the_features_of_rfdn_are_no_choice():
    cls = type(build_block("esa", 8))
    assert cls.Config(form="rfdn", features=3) == cls.Config(form="rfdn")


def test_rlfb_without_convolutions_is_attention_on_a_projection(drawn):
    block = drawn("rlfb", 8)
    for parameter in block.convolutions.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 15, 16)
    torch.testing.assert_close(block(x), block.attention(block.project(x)))


def test_contrast_of_a_constant_plane_has_a_gradient():
    """The official square root gives a gradient that is not a number there."""
    block = build_block("imdb", 16)
    x = torch.ones(1, 16, 4, 4, requires_grad=True)
    for convolution in block.convolutions:
        nn.init.zeros_(convolution.weight)
    block(x).sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


def test_imdb_keeps_the_first_channels(silent):
    block = silent("imdb_speed", 8)
    x = torch.rand(1, 8, 5, 5)
    assert torch.equal(block(x), x)
    for convolution in block.convolutions:
        nn.init.constant_(convolution.bias, 1.0)
    nn.init.eye_(block.project.weight[..., 0, 0].data)
    assert block(x)[0, :, 2, 2].tolist() == (x[0, :, 2, 2] + 1).tolist()
