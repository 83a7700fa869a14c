"""Property: whatever the full space proposes builds, trains, deploys, and is what its JSON says.

The networks have up to three positions: more of them repeat the same hosts.
"""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.profiling import count
from srnas.search_space import Architecture, Network, SearchSpace
from srnas.search_space.space import read_space

CONTENT = read_space("full")[1].model_copy(update={"positions": 3})
SPACES = {scale: SearchSpace(CONTENT, scale, "full") for scale in (2, 3, 4)}
SAMPLES = 100
# So many of them are built, in tests of so many.
BUILT = 60
CHUNK = 20


def drawn(seed):
    return SPACES[2 + seed % 3].sample(random.Random(seed))


def test_every_choice_is_drawn():
    positions = [position for seed in range(SAMPLES) for position in drawn(seed).positions]
    for name in ("trunk", "attention", "order", "residual"):
        expected = {getattr(choice, "name", choice) for choice in getattr(CONTENT, name)}
        assert {getattr(found := getattr(p, name), "name", found) for p in positions} == expected
    assert {position.active is None for position in positions} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, BUILT, CHUNK))
def test_random_architectures(start):
    for seed in range(start, start + CHUNK):
        architecture = drawn(seed)
        assert Architecture.from_json(architecture.to_json()) == architecture
        assert Architecture.from_json(architecture.to_json()).key == architecture.key
        assert SPACES[architecture.scale].contains(architecture)
        torch.manual_seed(seed)
        network = Network(architecture)
        side = max(8, architecture.min_size)
        lr = torch.rand(2, 3, side, side + 1)
        sr = network(lr)
        assert sr.shape == (2, 3, architecture.scale * side, architecture.scale * (side + 1))
        sr.square().mean().backward()
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (name, str(architecture))
                assert parameter.grad.isfinite().all(), (name, str(architecture))
        with torch.no_grad():
            sr = network.eval()(lr)
            assert_starts_as_its_skip(architecture, sr, lr)
            deployed = network.deploy()
            torch.testing.assert_close(deployed(lr), sr, rtol=0, atol=5e-5)
        assert count(deployed, tuple(lr.shape)).unknown == {}
        assert_folds_where_every_branch_counts(architecture, lr)


@torch.no_grad()
def assert_folds_where_every_branch_counts(architecture, lr):
    """Compare both forms with no scale or branch left at zero and no skip beside the positions."""
    plain = architecture.to_dict() | {"global_skip": "none", "input_range": 1}
    network = Network(Architecture.from_dict(plain)).eval()
    for parameter in network.parameters():
        if (parameter == parameter.flatten()[0]).all():
            nn.init.constant_(parameter, 0.3)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
    expected = network(lr)
    torch.testing.assert_close(network.deploy()(lr), expected, rtol=0, atol=1e-5 * max(1, expected.abs().max().item()))


def assert_starts_as_its_skip(architecture, sr, lr):
    mode = {"carriers": "nearest"}.get(architecture.global_skip, architecture.global_skip)
    if mode == "none":
        return
    skip = F.interpolate(lr, scale_factor=architecture.scale, mode=mode)
    assert (sr - skip).norm() / skip.norm() < 0.05, str(architecture)
