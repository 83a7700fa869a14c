"""Trunks: cases known by hand."""

import pytest
import torch
from torch import nn


@pytest.mark.parametrize(("activation", "below"), [("relu", 0.0), ("leaky_relu", -0.05)])
def test_depthwise_trunk_closed_form(activation, below, silent):
    block = silent("dw", 2, activation=activation)
    for depthwise, point in (block.first, block.second):
        nn.init.dirac_(depthwise.weight, groups=2)
        nn.init.dirac_(point.weight)
    block.second[1].bias.data[0] = 3.0
    x = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    expected = torch.tensor([4.0, below]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("kernel", [3, 1])
@pytest.mark.parametrize(("activation", "below"), [("relu", 0.0), ("leaky_relu", -0.1)])
def test_single_convolution_closed_form(kernel, activation, below, silent):
    block = silent("conv1", 2, kernel=kernel, activation=activation)
    nn.init.dirac_(block.conv.weight)
    assert block.conv.kernel_size == (kernel, kernel)
    x = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 3, 5)
    expected = torch.tensor([3.0, below]).view(1, 2, 1, 1).expand(1, 2, 3, 5)
    torch.testing.assert_close(block(x), expected)
