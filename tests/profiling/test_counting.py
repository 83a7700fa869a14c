"""The counter of record against closed forms, and the three counters against each other."""

import copy
import time

import pytest
import torch
from torch import nn

from srnas.profiling import count, reconcile
from srnas.search_space import REGISTRY, Architecture, InputError, SearchSpace, build_block, human_designs
from srnas.search_space.network import Network

BLOCKS = [info.name for info in REGISTRY.infos("trunk", "attention")]


def test_convolution_closed_form():
    counts = count(nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1), (2, 3, 10, 12))
    # B * Cout * H' * W' * Cin * k * k, H' = 5, W' = 6.
    assert counts.macs == 2 * 8 * 5 * 6 * 3 * 9
    assert counts.activations == counts.bias_adds == counts.other_ops == 2 * 8 * 5 * 6
    assert counts.params == 8 * 27 + 8


def test_grouped_and_transposed_convolutions():
    assert count(nn.Conv2d(6, 6, 3, groups=6, bias=False), (1, 6, 5, 5)).macs == 6 * 9 * 9
    assert count(nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False), (1, 4, 5, 5)).macs == 4 * 2 * 4 * 25


def test_linear_and_products():
    assert count(nn.Linear(5, 7), (2, 3, 4, 5)).macs == 2 * 3 * 4 * 35

    class Product(nn.Module):
        def forward(self, x):
            return x.flatten(2) @ x.flatten(2).transpose(1, 2)

    assert count(Product(), (2, 3, 4, 5)).macs == 2 * 3 * 3 * 20


@pytest.mark.parametrize(
    ("module", "name", "work"),
    [
        (nn.ReLU(), "relu", 2 * 36),
        (nn.Sigmoid(), "sigmoid", 2 * 36),
        (nn.AvgPool2d(3), "avg_pool2d", 2 * 4 * 9),
        (nn.MaxPool2d(3), "max_pool2d_with_indices", 2 * 4 * 9),
        (nn.AdaptiveAvgPool2d(1), "mean", 2 * 36),
        (nn.AdaptiveAvgPool2d(4), "_adaptive_avg_pool2d", 2 * 36),
        (nn.Upsample(scale_factor=2, mode="bilinear"), "upsample_bilinear2d", 4 * 2 * 144),
        (nn.Upsample(scale_factor=2), "upsample_nearest2d", 2 * 144),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_work(module, name, work):
    counts = count(module, (1, 2, 6, 6))
    assert counts.other_by_operator == {name: work}
    assert counts.macs == 0


def test_what_moves_data_only_is_free():
    counts = count(nn.Sequential(nn.PixelShuffle(2), nn.Flatten()), (1, 4, 6, 6))
    assert counts.other_ops == counts.macs == 0
    assert counts.unknown == {}


def test_an_unknown_operator_is_named():
    class Cumulative(nn.Module):
        def forward(self, x):
            return x.cumsum(-1) + x.cumsum(-1)

    assert count(Cumulative(), (1, 1, 4, 4)).unknown == {"cumsum": 2}


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 3, 0, 8), (1, 3, 8, -8)])
def test_input_shape_is_checked(shape):
    with pytest.raises(InputError, match="input_shape must be four positive integers"):
        count(nn.ReLU(), shape)


def test_counting_needs_neither_memory_nor_time():
    network = SearchSpace.load("mobile", 2)
    design = human_designs(network)["A2N-like"].build()
    count(design, (1, 3, 8, 8))
    started = time.perf_counter()
    counts = count(design, (1, 3, 2160, 3840))
    # Generous: milliseconds are expected, executing it would take minutes and 100 GB.
    assert time.perf_counter() - started < 5
    assert counts.macs > 1e12


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("size", [(12, 12), (17, 23)])
def test_three_counters_agree_on_every_block(name, size):
    counted = reconcile(build_block(name, 24), (1, 24, *size))
    assert counted.fvcore_difference == 0
    assert counted.ptflops_difference == 0
    assert counted.agrees


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_three_counters_agree_on_human_designs(scale):
    space = SearchSpace.load("tiny", scale)
    for design in human_designs(space).values():
        assert reconcile(design.build().deploy(), (1, 3, 16, 16)).agrees, str(design)


# MACs in millions at 48 channels, 128x128: the exact column of the published comparison of counters.
@pytest.mark.parametrize(
    ("name", "macs_m"), [("lia", 16.647), ("aab", 1472.201), ("mlka", 209.977), ("psa_parallel", 58.197)]
)
def test_exact_macs_of_known_blocks(name, macs_m):
    assert count(build_block(name, 48), (1, 48, 128, 128)).macs / 1e6 == pytest.approx(macs_m, abs=5e-4)


def test_fvcore_extras_of_a_known_case():
    counted = reconcile(build_block("psa_parallel", 48), (1, 48, 32, 32))
    # fvcore counts 5 per element of a layer norm with affine parameters.
    assert counted.fvcore_extras == {"native_layer_norm": 5 * 48}
    assert "aten::sigmoid" in counted.fvcore_unsupported


def test_fvcore_adds_pooling_and_sampling():
    counted = reconcile(build_block("stn", 6), (1, 6, 10, 8))
    # The input of the pooling, and 4 taps for each sample.
    assert counted.fvcore_extras == {"_adaptive_avg_pool2d": 6 * 80, "grid_sampler_2d": 4 * 6 * 80}
    assert counted.agrees


def test_a_network_that_fvcore_sees_differently_does_not_agree():
    counted = reconcile(nn.AdaptiveAvgPool2d(1), (1, 2, 8, 8))
    # fvcore counts the pooling's input, which is not among the declared extras.
    assert counted.fvcore_difference == 2 * 64
    assert not counted.agrees


def test_the_original_is_left_as_it_was():
    network: Network = Architecture.from_dict(
        {"scale": 2, "channels": 12, "positions": [{"trunk": "conv", "attention": "cbam"}]}
    ).build()
    before = copy.deepcopy(network.state_dict())
    reconcile(network, (1, 3, 12, 12))
    assert network.training
    assert all(module.training for module in network.modules())
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(p.device.type == "cpu" for p in network.parameters())
