"""What must hold for every block; what only one block does stands in ``blocks/``."""

import copy
import inspect
import math
import sys

import pytest
import torch
from torch import nn

from srnas.profiling import count, reconcile
from srnas.search_space import REGISTRY, InputError, build_block
from srnas.search_space.blocks.ecb import Branch
from srnas.search_space.blocks.folding import Branches
from srnas.search_space.blocks.repmb import RepMBConv
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
    ("conv3xc", {"gain": 1, "activation": "leaky_relu"}),
    ("ecb", {"multiplier": 1.5, "activation": "relu", "identity": True}),
    ("ecb", {"activation": "softplus"}),
    ("ecb", {"activation": "linear"}),
    ("edbb", {"expanded": True, "identity": True}),
    ("spab", {"middle": 10}),
    ("spab", {"convolution": "conv"}),
    ("esa", {"form": "rfdn"}),
    ("esa", {"features": 6}),
    ("rlfb", {"middle": 28, "features": 8}),
]
everywhere = pytest.mark.parametrize(("name", "options"), CONFIGURATIONS, ids=lambda value: str(value))


def folded(block):
    """Return the deploy form of a block; a second fold changes nothing."""
    return fold_all(fold_all(copy.deepcopy(block).eval()))


def sizes(name, options):
    """Return the least, odd, and unequal heights and widths."""
    least = least_size(name, options)
    return [(least, least), (least, 2 * least + 3), (max(least, 13), max(least, 8)), (20, 31)]


def least_size(name, options):
    cls = REGISTRY.block(name)
    return cls.constraint(cls.Config(**options)).min_size


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_gradients_and_memory_formats(name, options, dtype, drawn):
    block = drawn(name, **options)
    got_gradient = set()
    for height, width in sizes(name, options):
        x = torch.randn(2, CHANNELS, height, width, requires_grad=True)
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
    dead = {key for key, parameter in block.named_parameters() if parameter.requires_grad} - got_gradient
    assert dead <= set(block.info.without_gradient)


def assert_equal_in_both_formats(block, x, dtype):
    other = copy.deepcopy(block).to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected, ours = block(x).float(), other(x.to(memory_format=torch.channels_last)).float()
    share = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(ours, expected, rtol=0, atol=share * max(1, expected.abs().max().item()))


@everywhere
@pytest.mark.parametrize("deployed", [False, True])
def test_exports(name, options, deployed, drawn):
    block = drawn(name, **options).eval()
    if deployed:
        whole, block = block, folded(block)
        if str(block) == str(whole):  # Nothing folds: both are the same module, which the other case exports.
            return
    for height, width in sizes(name, options)[:3]:
        x = torch.randn(1, CHANNELS, height, width)
        exported = torch.export.export(block, (x,)).module()
        torch.testing.assert_close(exported(x), block(x), rtol=1e-5, atol=1e-5)


