"""The three counters against each other, to the unit, with every difference declared per operator."""

import copy
import tomllib
from importlib.resources import files
from typing import Literal, get_args, get_origin

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn import functional as F

from srnas.profiling import count, reconcile
from srnas.profiling.counting import empty_input
from srnas.profiling.meta import to_meta
from srnas.profiling.tracing import count_fvcore
from srnas.search_space import (
    PUBLISHED,
    REGISTRY,
    Architecture,
    Network,
    SearchSpace,
    build_block,
    human_designs,
    published,
)
from srnas.search_space.blocks.nonlocal_ import NonLocal
from srnas.search_space.registry import fold_all

BLOCKS = [info.name for info in REGISTRY.infos("trunk", "attention")]
CHANNELS = 24


def variants():
    """Return every block with each value of each option of few values, one at a time, and what ``full`` proposes."""
    found = [(name, {}) for name in BLOCKS]
    for name in BLOCKS:
        for option, field in REGISTRY.block(name).Config.model_fields.items():
            values = (True, False) if field.annotation is bool else ()
            values = get_args(field.annotation) if get_origin(field.annotation) is Literal else values
            found += [(name, {option: value}) for value in values if value != field.default]
    full = tomllib.loads(files("srnas.search_space").joinpath("spaces", "full.toml").read_text())
    tables = [choice for choice in (*full["trunk"], *full["attention"]) if isinstance(choice, dict)]
    found += [(table["name"], {k: v for k, v in table.items() if k != "name"}) for table in tables]
    return [case for index, case in enumerate(found) if case not in found[:index]]


VARIANTS = variants()
everywhere = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)


def assert_reconciled(counted):
    assert counted.agrees, (counted.equations, counted.record.unknown)
    assert counted.fvcore_difference == counted.ptflops_difference == 0
    assert counted.fvcore_unsupported == {}


@everywhere
@pytest.mark.parametrize("deployed", [False, True])
def test_every_block_with_every_option(name, options, deployed):
    block = build_block(name, CHANNELS, **options)
    counted = reconcile(fold_all(block.eval()) if deployed else block, (2, CHANNELS, 17, 23))
    assert_reconciled(counted)
    assert_adds_are_known(counted)


def assert_adds_are_known(counted):
    assert counted.ptflops_extras_by_operator.keys() <= {"convolution", "addmm"}
    assert counted.ptflops_extras == counted.record.bias_adds
    # A second way to the extras of fvcore: from the work by operator. Norms have weights in all blocks.
    factors = {"native_batch_norm": 2, "native_layer_norm": 5}
    work = counted.record.other_by_operator
    assert counted.fvcore_extras == {name: work[name] * factors.get(name, 1) for name in counted.fvcore_extras}


def test_the_options_are_found():
    assert ("nonlocal", {"sub_sample": "none"}) in VARIANTS
    assert ("repmb", {"convolutions": 3, "gate": True}) in VARIANTS
    assert len(VARIANTS) > 2 * len(BLOCKS)


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in ("man", "man_light")])
def test_published_networks(name, scale, deployed):
    architecture = published(name, scale)
    # The scale changes the tail only, and deploying each position by itself: those that are like others count as once.
    if scale > 2 or not deployed:
        positions = tuple(dict.fromkeys(architecture.positions))
        architecture = architecture.model_copy(update={"positions": positions})
    network = Network(architecture)
    assert_reconciled(reconcile(network.deploy() if deployed else network, (1, 3, 15, 17)))


