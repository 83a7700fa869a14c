"""SK: cases known by hand, its names and sizes."""

import pytest
import torch
from torch import nn

from srnas.search_space import build_block, convert_official


@pytest.mark.parametrize("form", ["official", "port"])
def test_sk_without_preference_is_the_mean_of_its_branches(form, silent):
    block = silent("sk", 2, form=form, branches=3)
    for i, branch in enumerate(block.branches):
        nn.init.constant_(branch.conv.bias, float(i))
    # relu(0), relu(1), relu(2), each with the weight 1/3.
    torch.testing.assert_close(block(torch.randn(1, 2, 4, 5)), torch.ones(1, 2, 4, 5))


@pytest.mark.parametrize("form", ["official", "port"])
def test_sk_selects_per_channel(form, silent):
    block = silent("sk", 2, form=form)
    for branch, value in zip(block.branches, (1.0, 5.0), strict=True):
        nn.init.constant_(branch.conv.bias, value)
    if form == "official":
        # One hidden unit of 1 that favours branch 0 in channel 0 and branch 1 in channel 1.
        block.squeeze.conv.bias.data[0] = 1.0
        block.select.weight.data[:, 0, 0, 0] = torch.tensor([100.0, 0.0, 0.0, 100.0])
    else:
        block.select[0].bias.data[0] = 100.0
        block.select[1].bias.data[1] = 100.0
    expected = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    torch.testing.assert_close(block(torch.randn(1, 2, 3, 3)), expected)


def test_sk_weights_sum_to_one_over_the_branches(drawn):
    for form in ("official", "port"):
        weights = drawn("sk", 8, form=form, branches=3).eval().weights(torch.randn(2, 8))
        torch.testing.assert_close(weights.sum(1), torch.ones(2, 8))


@pytest.mark.parametrize(
    ("form", "kernels", "reaches"),
    [
        ("official", [3, 3, 3], [3, 5, 7]),
        ("port", [3, 5, 7], [3, 5, 7]),
    ],
)
def test_sk_branches(form, kernels, reaches):
    convs = [branch.conv for branch in build_block("sk", 8, form=form, branches=3).branches]
    assert [conv.kernel_size[0] for conv in convs] == kernels
    assert [(conv.kernel_size[0] - 1) * conv.dilation[0] + 1 for conv in convs] == reaches


@pytest.mark.parametrize(("channels", "hidden"), [(128, 32), (512, 32), (1024, 64)])
def test_sk_squeeze_widths_of_the_paper(channels, hidden):
    assert build_block("sk", channels, groups=32).squeeze.conv.out_channels == hidden


# Unfolded, as published. source: Table of the port for 32 channels, and the prototxt's layers for 128.
@pytest.mark.parametrize(
    ("channels", "options", "params"),
    [
        (32, {"form": "port", "reduction": 2, "norm": "batch"}, 38_176),
        (32, {"form": "port", "reduction": 2, "groups": 8, "norm": "batch"}, 7_712),
        (128, {"groups": 32, "norm": "batch"}, 22_080),
    ],
)
def test_sk_parameters_with_batch_norm(channels, options, params):
    assert sum(p.numel() for p in build_block("sk", channels, **options).parameters()) == params


def test_sk_normalises_where_each_form_does():
    def norms(**options):
        return sum(isinstance(m, nn.BatchNorm2d) for m in build_block("sk", 8, **options).modules())

    assert [norms(), norms(form="port")] == [0, 0]
    assert norms(norm="batch") == 3
    assert norms(norm="batch", form="port") == 2


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"groups": 4}, ["3x3g4.weight", "3x3g4/bn.bias", "3x3g4d2.weight", "B_fc1/bn.weight", "B_fc2.weight"]),
        ({"form": "port"}, ["convs.0.0.bias", "convs.1.1.weight", "fc.weight", "fcs.1.bias"]),
    ],
)
def test_sk_official_names(options, names):
    ours = build_block("sk", 8, norm="batch", **options).state_dict()
    assert set(convert_official("sk", dict.fromkeys(names, torch.zeros(1)))) <= set(ours)