@everywhere
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_finite(name, options, dtype, drawn):
    block = drawn(name, **options)
    with torch.autocast("cpu", dtype):
        output = block(10 * torch.randn(2, CHANNELS, 15, 15))
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
    x = torch.randn(1, CHANNELS, 15, 17).to(memory_format=memory_format)
    deployed = folded(block)
    torch.testing.assert_close(deployed(x), block(x), rtol=0, atol=1e-5)
    convolutions = [m for m in deployed.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert all(c.weight.is_contiguous(memory_format=memory_format) for c in convolutions)
    assert not any(isinstance(m, (nn.BatchNorm2d, RepMBConv, Branches, Branch)) for m in deployed.modules())


@everywhere
@pytest.mark.parametrize(("height", "width"), [(7, 7), (24, 31)])
def test_formulas_equal_the_counter(name, options, height, width):
    cls = REGISTRY.block(name)
    config, least = cls.Config(**options), least_size(name, options)
    height, width = max(height, least), max(width, least)
    counted = count(folded(build_block(name, CHANNELS, **options)), (1, CHANNELS, height, width))
    assert counted.macs == cls.macs(CHANNELS, height, width, config)
    assert counted.params == cls.params(CHANNELS, config)
    assert counted.unknown == {}
    assert cls.macs.__doc__.startswith("``")
    assert cls.params.__doc__.startswith("``")


@everywhere
def test_three_counters_agree(name, options):
    assert reconcile(folded(build_block(name, CHANNELS, **options)), (1, CHANNELS, 16, 19)).agrees


# Their output is their input times all of their weights.
WEIGHING = (
    "lia", "lia_maxpool", "lia_speed", "se", "pa", "spa", "lka", "esa", "cbam", "psa_sequential",
    "spatial_from_channel",
)  # fmt: skip


@everywhere
def test_weights_are_those_that_the_block_weighs_by(name, options):
    block, x = build_block(name, CHANNELS, **options).eval(), torch.rand(2, CHANNELS, 17, 18)
    with torch.no_grad():
        weights, y = block.attention_weights(x), block(x)
    # A warp weighs nothing, nor does a trunk.
    assert bool(weights) == (block.info.role == "attention" and name != "stn")
    for weight in weights.values():
        assert len(weight) == 2
        assert CHANNELS % weight.shape[1] == 0
        assert weight.isfinite().all()
    if name in WEIGHING:
        torch.testing.assert_close(y, x * math.prod(weights.values()))


def test_the_plain_branch_is_all_that_is_left_of_aab():
    block, x = build_block("aab", CHANNELS), torch.rand(1, CHANNELS, 9, 8)
    plain = block.without_attention()
    torch.nn.init.zeros_(block.merge.weight)  # The attention branch gives nothing; half of the plain one remains.
    torch.nn.init.zeros_(block.weigh.weight)
    block.plain.weight.data *= 2
    with torch.no_grad():
        whole = block(x)
        block.plain.weight.data /= 2
        torch.testing.assert_close(plain(x), whole)
    assert build_block("lia", CHANNELS).without_attention() is None


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
        ("conv3xc", 48, {}, 41 * 48**2 + 6 * 48),
        ("conv3xc", 12, {"gain": 1}, 12 * 12**2 + 4 * 12),
        # Masks and PReLU included.
        ("ecb", 16, {}, 12 * 256 + 16 * 32 + 9 * 32 * 16 + 32 + 38 * 16 + 16),
        ("ecb", 6, {"multiplier": 1.5}, 12 * 36 + 6 * 9 + 9 * 9 * 6 + 9 + 39 * 6),
        ("edbb", 16, {}, 23 * 256 + 41 * 16),
        ("spab", 28, {}, 123 * 28**2 + 18 * 28),
        ("spab", 32, {"convolution": "conv"}, 27 * 32**2 + 3 * 32),
        ("spabv2", 32, {}, 28 * 32**2 + 32),
        ("spa", 32, {}, 0),
        ("esa", 52, {}, 2 * 52 * 16 + 19 * 256 + 64 + 52),
        ("esa", 50, {"form": "rfdn"}, 2 * 50 * 12 + 37 * 144 + 72 + 50),
        ("rlfb", 52, {}, 82_564),
        ("rlfb", 48, {}, 71_216),
        ("rlfb", 46, {"middle": 48}, 69_230),
        ("rfdb", 50, {}, 94_450),
        ("imdb", 64, {}, 104_020),
    ],
)
def test_parameter_formulas(name, channels, options, params):
    assert sum(p.numel() for p in build_block(name, channels, **options).parameters()) == params


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
        ("lia", 8, {"features": 0}, "block 'lia': features >= 1 must hold, but got features=0."),
        ("cbam", 8, {"pools": ["mean"]}, "should be 'avg', 'max', 'lp' or 'lse', but got pools.0='mean'."),
        ("cbam", 8, {"pools": ["max", "max"]}, "pools must differ, but got pools=('max', 'max'); name each once."),
        ("aab", 8, {"temperature": float("inf")}, "input should be a finite number, but got temperature=inf."),
        ("se", 8, {"reduction": 0}, "block 'se': reduction >= 1 must hold, but got reduction=0."),
        ("sk", 30, {"groups": 8}, "channels must be a multiple of 8 for block 'sk', but got channels=30; use 24, 32"),
        ("sk", 8, {"branches": 1}, "branches >= 2 must hold, but got branches=1."),
        ("sk", 8, {"form": "caffe"}, "input should be 'official' or 'port', but got form='caffe'."),
        ("nonlocal", 8, {"sub_sample": "both"}, "should be 'none', 'after' or 'before', but got sub_sample='both'."),
        ("stn", 8, {"bound": 1.0}, "block 'stn': bound < 1 must hold, but got bound=1.0."),
        ("stn", 8, {"bound": 0.0}, "bound > 0 must hold, but got bound=0.0."),
        ("hard", 8, {"window": 4}, "window must be odd, but got window=4; use 3 or 5."),
        ("hard", 8, {"fraction": 0.0}, "fraction > 0 must hold, but got fraction=0.0."),
        ("conv1", 8, {"kernel": 5}, "input should be 3 or 1, but got kernel=5."),
        (
            "ecb",
            3,
            {"multiplier": 0.25},
            "channels must be at least 4 for block 'ecb', but got channels=3;",
        ),
        ("ecb", 3, {"multiplier": 0.0}, "block 'ecb': multiplier > 0 must hold, but got multiplier=0.0."),
        ("esa", 3, {"form": "rfdn"}, "channels must be at least 4 for block 'esa', but got channels=3; use 4 or 5."),
        (
            "imdb",
            12,
            {},
            "a multiple of 4 and at least 16 for block 'imdb', but got channels=12; use 16 or 20.",
        ),
        ("dw", 8, {"activation": "gelu"}, "input should be 'relu' or 'leaky_relu', but got activation='gelu'."),
    ],
)
def test_bad_blocks_are_refused(name, channels, options, message):
    with pytest.raises(InputError) as error:
        build_block(name, channels, **options)
    assert message in str(error.value)
