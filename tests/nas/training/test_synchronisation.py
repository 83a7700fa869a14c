"""How often a step waits for the device: the meta device stands for one, and what crosses over to it is counted."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srnas.nas.images import evaluation
from srnas.nas.images.pairs import Pair
from srnas.nas.images.patches import PatchSampler
from srnas.nas.training import loop
from srnas.nas.training.average import MovingAverage
from srnas.nas.training.loop import Compute, build_seeded, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import Architecture, Position

META = torch.device("meta")


class Crossings(TorchDispatchMode):
    """Counts what waits for a device: copies between it and the CPU that block, and values that are read."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = devices(args, kwargs)
        if func is torch.ops.aten._local_scalar_dense.default and META.type in given:
            self.seen.append("read")
            return 0.5
        result = func(*args, **kwargs)
        if len(given | devices(result)) > 1 and not kwargs.get("non_blocking"):
            self.seen.append(str(func))
        return result


def devices(*values):
    return {leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)}


def pair(side):
    rng = np.random.default_rng(0)
    lr, hr = (rng.integers(0, 256, (scale * side, scale * side, 3), dtype=np.uint8) for scale in (1, 2))
    return Pair("a", lr, hr, gray=False)


@pytest.fixture
def _on_meta(monkeypatch):
    """Let what torch has for no device but real ones run on the meta device."""
    adamw, autocast, clip = torch.optim.AdamW, torch.autocast, nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters, fused, **options: adamw(parameters, **options))
    monkeypatch.setattr(torch, "autocast", lambda _device, *options, **more: autocast("cpu", *options, **more))
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda parameters, norm, foreach: clip(parameters, norm))


@pytest.mark.usefixtures("_on_meta")
@pytest.mark.parametrize("colours", ["rgb", "y"])
def test_a_step_waits_for_nothing_but_the_reading_of_the_loss(colours, monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_EVERY", 2)
    blocks = ("cbam",) if colours == "rgb" else ("pa",)
    positions = tuple(Position(trunk="conv", attention=name) for name in blocks)
    skip = {"global_skip": "none"} if colours == "y" else {}
    network = build_seeded(Architecture(scale=2, channels=12, positions=positions, colours=colours, **skip), 0)
    config = TrainingConfig(iterations=6, patch=8, batch=1, rungs=(1.0,), learning_rate=1e-3)
    with Crossings() as crossings:
        sampler, starts = PatchSampler([pair(12)], 2, 8, META), {}
        begin = lambda step: starts.setdefault(step.iteration, len(crossings.seen))  # noqa: E731
        train(network, sampler, config, Compute(META, torch.bfloat16), on_step=begin)
    # From one report to the next: two steps, of which the last reads the mean of their losses.
    assert crossings.seen[starts[2] : starts[4]] == ["read"]


def test_scores_are_read_once_for_all_photographs():
    network = build_seeded(Architecture(scale=2, channels=12, positions=(Position(trunk="conv"),)), 0).to(META).eval()
    # A meta tensor has no values: the reading of all scores at the end is the first thing that asks for one.
    with Crossings() as crossings, pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        evaluation.evaluate(network, [pair(16)] * 3, 2, META)
    assert crossings.seen == []


def test_the_average_is_torchs_digit_for_digit():
    network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    ours = MovingAverage(network, 0.9)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(4):
        network(torch.rand(2, 2, 5, 5))
        with torch.no_grad():
            network[0].weight.add_(0.1)
        ours.update_parameters(network)
        theirs.update_parameters(network)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    assert not ours.module.training
