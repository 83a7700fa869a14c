"""How far a network sees: complete, zero where it cannot see, and wider with a block that sees far."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from srnas.nas.explain import Region, attribute
from srnas.nas.explain.reach import _integrate, area_of, blurred, diffusion_index, holding_radius, most_detailed
from srnas.nas.images.pairs import to_tensor
from srnas.search_space import Architecture, Choice, InputError, Network, Position

CPU = torch.device("cpu")
# As smooth as a photograph: noise would need a path of many steps.
NOISE = gaussian_filter(np.random.default_rng(0).normal(size=(20, 22, 3)), (2, 2, 0))
LR = np.round(255 * (NOISE - NOISE.min()) / np.ptp(NOISE)).astype(np.uint8)
REGION = Region(9, 8, 4)


def network_of(*attention, convolutions=1):
    conv = Choice(name="conv")
    positions = [Position(trunk=conv, residual=False)] * convolutions
    positions += [Position(trunk=conv, attention=Choice(name=name)) for name in attention]
    torch.manual_seed(0)
    network = Network(Architecture(scale=2, channels=6, positions=tuple(positions), global_skip="none")).eval()
    for parameter in network.parameters():  # Layer scales start at 0: the blocks would be identities.
        if not parameter.any():
            torch.nn.init.constant_(parameter, 0.5)
    return network


def test_attributions_are_complete_and_zero_where_the_network_does_not_see():
    found = attribute(network_of(), LR, REGION, 2, CPU)
    assert found.incompleteness <= 0.01
    # Stem, two convolutions and the tail's, each 3x3, see four pixels beyond the region.
    seen = np.zeros_like(found.map, dtype=bool)
    seen[8 - 4 : 12 + 4, 9 - 4 : 13 + 4] = True
    assert (found.map[~seen] == 0).all()
    assert (found.map[seen] > 0).mean() > 0.9
    assert found.field_radius <= np.hypot(4, 4)


@pytest.mark.parametrize("block", ["mlka", "nonlocal"])
def test_large_kernels_and_non_local_blocks_see_further(block):
    plain, wide = (attribute(network_of(*attention), LR, REGION, 2, CPU) for attention in ((), (block,)))
    assert wide.area > plain.area
    assert wide.diffusion_index > plain.diffusion_index
    assert wide.incompleteness <= 0.01


def test_the_network_is_left_as_it_was():
    network = network_of()
    attribute(network, LR, REGION, 2, CPU)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_diffusion_index_is_that_of_the_gini_coefficient():
    assert diffusion_index(np.ones((3, 4))) == pytest.approx(100)
    # All in one of n: G = (n - 1) / n.
    assert diffusion_index(np.eye(1, 10)) == pytest.approx(10)
    # (0, 1): G = 1/2 of n = 2; (1, 3): G = 1/4.
    assert diffusion_index(np.array([[1.0, 3.0]])) == pytest.approx(75)


def test_areas_and_radii():
    assert area_of(np.array([[0.5, 0.3, 0.15, 0.05]])) == 3
    field = np.zeros((9, 9))
    field[4, 4], field[4, 7] = 0.94, 0.06
    assert holding_radius(field, (4, 4)) == 3
    assert holding_radius(field, (4, 4), share=0.9) == 0


def test_the_blur_keeps_sums_and_ends_at_the_image():
    x = torch.rand(1, 3, 9, 11)
    assert blurred(x, 0) is x
    torch.testing.assert_close(blurred(torch.ones_like(x), 1.2), torch.ones_like(x))
    torch.testing.assert_close(blurred(x, 1e-3), x)


def test_regions():
    detailed = np.full((20, 20, 3), 90, np.uint8)
    detailed[8:12, 12:16] = np.random.default_rng(0).integers(0, 256, (4, 4, 3))
    assert most_detailed(detailed, 4) == Region(12, 8, 4)
    detailed[:4] = np.random.default_rng(0).integers(0, 2, (4, 20, 3)) * 255  # At the edge.
    assert most_detailed(detailed, 4) == Region(12, 8, 4)
    for region in (Region(20, 0, 4), Region(0, -1, 4), Region(0, 0, 1)):
        with pytest.raises(InputError, match="22x20 with a side of at least 2"):
            attribute(network_of(), LR, region, 2, CPU)
    with pytest.raises(InputError, match="it is flat"):
        attribute(network_of(), np.full_like(LR, 90), Region(8, 8, 4), 2, CPU)


def test_what_only_rounding_tells_is_refused(monkeypatch):
    monkeypatch.setattr("srnas.nas.explain.reach._integrate", lambda _, x, *__: (torch.zeros_like(x), 0.994))
    with pytest.raises(InputError, match="the attributions miss 99% of the difference between both"):
        attribute(network_of(), LR, REGION, 2, CPU)


def test_colours_that_cancel_attribute_nothing():
    """The map is the absolute sum over colours, as the authors' code has it."""
    one = attribute(network_of(), LR, REGION, 2, CPU)
    found, _ = _integrate(network_of(), to_tensor(LR), REGION, 2, one.steps, lambda *_: None)
    assert one.map == pytest.approx(found.sum(1).abs()[0].numpy(), abs=1e-6)
    assert one.map.sum() < found.abs().sum()
