"""The phenotype: what positions and hosts compute, and the deploy form."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import Architecture, Position
from srnas.search_space.network import PositionModule


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(**fields):
    return Architecture.from_dict({"scale": 2, "channels": 12, **fields}).build()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tail", ["pixelshuffle", "nearest_pa"])
@pytest.mark.parametrize("global_skip", ["bilinear", "nearest", "none"])
def test_output_is_scaled(scale, tail, global_skip):
    network = build(scale=scale, tail=tail, global_skip=global_skip, positions=[{"trunk": "conv"}])
    assert network(torch.rand(2, 3, 9, 11)).shape == (2, 3, 9 * scale, 11 * scale)


@pytest.mark.parametrize("tail", ["pixelshuffle", "nearest_pa"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_network_starts_as_its_global_skip(tail, mode):
    positions = [{"trunk": "conv", "attention": name} for name in ("lia", "mlka", "psa_parallel", "cbam", "none")]
    network = build(tail=tail, global_skip=mode, positions=positions).eval()
    lr = torch.rand(1, 3, 16, 16)
    skip = F.interpolate(lr, scale_factor=2, mode=mode)
    assert (network(lr) - skip).norm() / skip.norm() < 0.05


@pytest.mark.parametrize("attention", ["lia", "aab", "aab_m", "mlka", "psa_parallel", "psa_sequential", "cbam", "pa"])
@pytest.mark.parametrize("position", [{"trunk": "conv"}, {"trunk": "conv", "order": "before"}, {}])
def test_no_position_kills_or_blows_up_the_signal(attention, position):
    body = nn.Sequential(*(PositionModule(Position(attention=attention, **position), 12) for _ in range(12))).eval()
    x = torch.randn(1, 12, 16, 16)
    gain = (body(x).norm() / x.norm()).item()
    assert 0.5 < gain < 5


def test_orders_of_a_residual_position():
    x = torch.randn(1, 12, 9, 9)
    for order in ("after", "before"):
        position = PositionModule(Position(trunk="conv", attention="pa", order=order), 12)
        first, second = position.blocks
        names = [block.info.name for block in (first, second)]
        assert names == (["conv", "pa"] if order == "after" else ["pa", "conv"])
        torch.testing.assert_close(position(x), x + second(first(x)))


def test_a_residual_block_alone_is_the_position():
    position = PositionModule(Position(attention="aab"), 12)
    x = torch.randn(1, 12, 9, 9)
    torch.testing.assert_close(position(x), position.blocks[0](x))
    assert position.scale is None


def test_a_bare_gate_gets_a_residual_and_a_scale():
    position = PositionModule(Position(attention="pa"), 12)
    x = torch.randn(1, 12, 9, 9)
    torch.testing.assert_close(position(x), x + 0.1 * position.blocks[0](x))


def test_passive_channels_pass_unchanged():
    position = PositionModule(Position(trunk="conv", active=5), 12)
    x = torch.randn(1, 12, 9, 9)
    output = position(x)
    assert torch.equal(output[:, 5:], x[:, 5:])
    torch.testing.assert_close(output[:, :5], x[:, :5] + position.blocks(x[:, :5]))


def test_long_skip_and_end():
    network = build(end="conv", long_skip=True, global_skip="none", positions=[{"trunk": "conv"}])
    lr = torch.rand(1, 3, 8, 8)
    features = network.stem(lr)
    torch.testing.assert_close(network(lr), network.tail(network.end(network.body(features)) + features))


def test_two_stages_at_scale_4_only():
    assert len(build(tail="nearest_pa", scale=3).tail.stages) == 1
    assert len(build(tail="nearest_pa", scale=4).tail.stages) == 2


def test_every_parameter_of_a_network_gets_a_gradient():
    network = build(
        end="conv",
        long_skip=True,
        tail="nearest_pa",
        positions=[{"attention": "lia"}, {"trunk": "conv", "attention": "cbam", "order": "before"}],
    )
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_deploy_folds_freezes_and_keeps_the_output(memory_format):
    network = build(positions=[{"trunk": "conv", "attention": "cbam"}, {"attention": "mlka"}])
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.weight)
    deployed = network.deploy()
    x = torch.rand(1, 3, 12, 15).to(memory_format=memory_format)
    torch.testing.assert_close(deployed(x), network.eval()(x), rtol=0, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules())
    assert not any(p.requires_grad for p in deployed.parameters())
    torch.testing.assert_close(deployed.deploy()(x), deployed(x), rtol=0, atol=0)
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
