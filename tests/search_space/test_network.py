"""The phenotype: what positions and hosts compute, and the deploy form."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import REGISTRY, Architecture, InputError, Network, Position
from srnas.search_space.blocks.repmb import RepMBConv
from srnas.search_space.network import PositionModule


def build(channels=12, **fields):
    return Network(Architecture.from_dict({"scale": 2, "channels": channels, **fields}))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tail", ["pixelshuffle", "nearest_pa"])
@pytest.mark.parametrize("global_skip", ["bilinear", "nearest", "none"])
def test_output_is_scaled(scale, tail, global_skip):
    network = build(scale=scale, tail=tail, global_skip=global_skip, positions=[{"trunk": "conv"}])
    assert network(torch.rand(2, 3, 9, 11)).shape == (2, 3, 9 * scale, 11 * scale)


# Those that "*" stands for: of the others a chain dies out, or there are no chains.
TRUNKS = ["none", *(info.name for info in REGISTRY.infos("trunk") if info.placeable)]
ATTENTIONS = ["none", *(info.name for info in REGISTRY.infos("attention") if info.placeable)]
PAIRS = [pair for pair in itertools.product(TRUNKS, ATTENTIONS) if pair != ("none", "none")]


def width_for(*blocks):
    """Return a small number of channels that the blocks fit."""
    constraints = [REGISTRY.block(name).info.constraint for name in blocks if name != "none"]
    return next(width for width in (12, 24) if all(constraint.allows(width) for constraint in constraints))


def relative_distance(network, lr):
    skip = network.architecture.global_skip
    expected = F.interpolate(lr, scale_factor=2, mode="nearest" if skip == "carriers" else skip)
    return ((network(lr) - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    "host",
    [
        *({"global_skip": mode} for mode in ("bilinear", "nearest", "carriers")),
        *({"global_skip": mode, "tail": "nearest_pa"} for mode in ("bilinear", "nearest")),
        *({"global_skip": m, "input_range": 255, "mean_shift": "div2k"} for m in ("bilinear", "nearest", "carriers")),
        {"global_skip": "carriers", "input_range": 255, "mean_shift": "div2k_in", "stem": "ecb"},
        {
            "global_skip": "nearest",
            "input_range": 255,
            "tail": {"name": "pixelshuffle", "convolution": "ecb"},
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["after", "before", "around"])
def test_a_network_starts_as_its_global_skip(host, order):
    for trunk in TRUNKS[1:]:
        # What a trunk adds to the start does not depend on the attention block: all of them stand beside some trunks.
        every = (ATTENTIONS[:12], ATTENTIONS[12:]) if trunk in ("conv", "repmb", "gsau") else (("none", "pa", "lka"),)
        for some in every:
            positions = [{"trunk": trunk, "attention": attention, "order": order} for attention in some]
            channels = width_for(trunk, *some)
            network = build(**host, channels=channels, end="lkat", long_skip=True, positions=positions).eval()
            assert relative_distance(network, torch.rand(1, 3, 16, 16)) < 0.05


@pytest.mark.parametrize(
    ("trunk", "attention", "order"),
    [
        (*pair, order)
        for pair in PAIRS
        for order in ("after", "before", "around")
        if order == "after" or "none" not in pair
    ],
)
def test_no_position_kills_or_blows_up_the_signal(trunk, attention, order):
    position = Position(trunk=trunk, attention=attention, order=order)
    channels = width_for(trunk, attention)
    body = nn.Sequential(*(PositionModule(position, channels) for _ in range(12))).eval()
    x = torch.randn(1, channels, 16, 16)
    gain = (body(x).norm() / x.norm()).item()
    # Over 12 positions: at most a third each; a trunk that ends in a ReLU adds its mean every time.
    assert 0.5 < gain < (4 / 3) ** 12


def test_orders_of_a_residual_position():
    x = torch.randn(1, 12, 9, 9)
    for order in ("after", "before"):
        position = PositionModule(Position(trunk="conv", attention="pa", order=order), 12)
        first, second = position.blocks
        names = [block.info.name for block in (first, second)]
        assert names == (["conv", "pa"] if order == "after" else ["pa", "conv"])
        torch.testing.assert_close(position(x), x + second(first(x)))


def test_attention_around_a_trunk_is_two_blocks():
    position = PositionModule(Position(trunk="conv", attention="lia", order="around"), 12)
    head, trunk, tail = position.blocks
    assert head is not tail
    x = torch.randn(1, 12, 9, 9)
    torch.testing.assert_close(position(x), x + tail(trunk(head(x))))


def test_a_plain_position_adds_nothing():
    position = PositionModule(Position(trunk="conv", attention="lia", residual=False), 12)
    x = torch.randn(1, 12, 9, 9)
    torch.testing.assert_close(position(x), position.blocks(x))


def test_a_gate_on_a_trunk_that_passes_its_input_on_is_scaled():
    position = PositionModule(Position(trunk="repmb", attention="lia"), 12)
    x = torch.randn(1, 12, 9, 9)
    torch.testing.assert_close(position(x), x + 0.1 * position.blocks(x))
    assert PositionModule(Position(trunk="gsau", attention="mlka", order="before"), 12).scale is None


def test_carriers_bring_the_picture_to_the_tail():
    network = build(global_skip="carriers", positions=[{"trunk": "conv"}], end="conv", long_skip=True)
    assert network.stem.out_channels == network.tail.last.in_channels == 15
    assert network.end.out_channels == 12
    with torch.no_grad():
        for parameter in (*network.stem.parameters(), *network.tail.parameters()):
            parameter.round_()
    lr = torch.rand(1, 3, 5, 6)
    assert torch.equal(network(lr), F.interpolate(lr, scale_factor=2, mode="nearest"))


def test_input_range_and_mean_shift_are_inside_the_network():
    torch.manual_seed(0)
    plain = build(global_skip="bilinear", positions=[{"trunk": "conv"}])
    torch.manual_seed(0)
    wide = build(global_skip="bilinear", positions=[{"trunk": "conv"}], input_range=255, mean_shift="div2k")
    wide.load_state_dict(plain.state_dict(), strict=False)
    lr = torch.rand(1, 3, 6, 6)
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    torch.testing.assert_close(wide(lr), plain(255 * (lr - mean)) / 255 + mean)
    assert not any(p.requires_grad for p in (*wide.sub_mean.parameters(), *wide.add_mean.parameters()))
    assert sum(p.numel() for p in wide.parameters()) - sum(p.numel() for p in plain.parameters()) == 24
    wide.requires_grad_(False)
    wide.requires_grad_(True)
    assert not any(p.requires_grad for p in wide.sub_mean.parameters())


def test_the_end_may_be_large_kernel_attention():
    network = build(end="lkat", long_skip=True)
    assert network.end.info.name == "lkat"


def test_a_deployed_network_cannot_be_trained():
    network = build(positions=[{"trunk": "repmb"}])
    deployed = network.deploy()
    assert not deployed.eval().training
    for attempt in (deployed.train, deployed.requires_grad_, deployed.deploy().train):
        with pytest.raises(InputError, match="must not be deployed when it is trained"):
            attempt()
    assert network.train().training


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
    repmb = {"name": "repmb", "gate": True, "start": "alive"}
    positions = [{"trunk": "conv", "attention": "cbam"}, {"attention": "mlka"}, {"trunk": repmb, "attention": "lia"}]
    network = build(positions=positions)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.weight)
    deployed = network.deploy()
    x = torch.rand(1, 3, 12, 15).to(memory_format=memory_format)
    torch.testing.assert_close(deployed(x), network.eval()(x), rtol=0, atol=1e-5)
    assert not any(isinstance(m, (nn.BatchNorm2d, RepMBConv)) for m in deployed.modules())
    assert not any(p.requires_grad for p in deployed.parameters())
    torch.testing.assert_close(deployed.deploy()(x), deployed(x), rtol=0, atol=0)
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
