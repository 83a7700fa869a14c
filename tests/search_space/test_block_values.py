"""Cases whose output is known by hand, and the behaviour that only one block has."""

import math
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srnas.profiling import count
from srnas.search_space import InputError, build_block, convert_official
from srnas.search_space.blocks.nonlocal_ import NonLocal
from srnas.search_space.blocks.stn import warp


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def drawn(name, channels=24, **options):
    """Return a block in eval mode whose parameters and statistics all take part."""
    block = build_block(name, channels, **options)
    for key, parameter in block.named_parameters():
        nn.init.uniform_(parameter, 0.5, 1.0) if key.endswith("bias") else nn.init.normal_(parameter, std=0.1)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return block.eval()


def silent(name, channels, **options):
    """Return a block in eval mode whose parameters are all 0."""
    block = build_block(name, channels, **options).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    return block


def folded(block):
    for module in list(block.modules()):
        if hasattr(module, "fold"):
            module.fold()
            module.fold()
    return block


# --- Squeeze and excitation


def test_se_closed_form():
    block = silent("se", 2, reduction=2)
    block.squeeze.weight.data.fill_(1.0)
    block.expand.weight.data = torch.tensor([[2.0], [-1.0]])
    block.expand.bias.data = torch.tensor([0.0, 0.5])
    x = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    # The hidden unit is relu(0.25 + 0.75) = 1.
    expected = x * torch.tensor([sigmoid(2.0), sigmoid(-0.5)]).view(1, 2, 1, 1)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(64, 16, 4), (8, 16, 1), (30, 4, 7)])
@pytest.mark.parametrize("name", ["se", "spatial_from_channel"])
def test_hidden_units(name, channels, reduction, hidden):
    assert build_block(name, channels, reduction=reduction).squeeze.out_features == hidden


# --- LKA


def test_lka_weighs_with_what_its_kernels_give():
    block = silent("lka", 2)
    block.point.bias.data = torch.tensor([3.0, -2.0])
    x = torch.randn(1, 2, 5, 4)
    # No sigmoid: the attention is the last bias.
    torch.testing.assert_close(block(x), x * torch.tensor([3.0, -2.0]).view(1, 2, 1, 1))


def test_lka_reaches_over_39_pixels():
    block = silent("lka", 1)
    for conv in (block.local, block.dilated, block.point):
        nn.init.ones_(conv.weight)
    impulse = torch.zeros(1, 1, 99, 99)
    impulse[..., 49, 49] = 1
    attention = block.point(block.dilated(block.local(impulse)))
    assert attention[0, 0, 49].count_nonzero() == 39


# --- The two variants of polarized self-attention


def test_channel_weights_are_pooled_through_the_spatial_map():
    block = silent("channel_from_spatial", 2)
    # The map is sigmoid(max over channels), which is the second plane.
    block.conv.weight.data[0, 1, 3, 3] = 1.0
    x = torch.zeros(1, 2, 2, 2)
    x[0, :, 0, 1] = torch.tensor([1.0, 4.0])
    pooled = [sigmoid(4.0) * value / 4 for value in (1.0, 4.0)]
    expected = x * torch.tensor([sigmoid(value) for value in pooled]).view(1, 2, 1, 1)
    torch.testing.assert_close(block(x), expected)


