"""Attention that is switched off: a known gain has exactly the ablation that follows from it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from srnas.nas.explain import Finetuning, Scopes, Timing, ablate, ablation, attention_places, replaced, watched
from srnas.nas.explain.ways import MeanResponse
from srnas.nas.images.metrics import psnr_y_db
from srnas.nas.images.pairs import Pair, to_image, to_tensor
from srnas.nas.images.patches import PatchSampler
from srnas.nas.training.schedule import TrainingConfig
from srnas.profiling import CPU_PROTOCOL, DeviceBusyError, Target
from srnas.search_space import Architecture, Choice, InputError, Network, Position

CPU = torch.device("cpu")
GAIN = 0.5
PA = Position(attention=Choice(name="pa"), trunk=Choice(name="conv"), residual=False)


def pairs(number=3):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (28, 26, 3), dtype=np.uint8) for _ in range(number)]
    return [Pair(f"{i}", image[::2, ::2].copy(), image, False) for i, image in enumerate(images)]


@torch.no_grad()
def known(gains=(1.0, 1.0, GAIN)):
    """Return a chain whose trunks pass their input on, and whose attention multiplies it by known gains."""
    network = Network(Architecture(scale=2, channels=3, positions=(PA,) * len(gains), global_skip="none")).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    for place, gain in zip(attention_places(network), gains, strict=True):
        trunk, attention = network.body[place.position].blocks
        nn.init.dirac_(trunk.first.weight)
        nn.init.dirac_(trunk.second.weight)
        attention.conv.bias.fill_(math.log(gain / (1 - gain)) if gain < 1 else 30.0)
    nn.init.dirac_(network.stem.weight)
    network.tail.last.weight[torch.arange(12), torch.arange(12) // 4, 1, 1] = 1.0
    return network.deploy()


def psnr_of_gain(pair, gain):
    """Return the PSNR of the photograph's nearest enlargement times a gain."""
    enlarged = to_tensor(pair.lr.repeat(2, 0).repeat(2, 1)) * gain
    return psnr_y_db(to_image(enlarged), pair.hr, 2)


def test_a_known_gain_has_exactly_that_ablation():
    given = pairs()
    report = ablate(known(), given, CPU, scopes=Scopes(("identity", "mean"), cumulative=False))
    expected = [psnr_of_gain(pair, 1.0) - psnr_of_gain(pair, GAIN) for pair in given]
    by = {(str(one.places[0]), one.way): one.change for one in report.ablations}
    assert by["p02.pa", "identity"].mean_db == pytest.approx(np.mean(expected), abs=1e-9)
    assert by["p02.pa", "identity"].se_db == pytest.approx(np.std(expected, ddof=1) / math.sqrt(3), abs=1e-9)
    # The mean response of a constant gain is that gain.
    assert all(change.mean_db == 0 for place, change in by.items() if place != ("p02.pa", "identity"))


def test_what_is_off_cumulatively_and_in_pairs():
    found = [(scope, [p.position for p in off]) for scope, off in Scopes(pairs=True).of(attention_places(known()))]
    assert found == [
        ("alone", [0]), ("alone", [1]), ("alone", [2]),
        ("first", [0, 1]), ("first", [0, 1, 2]), ("last", [1, 2]),
        ("pair", [0, 1]), ("pair", [0, 2]), ("pair", [1, 2]),
    ]  # fmt: skip


def test_savings_are_measured_beside_the_whole():
    brief = replace(CPU_PROTOCOL, warmup_min_s=0.0, warmup_cap_s=0.01, burst_ms=0.0, max_rounds=3, min_rounds=3)
    timing = Timing((1, 3, 16, 16), Target(CPU), brief)
    report = ablate(known((GAIN,)), pairs(1), CPU, scopes=Scopes(("identity",)), timing=timing)
    (one,) = report.ablations
    assert one.saving.low_ms <= one.saving.ms <= one.saving.high_ms
    assert len(report.latency.rounds_ms) >= 3


