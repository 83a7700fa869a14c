"""Squeeze-and-excitation and the two blocks between it and polarized self-attention: cases known by hand."""

import math
import sys

import pytest
import torch

from srnas.search_space import build_block


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_se_closed_form(silent):
    block = silent("se", 2, reduction=2)
    block.squeeze.weight.data.fill_(1.0)
    block.expand.weight.data = torch.tensor([[2.0], [-1.0]])
    block.expand.bias.data = torch.tensor([0.0, 0.5])
    x = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    # The hidden unit is relu(0.25 + 0.75) = 1.
    expected = x * torch.tensor([sigmoid(2.0), sigmoid(-0.5)]).view(1, 2, 1, 1)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(64, 16, 4), (8, 16, 1), (30, 4, 7)])
@pytest.mark.parametrize("name", ["se", "spatial_from_channel"])
def test_hidden_units(name, channels, reduction, hidden):
    assert build_block(name, channels, reduction=reduction).squeeze.out_features == hidden


def test_channel_weights_are_pooled_through_the_spatial_map(silent):
    block = silent("channel_from_spatial", 2)
    # The map is sigmoid(max over channels), which is the second plane.
    block.conv.weight.data[0, 1, 3, 3] = 1.0
    x = torch.zeros(1, 2, 2, 2)
    x[0, :, 0, 1] = torch.tensor([1.0, 4.0])
    pooled = [sigmoid(4.0) * value / 4 for value in (1.0, 4.0)]
    expected = x * torch.tensor([sigmoid(value) for value in pooled]).view(1, 2, 1, 1)
    torch.testing.assert_close(block(x), expected)


def test_spatial_map_is_pooled_through_the_channel_weights(silent):
    block = silent("spatial_from_channel", 2)
    block.expand.bias.data = torch.tensor([3.0, -1.0])
    x = torch.randn(1, 2, 4, 5)
    expected = x * ((3 * x[:, :1] - x[:, 1:]) / 2).sigmoid()
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", ["channel_from_spatial", "spatial_from_channel"])
def test_means_do_not_grow_with_the_image(name, drawn):
    block = drawn(name, 4).eval()
    small, large = (block(torch.ones(1, 4, side, side))[..., side // 2, side // 2] for side in (8, 128))
    # As sums, the small gate's logit would be 256 times smaller; what is left is the border of the 7x7 kernel.
    torch.testing.assert_close(small, large, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["channel_from_spatial", "spatial_from_channel"])
def test_the_change_to_the_proposal_is_said(name):
    block = type(build_block(name, 4))
    assert "grow with the image" in " ".join(block.__doc__.split()).replace("grows", "grow")
    assert "Deviation:" in sys.modules[block.__module__].__doc__