def test_spatial_map_is_pooled_through_the_channel_weights():
    block = silent("spatial_from_channel", 2)
    block.expand.bias.data = torch.tensor([3.0, -1.0])
    x = torch.randn(1, 2, 4, 5)
    expected = x * ((3 * x[:, :1] - x[:, 1:]) / 2).sigmoid()
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", ["channel_from_spatial", "spatial_from_channel"])
def test_means_do_not_grow_with_the_image(name):
    block = drawn(name, 4)
    small, large = (block(torch.ones(1, 4, side, side))[..., side // 2, side // 2] for side in (8, 128))
    # As sums, the small gate's logit would be 256 times smaller; what is left is the border of the 7x7 kernel.
    torch.testing.assert_close(small, large, rtol=0.05, atol=0)


# --- SK


@pytest.mark.parametrize("form", ["official", "port"])
def test_sk_without_preference_is_the_mean_of_its_branches(form):
    block = silent("sk", 2, form=form, branches=3)
    for i, branch in enumerate(block.branches):
        nn.init.constant_(branch.conv.bias, float(i))
    # relu(0), relu(1), relu(2), each with the weight 1/3.
    torch.testing.assert_close(block(torch.randn(1, 2, 4, 5)), torch.ones(1, 2, 4, 5))


@pytest.mark.parametrize("form", ["official", "port"])
def test_sk_selects_per_channel(form):
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


def test_sk_weights_sum_to_one_over_the_branches():
    for form in ("official", "port"):
        weights = drawn("sk", 8, form=form, branches=3).weights(torch.randn(2, 8))
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


# --- Non-local


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_nonlocal_is_an_identity_at_the_start(norm, training):
    x = torch.randn(2, 6, 5, 7)
    block = build_block("nonlocal", 6, norm=norm).train(training)
    assert torch.equal(block(x), x)
    block.eval()
    assert torch.equal(folded(block)(x), x)


@pytest.mark.parametrize("sub_sample", ["none", "after", "before"])
def test_nonlocal_without_affinity_adds_the_mean_of_the_values(sub_sample):
    block = silent("nonlocal", 1, sub_sample=sub_sample)
    nn.init.ones_(block.value.weight)
    nn.init.ones_(block.project_out.conv.weight)
    x = torch.randn(1, 1, 4, 6)
    values = x if sub_sample == "none" else F.max_pool2d(x, 2)
    torch.testing.assert_close(block(x), x + values.mean())


def test_nonlocal_pools_before_or_after_the_convolutions():
    x = torch.randn(1, 1, 4, 4)
    outputs = []
    for sub_sample in ("after", "before"):
        block = silent("nonlocal", 1, sub_sample=sub_sample)
        nn.init.constant_(block.value.weight, -1.0)
        nn.init.ones_(block.project_out.conv.weight)
        outputs.append(block(x) - x)
    # The maximum of -x is minus the minimum.
    torch.testing.assert_close(outputs[0], F.max_pool2d(-x, 2).mean().expand_as(x))
    torch.testing.assert_close(outputs[1], -F.max_pool2d(x, 2).mean().expand_as(x))


@pytest.mark.parametrize("scaled", [True, False])
def test_nonlocal_equals_scaled_dot_product_attention(scaled):
    block = drawn("nonlocal", 8, sub_sample="none", scaled=scaled)
    x = torch.randn(2, 8, 5, 6)
    query, key, value = (
        conv(x).flatten(2).transpose(1, 2).unsqueeze(1) for conv in (block.query, block.key, block.value)
    )
    attended = F.scaled_dot_product_attention(query, key, value, scale=0.5 if scaled else 1.0)
    expected = x + block.project_out(attended.squeeze(1).transpose(1, 2).reshape(2, 4, 5, 6))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("sub_sample", ["none", "after", "before"])
@pytest.mark.parametrize("rows", [1, 7, 98])
def test_nonlocal_in_chunks_is_the_same(monkeypatch, sub_sample, rows):
    block = drawn("nonlocal", 8, sub_sample=sub_sample, norm="batch").double()
    x = torch.randn(2, 8, 9, 11, dtype=torch.double, requires_grad=True)
    keys = 99 if sub_sample == "none" else 20

    def outcome():
        block.zero_grad()
        x.grad = None
        output = block(x)
        output.square().mean().backward()
        return [output.detach(), x.grad, *(p.grad.clone() for p in block.parameters())]

    whole = outcome()
    monkeypatch.setattr(NonLocal, "affinity_budget_bytes", 2 * keys * 8 * rows + 1)
    torch.testing.assert_close(outcome(), whole)
    formula = NonLocal.macs(8, 9, 11, NonLocal.Config(sub_sample=sub_sample))
    assert count(block.float(), (2, 8, 9, 11)).macs == 2 * formula


class _LargestTensor(TorchDispatchMode):
    """Keeps the size of the largest result of any operator."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [t.numel() * t.element_size() for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self.bytes = max(self.bytes, *sizes, 0)
        return result


@pytest.mark.parametrize("gradient", [False, True])
def test_nonlocal_holds_no_affinity_matrix_at_320x180(gradient):
    block = build_block("nonlocal", 64).to("meta")
    seen = _LargestTensor()
    with torch.set_grad_enabled(gradient), seen:
        output = block(torch.empty(1, 64, 180, 320, device="meta"))
        if gradient:
            output.sum().backward()
    # The whole matrix would have 3.1 GiB.
    assert 200 * 2**20 < seen.bytes <= NonLocal.affinity_budget_bytes == 256 * 2**20


def test_nonlocal_keeps_no_affinities_for_the_backward_pass(monkeypatch):
    monkeypatch.setattr(NonLocal, "affinity_budget_bytes", 8000)
    block = drawn("nonlocal", 4, sub_sample="none")
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(torch.randn(1, 4, 16, 16))
    # One pixel's affinities have 1 KiB, those of all 256 pixels 256 KiB.
    assert max(kept) <= 8000


def test_nonlocal_refuses_what_cannot_fit(monkeypatch):
    monkeypatch.setattr(NonLocal, "affinity_budget_bytes", 100)
    with pytest.raises(InputError) as error:
        build_block("nonlocal", 4)(torch.zeros(2, 4, 8, 8))
    assert str(error.value) == (
        "the affinities of one pixel must fit into 100 bytes for block 'nonlocal', but got 128 bytes for a batch "
        "of 2 with 16 keys; use a smaller input or batch."
    )


def test_nonlocal_needs_two_pixels_to_sub_sample():
    with pytest.raises(InputError, match="height and width must be at least 2 for block 'nonlocal', but got 1x5"):
        build_block("nonlocal", 4)(torch.zeros(1, 4, 1, 5))
    assert build_block("nonlocal", 4, sub_sample="none")(torch.ones(1, 4, 1, 1)).shape == (1, 4, 1, 1)


# --- STN


def affine(*entries):
    return torch.tensor(entries).view(1, 2, 3)


def test_warp_by_the_identity_changes_nothing():
    x = torch.randn(2, 3, 7, 10)
    torch.testing.assert_close(warp(x, affine(1.0, 0, 0, 0, 1, 0).expand(2, 2, 3)), x, rtol=0, atol=2e-5)


def test_warp_moves_by_whole_pixels():
    x = torch.randn(1, 2, 4, 8)
    # One column of 8 is 2 / 8 of the width.
    moved = warp(x, affine(1.0, 0, 0.25, 0, 1, 0))
    torch.testing.assert_close(moved[..., :-1], x[..., 1:])
    assert moved[..., -1].abs().max() == 0
    border = warp(x, affine(1.0, 0, 0.25, 0, 1, 0), padding_mode="border")
    torch.testing.assert_close(border[..., -1], x[..., -1])


def test_warp_transposes_and_flips():
    x = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(warp(x, affine(0.0, 1, 0, 1, 0, 0)), x.transpose(-2, -1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(warp(x, affine(1.0, 0, 0, 0, -1, 0)), x.flip(-2), rtol=1e-5, atol=1e-5)


def test_warp_equals_affine_grid():
    x, theta = torch.randn(2, 3, 9, 6), affine(1.0, 0, 0, 0, 1, 0) + 0.2 * torch.randn(2, 2, 3)
    grid = F.affine_grid(theta, [2, 3, 9, 6], align_corners=False)
    torch.testing.assert_close(warp(x, theta), F.grid_sample(x, grid, align_corners=False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_warp_is_computed_in_float32_under_autocast(dtype):
    x, theta = torch.randn(1, 2, 40, 60), affine(0.97, 0.02, 0.05, -0.01, 1.03, -0.04)
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(warp(x, theta), warp(x.double(), theta).float(), rtol=1e-5, atol=1e-5)
        assert warp(x.to(dtype), theta).dtype == dtype


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 16), (33, 20)])
def test_stn_is_an_identity_that_can_learn_at_the_start(size):
    block, x = build_block("stn", 4), torch.randn(2, 4, *size)
    output = block(x)
    assert torch.equal(output, x)
    output.square().mean().backward()
    assert block.gamma.grad.all()


def test_stn_blends_the_warp_by_channel():
    block = silent("stn", 2)
    block.last.bias.data[2] = 100.0
    block.gamma.data[1] = 0.25
    x = torch.randn(1, 2, 6, 20)
    # tanh(100) = 1, so the sampling moves by the bound 0.1, one column of 20.
    moved = F.pad(x[..., 1:], (0, 1))
    expected = torch.stack([x[:, 0], 0.75 * x[:, 1] + 0.25 * moved[:, 1]], dim=1)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_stn_stays_within_its_bound():
    block = drawn("stn", 3, bound=0.3)
    nn.init.normal_(block.last.weight, std=100)
    offsets = block.theta(torch.randn(4, 3, 9, 9)) - torch.eye(2, 3)
    assert 0.29 < offsets.abs().max() <= 0.3 + 1e-6


# --- Hard attention


def logits_are_the_first_channel(name, channels, **options):
    block = silent(name, channels, **options)
    block.logit.weight.data[0, 0] = 1.0
    return block


def test_hard_keeps_positive_logits():
    block = logits_are_the_first_channel("hard", 2)
    nn.init.constant_(block.conv.bias, 3.0)
    nn.init.constant_(block.gamma, 2.0)
    x = torch.tensor([[1.0, 0.0], [-1.0, 1e-6]]).expand(1, 2, 2, 2)
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    assert torch.equal(block.mask(x), mask)
    assert torch.equal(block(x), x + 6 * mask)
    assert block.kept_fraction(x).tolist() == [0.5]


def test_hard_keeps_the_maximum_of_each_window():
    block = logits_are_the_first_channel("hard", 1, form="max")
    x = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]]).view(1, 1, 1, 5)
    assert block.mask(x).flatten().tolist() == [1, 0, 0, 0, 0]
    x = torch.tensor([[5.0, 0.0, -3.0, 0.0, 1.0]]).view(1, 1, 1, 5)
    assert block.mask(x).flatten().tolist() == [1, 0, 0, 0, 1]
    assert logits_are_the_first_channel("hard", 1, form="max", window=9).mask(x).sum() == 1
    assert logits_are_the_first_channel("hard", 1, form="max", window=1).mask(x).sum() == 5


@pytest.mark.parametrize(
    ("size", "fraction", "rows", "columns"),
    [
        ((4, 6), 0.5, slice(1, 3), slice(1, 4)),
        ((5, 7), 0.5, slice(1, 4), slice(1, 5)),
        ((1, 2), 0.5, slice(0, 1), slice(0, 1)),
        ((8, 100), 0.1, slice(3, 4), slice(45, 55)),
        ((3, 4), 1.0, slice(None), slice(None)),
    ],
)
def test_hard_keeps_the_central_rectangle(size, fraction, rows, columns):
    block = build_block("hard", 2, form="centre", fraction=fraction)
    expected = torch.zeros(3, 1, *size)
    expected[..., rows, columns] = 1
    x = torch.randn(3, 2, *size)
    assert torch.equal(block.mask(x), expected)
    torch.testing.assert_close(block.kept_fraction(x), expected.mean((1, 2, 3)))


@pytest.mark.parametrize("form", ["threshold", "max"])
def test_hard_passes_the_gradient_of_the_sigmoid(form):
    block = logits_are_the_first_channel("hard", 1, form=form)
    x = torch.randn(1, 1, 5, 6, requires_grad=True)
    mask = block.mask(x)
    assert set(mask.flatten().tolist()) == {0.0, 1.0}
    mask.sum().backward()
    soft = x.detach().sigmoid()
    torch.testing.assert_close(x.grad, soft * (1 - soft))


def test_hard_is_deterministic_and_the_same_in_training():
    block, x = drawn("hard"), torch.randn(2, 24, 8, 8)
    assert torch.equal(block.train()(x), block.eval()(x))
    assert torch.equal(block(x), block(x))


def test_hard_starts_with_a_gain_of_a_tenth():
    block, x = build_block("hard", 3, form="centre", fraction=1.0), torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(block(x), x + 0.1 * block.conv(x))


# --- Trunks


@pytest.mark.parametrize(("activation", "below"), [("relu", 0.0), ("leaky_relu", -0.05)])
def test_depthwise_trunk_closed_form(activation, below):
    block = silent("dw", 2, activation=activation)
    for depthwise, point in (block.first, block.second):
        nn.init.dirac_(depthwise.weight, groups=2)
        nn.init.dirac_(point.weight)
    block.second[1].bias.data[0] = 3.0
    x = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    expected = torch.tensor([4.0, below]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("kernel", [3, 1])
@pytest.mark.parametrize(("activation", "below"), [("relu", 0.0), ("leaky_relu", -0.1)])
def test_single_convolution_closed_form(kernel, activation, below):
    block = silent("conv1", 2, kernel=kernel, activation=activation)
    nn.init.dirac_(block.conv.weight)
    assert block.conv.kernel_size == (kernel, kernel)
    x = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 3, 5)
    expected = torch.tensor([3.0, below]).view(1, 2, 1, 1).expand(1, 2, 3, 5)
    torch.testing.assert_close(block(x), expected)


# --- Constraints and options


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("se", 8, {"reduction": 0}, "block 'se': input should be greater than or equal to 1, but got reduction=0."),
        ("sk", 30, {"groups": 8}, "channels must be a multiple of 8 for block 'sk', but got channels=30; use 24, 32"),
        ("sk", 8, {"branches": 1}, "input should be greater than or equal to 2, but got branches=1."),
        ("sk", 8, {"form": "caffe"}, "input should be 'official' or 'port', but got form='caffe'."),
        ("nonlocal", 8, {"sub_sample": "both"}, "should be 'none', 'after' or 'before', but got sub_sample='both'."),
        ("stn", 8, {"bound": 1.0}, "block 'stn': input should be less than 1, but got bound=1.0."),
        ("stn", 8, {"bound": 0.0}, "input should be greater than 0, but got bound=0.0."),
        ("hard", 8, {"window": 4}, "window must be odd, but got window=4; use 3 or 5."),
        ("hard", 8, {"fraction": 0.0}, "input should be greater than 0, but got fraction=0.0."),
        ("conv1", 8, {"kernel": 5}, "input should be 3 or 1, but got kernel=5."),
        ("dw", 8, {"activation": "gelu"}, "input should be 'relu' or 'leaky_relu', but got activation='gelu'."),
    ],
)
def test_bad_options_are_refused(name, channels, options, message):
    with pytest.raises(InputError) as error:
        build_block(name, channels, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["channel_from_spatial", "spatial_from_channel"])
def test_the_change_to_the_proposal_is_said(name):
    block = type(build_block(name, 4))
    assert "grow with the image" in " ".join(block.__doc__.split()).replace("grows", "grow")
    assert "Deviation:" in sys.modules[block.__module__].__doc__