def test_a_short_training_is_the_whole_networks_too():
    network, given = known((0.9, GAIN)), pairs()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = TrainingConfig(iterations=2, patch=8, batch=2, learning_rate=1e-3)
    tuning = Finetuning(PatchSampler(given, 2, 8, CPU), config)
    report = ablate(network, given, CPU, scopes=Scopes(("mean",)), finetuning=tuning)
    assert report.tuned_psnr_y_db != report.psnr_y_db
    assert [one.tuned is not None for one in report.ablations] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.deployed


def test_the_mean_response_is_the_nearest_constant():
    x = torch.randn(2, 3, 5, 4)
    weigh = MeanResponse(3, adds=False)
    weigh.add(x[:1], 3 * x[:1])
    weigh.add(x[1:], 3 * x[1:])
    torch.testing.assert_close(weigh(x), 3 * x)
    added = MeanResponse(3, adds=True)
    added.add(x, x + torch.tensor([1.0, 2.0, 3.0])[:, None, None])
    torch.testing.assert_close(added(x), x + torch.tensor([1.0, 2.0, 3.0])[:, None, None])


def test_the_network_is_left_as_it_was_after_an_exception():
    network = known()
    before = [module for _, module in network.named_modules()]
    place = attention_places(network)[0]

    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("here")

    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(RuntimeError, match="here"), replaced(network, {place: [Failing()]}):
        network(x)
    with pytest.raises(ZeroDivisionError), watched(network, lambda *_: 1 / 0):
        network(x)
    assert [module for _, module in network.named_modules()] == before
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_attention_is_refused():
    plain = Network(Architecture(scale=2, channels=3, positions=(Position(trunk=Choice(name="conv")),)))
    with pytest.raises(InputError, match="must have an attention block"):
        attention_places(plain)


def test_a_way_that_no_attention_has_is_refused():
    with pytest.raises(InputError, match="must have a plain branch .* --ways identity,mean"):
        ablate(known(), pairs(1), CPU, scopes=Scopes(("branch",)))


def tuning(given, learning_rate):
    config = TrainingConfig(iterations=2, patch=8, batch=2, learning_rate=learning_rate)
    return Finetuning(PatchSampler(given, 2, 8, CPU), config)


def test_a_training_that_diverges_costs_only_its_own_number():
    given = pairs()
    report = ablate(known(), given, CPU, scopes=Scopes(("identity",)), finetuning=tuning(given, 1e30))
    assert all(one.change is not None and one.tuned is None for one in report.ablations)
    assert math.isnan(report.tuned_psnr_y_db)


def test_what_diverges_without_its_attention_is_not_trained():
    network, given, totals = known((1.0, 0.5)), pairs(), set()
    first, second = (position.blocks for position in network.body)
    # Only the attention of the first position keeps this from overflowing.
    with torch.no_grad():
        first[0].second.weight *= 1e38
        first[1].conv.bias.fill_(-87.0)
        second[0].second.weight *= 100
    report = ablate(
        network, given, CPU, scopes=Scopes(("identity",), cumulative=False), finetuning=tuning(given, 1e-3),
        on_progress=lambda stage, _done, total: totals.add((stage, total)),
    )  # fmt: skip
    assert [one.change is None for one in report.ablations] == [True, False]
    assert report.ablations[0].tuned is None
    assert ("training", 2) in totals


def test_a_busy_device_costs_no_training(monkeypatch):
    """What is timed comes before what takes hours."""
    given, stages = pairs(1), []

    def busy(*_, **__):
        raise DeviceBusyError

    monkeypatch.setattr(ablation, "measure_latency", busy)
    config = TrainingConfig(iterations=2, patch=8, batch=2, learning_rate=1e-3)
    tuning = Finetuning(PatchSampler(given, 2, 8, CPU), config)
    with pytest.raises(DeviceBusyError):
        ablate(
            known((GAIN,)),
            given,
            CPU,
            scopes=Scopes(("identity",)),
            timing=Timing((1, 3, 16, 16), Target(CPU), CPU_PROTOCOL),
            finetuning=tuning,
            on_progress=lambda stage, *_: stages.append(stage),
        )
    assert stages == ["ablating"]
