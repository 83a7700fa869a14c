"""Hosts of the modern networks: what is gathered, one-sided ranges, stems that are trunks, and luma alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import Architecture, InputError, Network, published
from srnas.search_space.host import luma


def build(**fields):
    network = Network(Architecture.from_dict({"scale": 2, "channels": 4, "global_skip": "none", **fields})).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


SPAB, CONV = {"trunk": "spab", "residual": False}, {"trunk": "conv"}
LR = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def test_span_gathers_stem_end_first_and_the_inside_of_the_last():
    network = build(positions=[SPAB] * 3, end="conv3xc", gather="stem+body+first+inner")
    stem = network.stem(LR)
    first = network.body[0](stem)
    last, inner = network.body[2](network.body[1](first))
    gathered = torch.cat([stem, network.end(last), first, inner], dim=1)
    torch.testing.assert_close(network(LR), network.tail(network.gather.reduce(gathered)))
    torch.testing.assert_close(inner, F.silu(network.body[2].blocks[0].first(network.body[1](first))))


def test_positions_are_gathered_before_the_end():
    network = build(positions=[CONV] * 2, end="conv", long_skip=True, gather="positions")
    stem = network.stem(LR)
    first = network.body[0](stem)
    reduced = F.leaky_relu(network.gather.reduce(torch.cat([first, network.body[1](first)], dim=1)), 0.05)
    torch.testing.assert_close(network(LR), network.tail(network.end(reduced) + stem))


def test_two_linear_maps_in_a_row_have_nothing_between_them_where_no_end_follows():
    assert not build(positions=[CONV], gather="positions").gather.activated


def test_a_separable_tail_takes_what_is_gathered_as_it_is():
    separable = {"name": "pixelshuffle", "convolution": "separable"}
    network = build(positions=[CONV], gather="picture+body", tail=separable)
    assert network.gather is None
    gathered = torch.cat([network.picture(LR), network.body(network.stem(LR))], dim=1)
    torch.testing.assert_close(network(LR), network.tail(gathered))


def test_the_bypass_of_the_picture_starts_as_nearest_enlargement():
    network = Network(Architecture.from_dict({"scale": 2, "channels": 4, "gather": "picture+body"}))
    assert torch.equal(network.tail.shuffle(network.picture(LR)), F.interpolate(LR, scale_factor=2, mode="nearest"))


@pytest.mark.parametrize("gather", ["stem+body+first+inner", "positions", "picture+body+stem"])
def test_a_body_without_positions_is_the_stem(gather):
    assert build(gather=gather)(LR).shape == (1, 3, 10, 12)


@pytest.mark.parametrize("gather", ["stem", "body", "body+body", "positions+body", "last+body", ""])
def test_what_is_no_gather(gather):
    with pytest.raises(InputError, match="gather must be 'none', 'positions', or 'body' joined by"):
        build(gather=gather)


def test_an_inside_of_other_width_is_gathered():
    block = {"trunk": {"name": "spab", "middle": 3}, "residual": False}
    network = build(positions=[{**block, "active": 2}], gather="body+inner")
    # 3 of the trunk, 2 that pass, 4 of the body.
    assert network.gather.reduce.in_channels == 9
    assert network(LR).shape == (1, 3, 10, 12)


def test_a_mean_and_range_that_are_not_given_back():
    plain = build(positions=[CONV])
    one_sided = build(positions=[CONV], input_range=255, mean_shift="div2k_in")
    one_sided.load_state_dict(plain.state_dict())
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    torch.testing.assert_close(one_sided(LR), plain((LR - mean) * 255))
    assert sum(p.numel() for p in one_sided.parameters()) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize("name", ["ecbsr_m4c8", "ecbsr_m4c8_y"])
def test_ecbsr_without_weights_is_nearest_enlargement(name):
    network = Network(published(name, 3)).eval()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    colours = LR if name == "ecbsr_m4c8" else luma(LR)
    expected = F.interpolate(colours, scale_factor=3, mode="nearest")
    torch.testing.assert_close(network.enlarge(colours), expected, rtol=0, atol=1e-6)


def test_luma_alone_is_enlarged():
    network = Network(published("ecbsr_m4c8_y", 2)).eval()
    sr = network(LR)
    torch.testing.assert_close(luma(sr), network.enlarge(luma(LR)), rtol=0, atol=1e-5)
    # The chroma is that of bilinear enlargement: differences of colours.
    large = F.interpolate(LR, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(sr[:, 0] - sr[:, 2], large[:, 0] - large[:, 2], rtol=0, atol=1e-5)
    # BT.601: black is 16, white 235.
    assert (255 * luma(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))).flatten().tolist() == [16, 235]


def test_a_stem_must_widen():
    optioned = {"name": "conv", "activation": "relu"}
    for stem, message in (("rlfb", "unknown stem 'rlfb'"), (optioned, "takes no options, but got activation")):
        with pytest.raises(InputError, match=message):
            build(stem=stem)
    # What no stem has is no difference.
    plain, dead = (Architecture(scale=2, channels=4, stem={"name": "ecb", "identity": i}) for i in (False, True))
    assert plain.key == dead.key


def test_what_is_new_is_left_out_of_old_keys():
    """Source: the key that was printed before there were stems, gathers and colours."""
    assert published("plainusr_s", 2).key == "0141b454ca2b"
    assert Architecture(scale=2, channels=4).to_dict() == {"schema": 1, "scale": 2, "channels": 4}


def test_constants_stay_frozen():
    network = Network(published("ecbsr_m4c8", 2))
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen
    assert all(name.endswith(".mask") for name in frozen)
    network.requires_grad_(False).requires_grad_(True)
    assert {name for name, parameter in network.named_parameters() if not parameter.requires_grad} == frozen
