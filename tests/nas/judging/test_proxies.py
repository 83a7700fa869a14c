"""Zero-cost proxies against what their equations give by hand, and that they leave a network as it was."""

import math

import pytest
import torch
from torch import nn

from srnas.nas.judging.proxies import PROXIES, grad_norm, naswot, proxies, synflow, zico
from srnas.search_space import Architecture, Network, Position


@pytest.fixture
def linear():
    network = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(-torch.eye(3)[:, :, None, None] * 2)
    return network


def batch(size=4, side=6):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(size, 3, side, side, generator=generator), torch.rand(size, 3, side, side, generator=generator)


def test_grad_norm_of_one_convolution(linear):
    lr, hr = batch()
    sign = torch.sign(-2 * lr - hr) / lr.numel()
    gradient = torch.einsum("bohw,bihw->oi", sign, lr)
    assert grad_norm(linear, lr, hr) == pytest.approx(math.log(gradient.norm()), rel=1e-5)


def test_synflow_of_one_convolution(linear):
    # R is the sum of |w| over 3 outputs at 36 places: sum |w dR/dw| = 36 * 6.
    assert synflow(linear, *batch()) == pytest.approx(math.log(36 * 6))


def test_naswot_of_two_images(linear):
    images = torch.ones(2, 3, 6, 6)
    images[1, 0] = -1
    # Every seventh of 108 outputs is looked at: the two differ in the 6 of channel 0, of 16.
    assert naswot(linear, images, images) == pytest.approx(math.log(1 - (10 / 16) ** 2))
    assert naswot(linear, images[[0, 0]], images) == -math.inf


def test_zico_is_the_mean_over_the_deviation_of_gradients(linear):
    lr, hr = batch()
    signs = torch.sign(-2 * lr - hr) / lr[0].numel()
    gradients = torch.einsum("bohw,bihw->boi", signs, lr)
    ratio = gradients.abs().mean(0) / gradients.std(0)
    assert zico(linear, lr, hr) == pytest.approx(math.log(ratio.mean()), rel=1e-4)


def test_a_network_is_left_as_it_was_and_what_is_not_finite_is_left_out():
    positions = tuple(Position(trunk="conv", attention=name) for name in ("mlka", "cbam", "psa_parallel"))
    network = Network(Architecture(scale=2, channels=12, positions=positions))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lr = torch.rand(3, 3, 16, 16)
    hr = torch.rand(3, 3, 32, 32)
    found = proxies(network, lr, hr, PROXIES)
    assert found.keys() == {"grad_norm", "synflow", "naswot", "zico"}
    assert all(math.isfinite(value) for value in found.values())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert "naswot" not in proxies(network, lr[:1].repeat(3, 1, 1, 1), hr, PROXIES)
