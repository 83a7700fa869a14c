"""What must hold for every block, and a case per block whose output is known by hand."""

import copy
import inspect
import math
import sys

import pytest
import torch
from torch import nn

from srnas.profiling import count, reconcile
from srnas.search_space import REGISTRY, InputError, build_block
from srnas.search_space.blocks.channel_norm import ChannelLayerNorm
from srnas.search_space.blocks.repmb import RepMBConv
from srnas.search_space.blocks.softpool import SoftPool2d
from srnas.search_space.registry import fold_all

CHANNELS = 24
PSA_P = {"spatial_softmax": "product", "channel_up": "conv", "projection_bias": False}
PSA_S = {"spatial_softmax": "value", "channel_up": "bottleneck", "projection_bias": False}
CONFIGURATIONS = [
    *((info.name, {}) for info in REGISTRY.infos("trunk", "attention")),
    ("conv", {"activation": "leaky_relu"}),
    ("conv1", {"kernel": 1, "activation": "leaky_relu"}),
    ("dw", {"activation": "leaky_relu"}),
    ("repmb", {"convolutions": 3, "gate": True, "start": "alive"}),
    ("repmb", {"convolutions": 1, "gate": True}),
    ("lia", {"features": 4}),
    ("lia_maxpool", {"features": 4}),
    ("aab", {"reduction": 8, "temperature": 1.0}),
    ("psa_parallel", PSA_P),
    ("psa_sequential", PSA_S),
    ("cbam", {"reduction": 4, "pools": ["avg", "max", "lp", "lse"]}),
    ("cbam", {"spatial": False}),
    ("se", {"reduction": 100}),
    ("sk", {"norm": "batch", "groups": 8, "branches": 3, "min_hidden": 4}),
    ("sk", {"form": "port", "reduction": 2, "min_hidden": 4}),
    ("sk", {"form": "port", "norm": "batch", "groups": 4}),
    ("nonlocal", {"sub_sample": "after", "scaled": False, "norm": "batch"}),
    ("nonlocal", {"sub_sample": "none", "reduction": 3}),
    ("stn", {"bound": 0.3, "features": 4}),
    ("hard", {"form": "max", "window": 5}),
    ("hard", {"form": "centre", "fraction": 0.3}),
]
everywhere = pytest.mark.parametrize(("name", "options"), CONFIGURATIONS, ids=lambda value: str(value))
# Constants added to all logits of a softmax cannot change it.
SHIFT_INVARIANT = {
    "psa_parallel": ["channel_query.bias"],
    "psa_sequential": ["channel_query.bias"],
    "nonlocal": ["key.bias"],
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def drawn(name, channels=CHANNELS, **options):
    """Return a block whose parameters all take part: none is left at an initialisation of zero."""
    block = build_block(name, channels, **options)
    for key, parameter in block.named_parameters():
        # Positive biases keep every ReLU alive, positive weights the sigmoid of ASR off its ends.
        nn.init.uniform_(parameter, 0.5, 1.0) if key.endswith("bias") else nn.init.normal_(parameter, std=0.1)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return block


def folded(block):
    """Return the deploy form of a block; a second fold changes nothing."""
    return fold_all(fold_all(copy.deepcopy(block).eval()))


def constant(conv, weight, bias=None):
    nn.init.constant_(conv.weight, weight)
    if bias is not None:
        nn.init.constant_(conv.bias, bias)


def sizes(name, options):
    """Return the least, odd, and unequal heights and widths."""
    cls = REGISTRY.block(name)
    least = cls.constraint(cls.Config(**options)).min_size
    return [(least, least), (least, 2 * least + 3), (13, 8), (20, 31)]


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_gradients_and_memory_formats(name, options, dtype):
    block = drawn(name, **options)
    got_gradient = set()
    for height, width in sizes(name, options):
        x = torch.randn(2, CHANNELS, height, width)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output = block(x)
        assert output.shape == x.shape
        assert output.isfinite().all()
        # oneDNN as of torch 2.13 returns uninitialised memory as the bfloat16 weight gradient of a strided 3x3
        # convolution over a map of width 1, which LIA has below 13 pixels.
        if dtype == torch.bfloat16 and min(height, width) < 13 and name in ("lia", "lia_maxpool"):
            continue
        output.float().square().mean().backward()
        got_gradient |= {key for key, p in block.named_parameters() if p.grad is not None and p.grad.any()}
        assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())
        assert_equal_in_both_formats(block.eval(), x, dtype)
        block.train()
    dead = {key for key, _ in block.named_parameters()} - got_gradient
    assert dead <= set(SHIFT_INVARIANT.get(name, []))


