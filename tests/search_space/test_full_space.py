"""Property: whatever the full space proposes builds, trains, deploys, and is what its JSON says."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.profiling import count
from srnas.search_space import Architecture, SearchSpace

SPACES = {scale: SearchSpace.load("full", scale) for scale in (2, 3, 4)}
SAMPLES = 300
CHUNK = 25


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, SAMPLES, CHUNK))
def test_random_architectures(start):
    for seed in range(start, start + CHUNK):
        space = SPACES[2 + seed % 3]
        architecture = space.sample(random.Random(seed))
        assert Architecture.from_json(architecture.to_json()) == architecture
        assert Architecture.from_json(architecture.to_json()).key == architecture.key
        assert space.contains(architecture)
        torch.manual_seed(seed)
        network = architecture.build()
        lr = torch.rand(2, 3, max(8, architecture.min_size), 9)
        sr = network(lr)
        assert sr.shape == (2, 3, architecture.scale * lr.shape[2], architecture.scale * 9)
        sr.square().mean().backward()
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (name, str(architecture))
                assert parameter.grad.isfinite().all(), (name, str(architecture))
        with torch.no_grad():
            assert_starts_as_its_skip(architecture, network.eval(), lr)
            deployed = network.deploy()
            torch.testing.assert_close(deployed(lr), network(lr), rtol=0, atol=1e-5)
        assert count(deployed, tuple(lr.shape)).unknown == {}
        assert_folds_where_every_branch_counts(architecture, lr)


@torch.no_grad()
def assert_folds_where_every_branch_counts(architecture, lr):
    """Compare both forms of some of the positions, with no scale or branch left at zero and no skip beside them."""
    plain = architecture.to_dict()
    plain |= {"positions": plain.get("positions", [])[:4], "global_skip": "none", "input_range": 1}
    network = Architecture.from_dict(plain).build().eval()
    for parameter in network.parameters():
        if len(parameter.unique()) == 1:
            nn.init.constant_(parameter, 0.3)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
    expected = network(lr)
    torch.testing.assert_close(network.deploy()(lr), expected, rtol=0, atol=1e-5 * max(1, expected.abs().max().item()))


def assert_starts_as_its_skip(architecture, network, lr):
    mode = {"carriers": "nearest"}.get(architecture.global_skip, architecture.global_skip)
    if mode == "none":
        return
    skip = F.interpolate(lr, scale_factor=architecture.scale, mode=mode)
    assert (network(lr) - skip).norm() / skip.norm() < 0.05, str(architecture)
