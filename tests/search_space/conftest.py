"""Seeded blocks, with parameters that all take part or none."""

import pytest
import torch
from torch import nn

from srnas.search_space import build_block


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def drawn():
    """Return a function that builds a block whose parameters and statistics all take part: none is left at zero."""

    def build(name, channels=24, **options):
        block = build_block(name, channels, **options)
        for key, parameter in block.named_parameters():
            if not parameter.requires_grad:  # A constant.
                continue
            # Positive biases keep every ReLU alive.
            nn.init.uniform_(parameter, 0.5, 1.0) if key.endswith("bias") else nn.init.normal_(parameter, std=0.1)
        for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        return block

    return build


@pytest.fixture
def silent():
    """Return a function that builds a block in eval mode whose parameters are all 0."""

    def build(name, channels, **options):
        block = build_block(name, channels, **options).eval()
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        return block

    return build


@pytest.fixture
def constant():
    """Return a function that sets a convolution's weights, and its biases if one is given."""

    def fill(conv, weight, bias=None):
        nn.init.constant_(conv.weight, weight)
        if bias is not None:
            nn.init.constant_(conv.bias, bias)

    return fill