# Their positions are equal whatever the scale, and tracing hundreds of convolutions takes a second or two.
@pytest.mark.parametrize(
    ("scale", "positions"), [(2, 2), (3, 2), (4, 2), pytest.param(2, None, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", ["man", "man_light"])
def test_large_published_networks(name, scale, positions):
    architecture = published(name, scale)
    cut = architecture.model_copy(update={"positions": architecture.positions[:positions]})
    assert_reconciled(reconcile(Network(cut).deploy(), (1, 3, 15, 17)))


@pytest.mark.parametrize("tail", [info.name for info in REGISTRY.infos("tail")])
@pytest.mark.parametrize("skip", ["bilinear", "nearest", "none"])
@pytest.mark.parametrize("end", ["none", "conv", "lkat"])
def test_hosts(tail, skip, end):
    fields = {"tail": tail, "global_skip": skip, "end": end, "long_skip": True, "mean_shift": "div2k"}
    architecture = Architecture.from_dict({"scale": 4, "channels": 12, "input_range": 255, **fields})
    assert_reconciled(reconcile(Network(architecture), (1, 3, 9, 8)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_human_designs(scale):
    for design in human_designs(SearchSpace.load("tiny", scale)).values():
        assert_reconciled(reconcile(Network(design).deploy(), (1, 3, 16, 16)))


def test_extras_of_known_cases():
    # fvcore counts 5 per element of a layer norm with affine parameters.
    assert reconcile(build_block("psa_parallel", 48), (1, 48, 32, 32)).fvcore_extras == {"native_layer_norm": 5 * 48}
    # The input of the pooling, and 4 taps for each sample.
    extras = {"_adaptive_avg_pool2d": 6 * 80, "grid_sampler_2d": 4 * 6 * 80}
    assert reconcile(build_block("stn", 6), (1, 6, 10, 8)).fvcore_extras == extras
    biased = reconcile(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(8, 2)), (1, 3, 10, 8))
    assert biased.ptflops_extras_by_operator == {"addmm": 4 * 10 * 2, "convolution": 4 * 80}
    assert biased.ptflops_extras == 4 * 10 * 2 + 4 * 80


def test_equations_say_what_is_added():
    class Upsampled(nn.Sequential):
        def forward(self, x):
            return super().forward(x) @ x.new_zeros(16)

    counted = reconcile(Upsampled(nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=2)), (1, 1, 8, 8))
    # 2 * 64 * 9 and 2 * 16 * 16; fvcore adds 2 * 256; ptflops adds 2 * 64 and does not know the last product.
    assert counted.equations == (
        "fvcore 2,176 = record 1,664 + upsample_nearest2d 512",
        "ptflops 1,280 = record 1,664 + convolution 128 - mv 512",
    )


def test_a_network_that_fvcore_sees_differently_does_not_agree():
    class Chained(nn.Module):
        def forward(self, x):
            return torch.linalg.multi_dot([x[0, 0], x[0, 0], x[0, 0]])

    counted = reconcile(Chained(), (1, 1, 4, 4))
    assert counted.fvcore_unsupported == {"aten::linalg_multi_dot": 1}
    assert counted.fvcore_difference == -2 * 64
    assert not counted.agrees
    assert counted.equations[0] == "fvcore 0 = record 128 - unexplained 128"


@pytest.mark.parametrize("name", BLOCKS)
def test_a_trace_without_data_is_the_one_of_an_execution(name):
    block = build_block(name, CHANNELS).eval()
    with torch.no_grad():
        executed = FlopCountAnalysis(copy.deepcopy(block), torch.zeros(1, CHANNELS, 16, 19))
    executed.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    on_meta = to_meta(block)
    counted, unsupported, uncalled = count_fvcore(on_meta, empty_input(on_meta, (1, CHANNELS, 16, 19)))
    with torch.no_grad():
        assert counted == executed.by_operator()
    assert not unsupported
    assert set(uncalled) == executed.uncalled_modules()


class FusedNonLocal(NonLocal):
    """The block with PyTorch's scaled dot-product attention, which fvcore as shipped counts as 0."""

    def _attend_in_budget(self, query, key, value):
        return F.scaled_dot_product_attention(query[:, None], key.mT[:, None], value[:, None], scale=1.0)[:, 0]


@pytest.mark.parametrize("sub_sample", ["none", "after", "before"])
def test_attention_in_one_operator_is_the_two_products(sub_sample):
    shape = (1, CHANNELS, 16, 18)
    config = NonLocal.Config(sub_sample=sub_sample)
    counted = reconcile(FusedNonLocal(CHANNELS, config), shape)
    assert_reconciled(counted)
    assert counted.record.macs == counted.fvcore_macs == NonLocal.macs(*shape[1:], config)
    assert counted.ptflops_extras_by_operator == {"convolution": counted.record.bias_adds}


def test_modules_without_calls_are_named():
    assert reconcile(build_block("repmb", 12), (1, 12, 8, 8)).fvcore_uncalled == (
        "convolutions.0.expand",
        "convolutions.1.expand",
        "gate",
    )


def test_a_large_input_is_not_executed():
    # One feature map of 32 channels at this size takes 265 MB.
    counted = reconcile(Network(published("plainusr_s", 2)).deploy(), (1, 3, 1080, 1920))
    assert_reconciled(counted)
    assert counted.record.macs > 1e11


def hook(*_):
    pass


def described(network):
    """Return all that counting could change."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return (
        [(name, id(tensor), tensor.device, tensor.requires_grad, tensor.grad) for name, tensor in tensors.items()],
        [tensor.clone() for tensor in tensors.values()],
        [(name, id(module), module.training) for name, module in network.named_modules()],
        [sorted(vars(module)) for module in network.modules()],
        [
            [list(vars(module)[key].items()) for key in sorted(vars(module)) if key.endswith("hooks")]
            for module in network.modules()
        ],
        list(network.state_dict()),
    )


@pytest.fixture
def network():
    fields = {"positions": [{"trunk": "conv", "attention": "cbam"}, {"trunk": "repmb", "attention": "lia"}]}
    built = Network(Architecture.from_dict({"scale": 2, "channels": 12, **fields}))
    built(torch.rand(2, 3, 12, 12))
    built.register_forward_hook(hook)
    built.stem.requires_grad_(False)
    return built


@pytest.mark.parametrize("counter", [count, reconcile])
@pytest.mark.parametrize("training", [True, False])
def test_the_original_is_left_as_it_was(network, counter, training):
    network.train(training)
    before = described(network)
    counter(network, (1, 3, 12, 12))
    after = described(network)
    assert after[0] == before[0]
    assert all(map(torch.equal, before[1], after[1]))
    assert after[2:] == before[2:]


@pytest.mark.parametrize("counter", ["count_with", "count_fvcore", "get_model_complexity_info"])
def test_the_original_is_left_as_it_was_when_a_counter_raises(network, counter, monkeypatch):
    real = getattr(__import__("srnas.profiling.counters", fromlist=[counter]), counter)
    calls = []

    def fail(self, *arguments):
        calls.append(self)
        raise ZeroDivisionError("in the middle")

    def begin(*arguments, **options):
        monkeypatch.setattr("srnas.search_space.blocks.lia.LIA.forward", fail)
        return real(*arguments, **options)

    monkeypatch.setattr(f"srnas.profiling.counters.{counter}", begin)
    before = described(network)
    # ptflops swallows what goes wrong.
    with pytest.raises((ZeroDivisionError, RuntimeError), match="in the middle"):
        reconcile(network, (1, 3, 12, 12))
    after = described(network)
    assert len(calls) == 1
    assert after[0] == before[0]
    assert all(map(torch.equal, before[1], after[1]))
    assert after[2:] == before[2:]
    monkeypatch.undo()
    assert_reconciled(reconcile(network, (1, 3, 12, 12)))


def test_ptflops_is_silent(network, capfd, monkeypatch):
    monkeypatch.setattr("srnas.search_space.blocks.lia.LIA.forward", lambda self, x: x)
    reconcile(network, (1, 3, 12, 12))
    assert capfd.readouterr() == ("", "")
