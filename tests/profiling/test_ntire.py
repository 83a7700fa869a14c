"""The rule of the NTIRE challenge against values worked out by hand, and its way to take runtime."""

import math
import time

import pytest
import torch
from torch import nn

from srnas.profiling import count
from srnas.profiling.ntire import BASELINES, RULES, Figures, find_rule, ranks, score
from srnas.profiling.official import SequenceTiming, time_cold, time_sequence
from srnas.search_space import Architecture, InputError, Network, published

CPU = torch.device("cpu")


@pytest.mark.parametrize("year", [2024, 2025, 2026])
def test_the_baseline_scores_as_the_organisers_print(year):
    """Source: "Let's take the baseline as an example" in the repositories of the three years."""
    rule = find_rule(year)
    found = score(rule, rule.figures, rule.figures)
    assert [found.runtime, found.flops, found.params, found.final] == pytest.approx([7.3891] * 4, abs=5e-5)


@pytest.mark.parametrize(
    ("year", "final"),
    [
        # Twice the runtime, half of the FLOPs, all of the parameters: w1 exp(4) + w2 exp(1) + w3 exp(2).
        (2024, 0.7 * 54.59815 + 0.15 * 2.718282 + 0.15 * 7.389056),
        (2025, 39.734806),
        (2026, 44.689254),
    ],
)
def test_a_score_by_hand(year, final):
    rule, base = find_rule(year), Figures(5.0, 8.0, 0.2)
    found = score(rule, Figures(10.0, 4.0, 0.2), base)
    assert (found.runtime, found.flops, found.params) == (math.exp(4), math.exp(1), math.exp(2))
    assert found.final == pytest.approx(final, abs=1e-5)


@pytest.mark.parametrize("year", RULES)
def test_the_baselines_have_the_figures_that_the_organisers_publish(year):
    counts = count(Network(published(BASELINES[year], 4)).deploy(), (1, 3, 256, 256))
    figures = find_rule(year).figures
    assert round(counts.params / 1e6, 3) == figures.params_m
    # What they count beside convolutions is less than a thousandth.
    assert counts.macs / 1e9 == pytest.approx(figures.flops_g, rel=3e-3)


def test_the_weights_are_one():
    assert all(rule.runtime + rule.flops + rule.params == pytest.approx(1) for rule in RULES.values())


def test_ranks():
    assert ranks([3.0, None, 1.0, 2.0, 2.0, 9.0]) == [4, None, 1, 2, 2, 5]
    assert ranks([None]) == [None]
    assert ranks([]) == []


def test_what_cannot_be_scored():
    with pytest.raises(InputError, match=r"year must be one of 2024, 2025, 2026, but got year=2023\."):
        find_rule(2023)
    with pytest.raises(InputError, match="flops_g > 0 must hold for what is scored, but got flops_g=0"):
        Figures(1.0, 0.0, 1.0)
    with pytest.raises(InputError, match="runtime_ms > 0 must hold for what is scored, but got runtime_ms=nan"):
        Figures(math.nan, 1.0, 1.0)
    with pytest.raises(InputError, match="params_m must be at most 350 times that of the baseline, but got 8.7"):
        score(find_rule(2026), Figures(1.0, 1.0, 8.7), Figures(1.0, 1.0, 0.02))


class Waking(nn.Module):
    """A network whose first call takes 30 ms more, as one does that was not warmed up."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        if not self.seen:
            time.sleep(0.03)
        self.seen.append((tuple(x.shape), torch.is_grad_enabled(), self.training, float(x.mean())))
        return x


def test_the_first_image_is_in_the_mean():
    network = Waking()
    found = time_sequence(network, (1, 3, 4, 6), CPU, images=5)
    assert len(found.images_ms) == 5
    assert found.first_ms == found.images_ms[0] > 30
    assert found.mean_ms == pytest.approx(sum(found.images_ms) / 5)
    assert found.mean_ms > 6


def test_a_fresh_copy_sees_each_image_once(monkeypatch):
    network, copies = Waking(), []

    def copied(module):
        copies.append(Waking())
        assert module is network
        return copies[-1]

    monkeypatch.setattr("srnas.profiling.official.copy.deepcopy", copied)
    for _ in range(2):
        time_sequence(network, (2, 3, 4, 6), CPU, images=3)
    assert network.seen == []
    first, second = (copied.seen for copied in copies)
    # Not in training, no gradients, three different images, and the same ones each time.
    assert [seen[:3] for seen in first] == [((2, 3, 4, 6), False, False)] * 3
    assert len({mean for *_, mean in first}) == 3
    assert first == second


def test_no_image_is_refused():
    with pytest.raises(InputError, match="images >= 1 must hold, but got images=0"):
        time_sequence(Waking(), (1, 3, 4, 6), CPU, images=0)
    with pytest.raises(InputError, match="input_shape must be four positive integers"):
        time_sequence(Waking(), (1, 3, 0, 6), CPU, images=1)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_pools")
def test_a_fresh_process():
    architecture = Architecture.from_dict({"scale": 4, "channels": 8, "positions": [{"trunk": "conv"}] * 2})
    found = time_cold(architecture, (1, 3, 32, 32), CPU, threads=1, images=8)
    assert isinstance(found, SequenceTiming)
    assert len(found.images_ms) == 8
    # oneDNN chooses its kernels in the first call of a process.
    assert found.first_ms > min(found.images_ms)
    with pytest.raises(InputError, match="images >= 1 must hold"):
        time_cold(architecture, (1, 3, 32, 32), CPU, threads=1, images=0)
