"""What must hold for every block, and a case per block whose output is known by hand."""

import copy
import inspect
import math
import sys

import pytest
import torch
from torch import nn

from srnas.profiling import count
from srnas.search_space import REGISTRY, InputError, build_block
from srnas.search_space.blocks.mlka import ChannelLayerNorm
from srnas.search_space.blocks.softpool import SoftPool2d

CHANNELS = 24
CONFIGURATIONS = [
    *((info.name, {}) for info in REGISTRY.infos("trunk", "attention")),
    ("conv", {"activation": "leaky_relu"}),
    ("lia", {"features": 4}),
    ("aab", {"reduction": 8, "temperature": 1.0}),
    ("psa_parallel", {"spatial_softmax": "product", "channel_up": "conv", "projection_bias": False}),
    ("psa_sequential", {"spatial_softmax": "value", "channel_up": "bottleneck", "projection_bias": False}),
    ("cbam", {"reduction": 4, "pools": ["avg", "max", "lp", "lse"]}),
    ("cbam", {"spatial": False}),
]
everywhere = pytest.mark.parametrize(("name", "options"), CONFIGURATIONS, ids=lambda value: str(value))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def drawn(name, channels=CHANNELS, **options):
    """Return a block whose parameters all take part: none is left at an initialisation of zero."""
    block = build_block(name, channels, **options)
    for key, parameter in block.named_parameters():
        # Positive biases keep every ReLU alive.
        nn.init.uniform_(parameter, 0.5, 1.0) if key.endswith("bias") else nn.init.normal_(parameter, std=0.1)
    return block


def constant(conv, weight, bias=None):
    nn.init.constant_(conv.weight, weight)
    if bias is not None:
        nn.init.constant_(conv.bias, bias)


@everywhere
@pytest.mark.parametrize(("height", "width"), [(7, 9), (13, 8), (20, 31)])
def test_shape_is_kept(name, options, height, width):
    x = torch.randn(2, CHANNELS, height, width)
    assert drawn(name, **options)(x).shape == x.shape


@everywhere
def test_every_parameter_gets_a_gradient(name, options):
    block = drawn(name, **options)
    block(torch.randn(2, CHANNELS, 13, 15)).square().mean().backward()
    dead = [key for key, parameter in block.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # A constant added to all logits of a softmax cannot change it.
    shift_invariant = {"psa_parallel": ["channel_query.bias"], "psa_sequential": ["channel_query.bias"]}
    assert [key for key in dead if key not in shift_invariant.get(name, [])] == []


@everywhere
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_finite(name, options, dtype):
    block = drawn(name, **options)
    with torch.autocast("cpu", dtype):
        output = block(10 * torch.randn(1, CHANNELS, 14, 14))
    assert output.isfinite().all()


@everywhere
def test_folding_keeps_the_output(name, options):
    block = drawn(name, **options)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    block.eval()
    folded = copy.deepcopy(block)
    for module in list(folded.modules()):
        if hasattr(module, "fold"):
            module.fold()
            module.fold()
    x = torch.randn(1, CHANNELS, 12, 15)
    torch.testing.assert_close(folded(x), block(x), rtol=0, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())


@everywhere
@pytest.mark.parametrize(("height", "width"), [(7, 7), (24, 31)])
def test_macs_formula_equals_the_counter(name, options, height, width):
    block = build_block(name, CHANNELS, **options)
    counted = count(block, (1, CHANNELS, height, width))
    assert counted.macs == type(block).macs(CHANNELS, height, width, type(block).Config(**options))
    assert counted.unknown == {}


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
        ("psa_parallel", 32, dict(CONFIGURATIONS[-4][1]), 2080),
        ("psa_sequential", 32, dict(CONFIGURATIONS[-3][1]), 1804),
        ("cbam", 64, {}, 680),
        ("cbam", 8, {}, 2 * 8 + 1 + 8 + 100),
        ("pa", 24, {}, 600),
        ("conv", 24, {}, 18 * 576 + 48),
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


@pytest.mark.parametrize("options", [{}, *(dict(CONFIGURATIONS[i][1]) for i in (-4, -3))], ids=["paper", "p", "s"])
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
    mask = build_block("psa_parallel", 32, **CONFIGURATIONS[-4][1]).spatial_mask(torch.randn(1, 32, 64, 64))
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
        ("lai", 8, {}, "unknown block 'lai'. Did you mean 'lia'?"),
        ("lia", 8, {"featurs": 4}, "unknown key 'featurs'. Did you mean 'features'? Valid: features."),
        ("lia", 8, {"features": 0}, "block 'lia': input should be greater than or equal to 1, but got features=0."),
        ("cbam", 8, {"pools": ["mean"]}, "should be 'avg', 'max', 'lp' or 'lse', but got pools.0='mean'."),
    ],
)
def test_bad_blocks_are_refused(name, channels, options, message):
    with pytest.raises(InputError) as error:
        build_block(name, channels, **options)
    assert message in str(error.value)