def assert_equal_in_both_formats(block, x, dtype):
    other = copy.deepcopy(block).to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected, ours = block(x).float(), other(x.to(memory_format=torch.channels_last)).float()
    share = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(ours, expected, rtol=0, atol=share * max(1, expected.abs().max().item()))


@everywhere
@pytest.mark.parametrize("deployed", [False, True])
def test_exports(name, options, deployed):
    block = drawn(name, **options).eval()
    block = folded(block) if deployed else block
    for height, width in sizes(name, options)[:3]:
        x = torch.randn(1, CHANNELS, height, width)
        exported = torch.export.export(block, (x,)).module()
        torch.testing.assert_close(exported(x), block(x), rtol=1e-5, atol=1e-5)


@everywhere
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_finite(name, options, dtype):
    block = drawn(name, **options)
    with torch.autocast("cpu", dtype):
        output = block(10 * torch.randn(2, CHANNELS, 14, 14))
    assert output.isfinite().all()


@everywhere
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_folding_keeps_the_output(name, options, memory_format):
    block = build_block(name, CHANNELS, **options).eval()
    for parameter in block.parameters():
        if len(parameter.unique()) == 1:
            nn.init.uniform_(parameter, 0.2, 0.4)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    block = block.to(memory_format=memory_format)
    x = torch.randn(1, CHANNELS, 12, 15).to(memory_format=memory_format)
    deployed = folded(block)
    torch.testing.assert_close(deployed(x), block(x), rtol=0, atol=1e-5)
    convolutions = [m for m in deployed.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert all(c.weight.is_contiguous(memory_format=memory_format) for c in convolutions)
    assert not any(isinstance(m, (nn.BatchNorm2d, RepMBConv)) for m in deployed.modules())


@everywhere
@pytest.mark.parametrize(("height", "width"), [(7, 7), (24, 31)])
def test_formulas_equal_the_counter(name, options, height, width):
    cls = REGISTRY.block(name)
    config = cls.Config(**options)
    counted = count(folded(build_block(name, CHANNELS, **options)), (1, CHANNELS, height, width))
    assert counted.macs == cls.macs(CHANNELS, height, width, config)
    assert counted.params == cls.params(CHANNELS, config)
    assert counted.unknown == {}
    assert cls.macs.__doc__.startswith("``")
    assert cls.params.__doc__.startswith("``")


@everywhere
def test_three_counters_agree(name, options):
    assert reconcile(folded(build_block(name, CHANNELS, **options)), (1, CHANNELS, 16, 19)).agrees


@pytest.mark.parametrize("info", REGISTRY.infos(), ids=lambda info: info.name)
def test_facts_are_stated(info):
    cls = REGISTRY.tail(info.name) if info.role == "tail" else REGISTRY.block(info.name)
    assert "Reference:" in sys.modules[cls.__module__].__doc__
    assert "https://" in info.paper
    assert inspect.getdoc(cls)


# Parameters: formulas of the blocks' specification.
@pytest.mark.parametrize(
    ("name", "channels", "options", "params"),
    [
        ("lia", 64, {"features": 16}, 10 * 64 * 16 + 9 * 256 + 32 + 64),
        ("lia", 32, {"features": 4}, 1464),
        ("aab", 40, {}, 39 * 1600 + 40 + 400 + 20),
        ("aab_m", 40, {}, 50060),
        ("mlka", 48, {}, 10 * 48**2 // 3 + 117 * 48),
        ("mlka", 180, {}, 129_060),
        ("psa_parallel", 32, {}, 2225),
        ("psa_parallel", 32, PSA_P, 2080),
        ("psa_sequential", 32, PSA_S, 1804),
        ("cbam", 64, {}, 680),
        ("cbam", 8, {}, 2 * 8 + 1 + 8 + 100),
        ("pa", 24, {}, 600),
        ("conv", 24, {}, 18 * 576 + 48),
        ("lia_speed", 24, {}, 9 * 576 + 24),
        ("lia_maxpool", 64, {}, 12640),
        ("gsau", 48, {}, 9600),
        ("lkat", 60, {}, 18900),
        ("repmb", 64, {}, 2 * 172_480),
        ("repmb", 64, {"gate": True}, 2 * 172_480 + 65),
    ],
)
def test_parameter_formulas(name, channels, options, params):
    assert sum(p.numel() for p in build_block(name, channels, **options).parameters()) == params


# --- SoftPool


def test_softpool_is_the_softmax_weighted_mean():
    x = torch.randn(2, 3, 17, 20)
    windows = x.unfold(2, 7, 3).unfold(3, 7, 3).flatten(4)
    expected = (windows.softmax(-1) * windows).sum(-1)
    torch.testing.assert_close(SoftPool2d(7, 3)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [-1e4, -104.0, 0.0, 88.0, 1e4])
def test_softpool_of_a_constant_is_the_constant(value):
    pooled = SoftPool2d(3)(torch.full((1, 1, 6, 6), value))
    torch.testing.assert_close(pooled, torch.full((1, 1, 2, 2), value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_softpool_is_finite_and_within_its_window(dtype):
    x = (1000 * torch.randn(1, 4, 21, 21)).to(dtype)
    pooled = SoftPool2d(7)(x).float()
    windows = x.float().unfold(2, 7, 7).unfold(3, 7, 7).flatten(4)
    slack = 0.01 * windows.abs().amax(-1)
    assert (pooled <= windows.amax(-1) + slack).all()
    assert (pooled >= windows.amin(-1) - slack).all()


def test_softpool_leaves_padding_out():
    x = torch.full((1, 1, 4, 4), 3.0)
    torch.testing.assert_close(SoftPool2d(3, 1, padding=1)(x), x)


# --- LIA


def test_lia_with_zero_weights_scales_by_two_constants():
    block = build_block("lia", 6, features=4)
    for conv in (block.squeeze, block.reduce, block.expand):
        constant(conv, 0.0, 0.3)
    x = torch.randn(1, 6, 15, 22)
    sigmoid = 1 / (1 + math.exp(-0.3))
    torch.testing.assert_close(block(x), x * sigmoid * x[:, :1].sigmoid())


def test_lia_is_shut_where_channel_0_is_very_negative():
    x = torch.randn(1, 6, 9, 9)
    x[:, 0] = -1e4
    assert build_block("lia", 6)(x)[:, 1:].abs().max() == 0


@pytest.mark.parametrize(("side", "map_side"), [(7, 1), (12, 1), (13, 2), (64, 10), (180, 29), (256, 42)])
def test_lia_map_size(side, map_side):
    block = build_block("lia", 3, features=1)
    assert block.reduce(block.pool(torch.zeros(1, 1, side, side))).shape[-1] == map_side


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (1, 1)])
def test_lia_refuses_small_inputs(shape):
    with pytest.raises(InputError, match=r"height and width must be at least 7 for block 'lia', but got \d+x\d+"):
        build_block("lia", 4)(torch.zeros(1, 4, *shape))


# --- AAB


@pytest.mark.parametrize("name", ["aab", "aab_m"])
def test_aab_weighs_attention_with_index_0(name):
    block = build_block(name, 4, temperature=1.0)
    for conv in (block.project_in, block.project_out):
        nn.init.dirac_(conv.weight)
    for conv in (block.gate_spatial, block.gate_point, block.value, block.plain):
        nn.init.zeros_(conv.weight)
    nn.init.zeros_(block.gate_point.bias)
    nn.init.dirac_(block.value.weight)
    nn.init.dirac_(block.merge.weight)
    constant(block.squeeze, 1.0)
    block.weigh.weight.data = torch.tensor([[1.0], [0.0]])
    x = torch.full((1, 4, 5, 5), 0.25)
    # The mean's logit is 4 * 0.25 = 1, so attention weighs sigmoid(1); the gate is 1/2; the plain branch is 0.
    expected = 0.25 + 0.25 * 0.5 / (1 + math.exp(-1))
    torch.testing.assert_close(block(x), torch.full_like(x, expected))


def test_aab_m_differs_only_in_the_plain_kernel():
    assert build_block("aab", 8).plain.kernel_size == (3, 3)
    assert build_block("aab_m", 8).plain.kernel_size == (1, 1)


def test_aab_is_nearly_an_identity_at_the_start():
    # 0.046 was measured on the official block at 40 channels.
    x = torch.randn(4, 40, 16, 16)
    change = (build_block("aab", 40)(x) - x).norm() / x.norm()
    assert 0.02 < change < 0.1


# --- MLKA


def test_mlka_is_an_identity_at_the_start():
    x = torch.randn(1, 6, 9, 9)
    assert torch.equal(build_block("mlka", 6)(x), x)


def test_mlka_attends_with_the_first_half():
    block = build_block("mlka", 3)
    nn.init.ones_(block.scale)
    nn.init.zeros_(block.norm.weight)
    nn.init.zeros_(block.norm.bias)
    nn.init.zeros_(block.project_in.weight)
    block.project_in.bias.data = torch.tensor([2.0, 2.0, 2.0, 5.0, 5.0, 5.0])
    nn.init.dirac_(block.project_out.weight)
    nn.init.zeros_(block.project_out.bias)
    for branch in block.branches:
        for conv, value in ((branch.gate, 3.0), (branch.point, 7.0), (branch.local, 0.0), (branch.dilated, 0.0)):
            constant(conv, 0.0, value)
    x = torch.randn(1, 3, 8, 8)
    # v = 5, m = 3 * 7 whatever x is: a product without a sigmoid.
    torch.testing.assert_close(block(x), x + 5.0 * 21.0)


def test_mlka_reaches_as_far_as_stated():
    x = torch.zeros(1, 3, 99, 99)
    for branch, reach in zip(build_block("mlka", 3).branches, (11, 23, 39), strict=True):
        for conv in (branch.local, branch.dilated, branch.point):
            constant(conv, 1.0, 0.0)
        constant(branch.gate, 0.0, 1.0)
        impulse = x[:, :1].clone()
        impulse[..., 49, 49] = 1
        assert branch(impulse)[0, 0, 49].count_nonzero() == reach


def test_channel_layer_norm_equals_torch():
    x = torch.randn(2, 5, 4, 3)
    norm = nn.LayerNorm(5, eps=1e-6)
    expected = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ChannelLayerNorm(5)(x), expected)


# --- PSA


@pytest.mark.parametrize("options", [{}, PSA_P, PSA_S], ids=["paper", "p", "s"])
def test_psa_masks_are_a_half_without_signal(options):
    x = torch.randn(1, 8, 6, 5)
    for name, expected in (("psa_parallel", x), ("psa_sequential", x / 4)):
        block = build_block(name, 8, **options)
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        # The product's softmax gives 1/30 everywhere, whose sigmoid is not quite a half.
        slack = 0.01 * x.abs().max().item() if options.get("spatial_softmax") == "product" else 1e-6
        torch.testing.assert_close(block(x), expected, rtol=0, atol=slack)


def test_psa_channel_mask_pools_where_the_query_points():
    block = build_block("psa_parallel", 2, channel_up="conv")
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    block.channel_query.weight.data[0, 0] = 100.0
    block.channel_value.weight.data[0, 1] = 1.0
    block.channel_up.weight.data[:, 0] = 1.0
    x = torch.zeros(1, 2, 3, 3)
    x[0, 0, 1, 2], x[0, 1, 1, 2] = 1.0, 2.0
    # The softmax over pixels is one at (1, 2), where the value is 2.
    torch.testing.assert_close(block.channel_mask(x), torch.full((1, 2, 1, 1), 1 / (1 + math.exp(-2))))


def test_official_parallel_psa_has_a_nearly_constant_spatial_mask():
    # .5000 to .5246 was measured on the official module at 64x64.
    mask = build_block("psa_parallel", 32, **PSA_P).spatial_mask(torch.randn(1, 32, 64, 64))
    assert mask.min() >= 0.5
    assert mask.max() < 0.55


# --- CBAM


def test_cbam_halves_twice_without_signal():
    block = build_block("cbam", 8)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(block.eval()(x), x / 4)


def test_cbam_spatial_gate_sees_maximum_then_mean():
    block = build_block("cbam", 2, spatial=True).eval()
    for conv in (block.squeeze, block.expand):
        constant(conv, 0.0, 0.0)
    block.spatial.conv.weight.data.zero_()
    block.spatial.conv.weight.data[0, 0, 3, 3] = 1.0
    x = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    # The channel gate is 1/2, so the maximum is 1.5; batch norm divides by sqrt(1 + eps).
    gate = 1 / (1 + math.exp(-1.5 / math.sqrt(1 + 1e-5)))
    torch.testing.assert_close(block(x), x * 0.5 * gate)


@pytest.mark.parametrize(
    ("pool", "value"), [("avg", 0.5), ("max", 2.0), ("lp", 2.0), ("lse", math.log(3 + math.exp(2.0)))]
)
def test_cbam_pools(pool, value):
    block = build_block("cbam", 1, pools=[pool], spatial=False)
    for conv in (block.squeeze, block.expand):
        constant(conv, 1.0, 0.0)
    x = torch.tensor([[0.0, 0.0], [0.0, 2.0]]).view(1, 1, 2, 2)
    torch.testing.assert_close(block(x), x / (1 + math.exp(-value)))


def test_cbam_lp_has_a_gradient_at_zero():
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    build_block("cbam", 4, pools=["lp"])(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_channel_layer_norm_of_large_values_in_half_precision(dtype):
    x = (3000 * torch.randn(1, 12, 4, 4)).to(dtype)
    torch.testing.assert_close(ChannelLayerNorm(12)(x).float(), ChannelLayerNorm(12)(x.float()), rtol=0.02, atol=0.02)


# --- PA


def test_pixel_attention_closed_form():
    block = build_block("pa", 2)
    nn.init.dirac_(block.conv.weight)
    nn.init.zeros_(block.conv.bias)
    x = torch.randn(1, 2, 3, 4)
    torch.testing.assert_close(block(x), x * x.sigmoid())


# --- Constraints and options


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("mlka", 32, {}, "channels must be a multiple of 3 for block 'mlka', but got channels=32; use 30, 33 or 36."),
        ("mlka", 1, {}, "use 3 or 6."),
        ("aab", 3, {}, "channels must be at least 4 for block 'aab', but got channels=3; use 4 or 5."),
        ("psa_parallel", 7, {}, "channels must be a multiple of 2 for block 'psa_parallel'"),
        ("psa_sequential", 12, {"channel_up": "bottleneck"}, "channels must be a multiple of 8"),
        ("liia", 8, {}, "unknown block 'liia'. Did you mean 'lia'?"),
        ("lia", 8, {"featurs": 4}, "unknown key 'featurs'. Did you mean 'features'? Valid: features."),
        ("lia", 8, {"features": 0}, "block 'lia': input should be greater than or equal to 1, but got features=0."),
        ("cbam", 8, {"pools": ["mean"]}, "should be 'avg', 'max', 'lp' or 'lse', but got pools.0='mean'."),
        ("cbam", 8, {"pools": ["max", "max"]}, "pools must differ, but got pools=('max', 'max'); name each once."),
        ("aab", 8, {"temperature": float("inf")}, "input should be a finite number, but got temperature=inf."),
    ],
)
def test_bad_blocks_are_refused(name, channels, options, message):
    with pytest.raises(InputError) as error:
        build_block(name, channels, **options)
    assert message in str(error.value)
