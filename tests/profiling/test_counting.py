"""The counter of record against closed forms: MACs, other work, bytes, and where in a network they arise."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srnas.profiling import ModuleCounts, count
from srnas.search_space import PUBLISHED, InputError, Network, build_block, published


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_convolution_closed_form():
    counts = count(nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1), (2, 3, 10, 12))
    # B * Cout * H' * W' * Cin * k * k, H' = 5, W' = 6.
    assert counts.macs == 2 * 8 * 5 * 6 * 3 * 9
    assert counts.activations == counts.bias_adds == counts.other_ops == 2 * 8 * 5 * 6
    assert counts.params == 8 * 27 + 8
    # Input, weight, bias and output in float32.
    assert counts.bytes_moved == 4 * (2 * 3 * 120 + 8 * 27 + 8 + 2 * 8 * 30)


def test_grouped_and_transposed_convolutions():
    assert count(nn.Conv2d(6, 6, 3, groups=6, bias=False), (1, 6, 5, 5)).macs == 6 * 9 * 9
    assert count(nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False), (1, 4, 5, 5)).macs == 4 * 2 * 4 * 25


# Every product of x (2, 8, 6, 10) with (..., 10, n) takes 2 * 8 * 6 * n * 10.
@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (nn.Linear(10, 7), 96 * 7 * 10),
        (lambda x: x @ x.mT, 96 * 6 * 10),
        (lambda x: x[:1, :1].mT @ x, 2 * 8 * 10 * 10 * 6),
        (lambda x: x @ x[0, 0, 0], 96 * 10),
        (lambda x: x[0, 0, 0] @ x[0, 0, 0], 10),
        (lambda x: torch.einsum("bchw,bchv->bcwv", x, x), 2 * 8 * 10 * 10 * 6),
        (lambda x: torch.baddbmm(x[0].new_zeros(6), x[0], x[0].mT), 8 * 6 * 6 * 10),
        (lambda x: torch.addbmm(x[0].new_zeros(6), x[0], x[0].mT), 8 * 6 * 6 * 10),
        (lambda x: torch.addmv(x.new_zeros(6), x[0, 0], x[0, 0, 0]), 6 * 10),
        # Logits and weighted values: 2 * 8 heads, 6 queries, 4 keys, widths 10 and 10.
        (lambda x: F.scaled_dot_product_attention(x, x[..., :4, :], x[..., :4, :]), 16 * 6 * 4 * (10 + 10)),
        (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), 16 * 6 * 6 * 20),
        (lambda x: F.affine_grid(x.new_zeros(2, 2, 3), [2, 8, 6, 10], align_corners=False), 2 * 60 * 2 * 3),
        (lambda x: torch.einsum("bchw->bcw", x), 0),
    ],
)
def test_products(function, macs):
    counts = count(Call(function), (2, 8, 6, 10))
    assert counts.macs == macs
    assert not counts.unknown


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
        (nn.Upsample(scale_factor=2, mode="bicubic"), "upsample_bicubic2d", 16 * 2 * 144),
        (nn.Upsample(scale_factor=2), "upsample_nearest2d", 2 * 144),
        (nn.Hardswish(), "hardswish", 2 * 36),
        (nn.Softmax(1), "_softmax", 2 * 36),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_work(module, name, work):
    counts = count(module, (1, 2, 6, 6))
    assert counts.other_by_operator == {name: work}
    assert counts.macs == 0


# x has 4 * 36 elements in float32.
@pytest.mark.parametrize(
    ("function", "elements"),
    [
        (lambda x: x.view(-1)[::2].unsqueeze(0).expand(3, -1), 0),
        (lambda x: x + x, 3 * 144),
        (lambda x: x.relu_(), 2 * 144),
        (lambda x: x * x[:, :1], 144 + 36 + 144),
        (lambda x: torch.cat([x, x], 1), 4 * 144),
        (lambda x: x.clone(), 2 * 144),
        (lambda x: F.pad(x, (1, 1)), 144 + 4 * 6 * 8),
        (lambda x: F.pixel_shuffle(x, 2), 2 * 144),
        (lambda x: x.transpose(1, 2).contiguous(), 2 * 144),
        (lambda x: x.sum(), 144 + 1),
        (lambda x: torch.zeros_like(x), 144),
        (lambda x: torch.empty_like(x), 0),
    ],
)
def test_bytes_moved(function, elements):
    assert count(Call(function), (1, 4, 6, 6)).bytes_moved == 4 * elements


def test_bytes_are_those_of_the_type():
    block = build_block("pa", 24)
    single, half = count(block, (1, 24, 9, 9)), count(block, (1, 24, 9, 9), dtype=torch.float16)
    assert (single.dtype, half.dtype) == ("float32", "float16")
    assert single.bytes_moved == 2 * half.bytes_moved
    assert single.macs == half.macs
    assert count(block.half(), (1, 24, 9, 9)) == half
    assert all(parameter.dtype == torch.float16 for parameter in block.parameters())


def test_what_moves_data_only_is_free():
    counts = count(nn.Sequential(nn.PixelShuffle(2), nn.Flatten()), (1, 4, 6, 6))
    assert counts.other_ops == counts.macs == 0
    assert counts.unknown == {}


def test_an_unknown_operator_is_named():
    counts = count(Call(lambda x: x.sort()[0] + x.sort()[0]), (1, 1, 4, 4))
    assert counts.unknown == {"sort": 2}
    assert counts.other_by_operator == {"add": 16}


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 3, 0, 8), (1, 3, 8, -8)])
def test_input_shape_is_checked(shape):
    with pytest.raises(InputError, match="input_shape must be four positive integers"):
        count(nn.ReLU(), shape)


def test_modules_hold_what_their_submodules_hold():
    inner = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.ReLU())
    counts = count(nn.Sequential(inner, Call(lambda x: x + 1)), (1, 4, 3, 3))
    conv = ModuleCounts(params=16, macs=144, activations=36, bytes_moved=4 * (36 + 16 + 36))
    relu = ModuleCounts(other_ops=36, bytes_moved=4 * 72)
    assert counts.by_module == {"": conv + relu + relu, "0": conv + relu, "0.0": conv, "0.1": relu, "1": relu}
    whole = counts.by_module[""]
    assert whole - relu == counts.by_module["0"]
    for name in ("params", "macs", "other_ops", "activations", "bytes_moved"):
        assert getattr(whole, name) == getattr(counts, name)


def test_a_shared_module_counts_each_call_and_its_parameters_once():
    conv = nn.Conv2d(4, 4, 1, bias=False)
    counts = count(nn.Sequential(conv, nn.Sequential(conv)), (1, 4, 3, 3))
    assert (counts.params, counts.macs) == (16, 2 * 144)
    assert counts.by_module["0"].macs == 2 * 144
    assert counts.by_module["1"] == ModuleCounts()


class Executed(TorchDispatchMode):
    """Remembers the operators that leave data."""

    def __init__(self):
        super().__init__()
        self.operators = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) and not leaf.is_meta for leaf in tree_leaves(result)):
            self.operators.add(str(func))
        return result


@pytest.mark.parametrize("name", ["plainusr_l", "a2n", "man_light"])
def test_counting_computes_nothing(name):
    network = Network(published(name, 2)).deploy()
    assert name in PUBLISHED
    with Executed() as executed:
        counts = count(network, (1, 3, 2160, 3840))
    assert executed.operators == {"aten.detach.default"}  # A view of a weight.
    assert counts.macs > 1e12


# MACs in millions at 48 channels, 128x128: the exact column of the published comparison of counters.
@pytest.mark.parametrize(
    ("name", "options", "macs_m"),
    [
        ("lia", {}, 16.647),
        ("aab", {}, 1472.201),
        ("mlka", {}, 209.977),
        ("psa_parallel", {}, 58.197),
        ("cbam", {}, 1.606),
        ("sk", {"form": "port", "groups": 8}, 160.437),
        ("nonlocal", {"sub_sample": "none"}, 12960.399),
    ],
)
def test_exact_macs_of_known_blocks(name, options, macs_m):
    assert count(build_block(name, 48, **options), (1, 48, 128, 128)).macs / 1e6 == pytest.approx(macs_m, abs=5e-4)
