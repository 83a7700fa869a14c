import contextlib
import copy
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from srnas.nas.errors import DivergedError
from srnas.nas.images.imresize import imresize
from srnas.nas.images.pairs import make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import Photo, PhotoSet
from srnas.nas.training.loop import Compute, build_seeded, train
from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import Architecture, Choice, Position

CPU = torch.device("cpu")
COMPUTE = Compute(CPU)
TINY = Architecture(scale=2, channels=6, positions=(Position(trunk=Choice(name="conv")),))


def config(**changes):
    return TrainingConfig(**{"iterations": 20, "patch": 6, "batch": 4, "learning_rate": 1e-2, **changes})


@pytest.fixture(scope="module")
def patches():
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return PatchSampler(make_pairs(PhotoSet("set", (Photo("a", imresize(coarse, 4)),)), 2), 2, 6, CPU)


class Offset(nn.Module):
    """Nearest upscaling plus a learned value, times ``growth`` more at each step; keeps the values of all steps."""

    def __init__(self, value=0.0, growth=1):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(value))
        self.growth = growth
        self.seen = []

    def forward(self, x):
        factor = self.growth ** len(self.seen)
        self.seen.append(self.offset.item())
        return F.interpolate(x, scale_factor=2) + factor * self.offset


def equal_weights(first, second):
    mine, theirs = first.state_dict(), second.state_dict()
    assert mine.keys() == theirs.keys()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_loss_falls(patches):
    losses = []
    train(build_seeded(TINY, 0), patches, config(iterations=60), COMPUTE, on_step=lambda step: losses.append(step.loss))
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]


def test_equal_seeds_give_bit_equal_weights(patches):
    first, second, other_weights, other_patches = (
        train(build_seeded(TINY, weights), patches, config(seed=seed), COMPUTE)[0]
        for weights, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert equal_weights(first, second)
    assert not equal_weights(first, other_weights)
    assert not equal_weights(first, other_patches)


def test_seed_sets_the_initial_weights_and_leaves_the_global_state_alone():
    torch.rand(3)
    before = torch.get_rng_state()
    first = build_seeded(TINY, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert equal_weights(first, build_seeded(TINY, 0))
    assert not equal_weights(first, build_seeded(TINY, 1))


def test_training_leaves_the_global_random_state_alone(patches):
    torch.rand(3)
    before = torch.get_rng_state()
    train(build_seeded(TINY, 0), patches, config(iterations=2), COMPUTE)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("iterations", "rungs", "expected"),
    [
        (300, (1 / 3, 1.0), (100, 300)),
        (10, (0.1, 0.5, 1.0), (1, 5, 10)),
        # Rungs that fall on one step are one, and none comes before the first step.
        (1, (1 / 3, 1.0), (1,)),
        (4, (0.01, 0.02, 1.0), (1, 4)),
        (10, (1.0, 0.5), (5, 10)),
    ],
)
def test_rung_iterations(iterations, rungs, expected):
    assert config(iterations=iterations, rungs=rungs).rung_iterations == expected


def test_rungs_and_steps_are_reported(patches):
    rungs, steps = [], []
    average, train_s = train(
        build_seeded(TINY, 0),
        patches,
        config(iterations=24),
        COMPUTE,
        on_step=steps.append,
        on_rung=lambda iteration, network: rungs.append((iteration, network.training, copy.deepcopy(network))),
    )
    # 24 / 3 = 8; every 10 steps, at the rungs and at the end.
    assert [iteration for iteration, *_ in rungs] == [8, 24]
    assert [step.iteration for step in steps] == [8, 10, 20, 24]
    times = [step.train_s for step in steps]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] == train_s
    assert not any(training for _, training, _ in rungs)
    assert equal_weights(rungs[-1][2], average)
    assert not equal_weights(rungs[0][2], average)


def test_reported_loss_is_the_mean_since_the_last_report(patches):
    network, losses = Offset(), []
    train(network, patches, config(iterations=20), COMPUTE, on_step=lambda step: losses.append(step.loss))
    # The loss of every step anew, from the values it started from and the patches of the seed.
    generator, expected = torch.Generator().manual_seed(0), []
    for value in network.seen:
        lr, hr = patches.draw(4, generator)
        expected.append((F.interpolate(lr, scale_factor=2) + value - hr).abs().mean().item())
    # Reports at 20 / 3 = 7, 10 and 20.
    assert losses == pytest.approx([np.mean(expected[:7]), np.mean(expected[7:10]), np.mean(expected[10:])], rel=1e-5)


def test_learning_rate_rises_linearly_and_falls_like_a_cosine():
    rate = config(iterations=200, warmup=0.05).rate
    # 5 % of 200 are 10 steps of warm-up, the last of which has the peak.
    assert [rate(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rate(10) == 1
    # Half way through the 190 steps that are left, and at the last: cos^2(pi/2 * 189/190) = sin^2(pi/380).
    assert rate(10 + 95) == pytest.approx(0.5)
    assert rate(199) == pytest.approx(math.sin(math.pi / 380) ** 2)
    assert rate(199) < 1e-4
    falling = [rate(step) for step in range(10, 200)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_learning_rate_of_the_shortest_schedules_is_a_share(iterations):
    # Also one step beyond the end, which the scheduler asks for.
    rates = [config(iterations=iterations).rate(step) for step in range(iterations + 1)]
    assert rates[0] == 1
    assert all(0 <= rate <= 1 for rate in rates)


def test_the_rate_rises_again_after_every_length():
    whole = config(iterations=10).longer(4).longer(9)
    assert whole.lengths == (10, 40, 90)
    assert whole.rung_iterations == (3, 10, 40, 90)
    # To its first length it is the schedule of that length, digit for digit.
    assert [whole.rate(step) for step in range(10)] == [config(iterations=10).rate(step) for step in range(10)]
    # The peaks fall with the root of the length: of 30 and 50 further steps 5 % are 2 steps of warm-up each.
    assert [max(map(whole.rate, range(*part))) for part in ((0, 10), (10, 40), (40, 90))] == pytest.approx(
        [1, 1 / 2, 1 / 3]
    )
    assert [whole.rate(step) for step in (10, 11, 40, 41)] == pytest.approx([1 / 4, 1 / 2, 1 / 6, 1 / 3])
    # The last step before each further rise: sin^2(pi / 2n) of the peak for n steps of the fall.
    ends = [math.sin(math.pi / (2 * steps)) ** 2 for steps in (9, 28, 48)]
    assert [whole.rate(step) for step in (9, 39, 89)] == pytest.approx([ends[0], ends[1] / 2, ends[2] / 3])
    assert whole.below == config(iterations=10).longer(4)
    assert config(iterations=10).below is None


def test_a_longer_training_goes_on_digit_for_digit(patches, tmp_path):
    short, file = config(iterations=6), tmp_path / "training"
    train(build_seeded(TINY, 0), patches, short, COMPUTE, saved=file)
    steps = []
    went_on, _ = train(build_seeded(TINY, 0), patches, short.longer(3), COMPUTE, saved=file, on_step=steps.append)
    anew, _ = train(build_seeded(TINY, 0), patches, short.longer(3), COMPUTE)
    assert equal_weights(went_on, anew)
    assert [step.iteration for step in steps] == [10, 18]


@pytest.mark.parametrize(("annealed", "iterations"), [((5,), 5), ((5, 3), 9), ((0,), 4)])
def test_lengths_must_increase(annealed, iterations):
    with pytest.raises(ValidationError, match=r"lengths must be positive and increase, but got annealed="):
        config(annealed=annealed, iterations=iterations)


@pytest.mark.parametrize("growth", [1, 10])
def test_steps_have_the_size_of_the_schedule(patches, growth):
    network = Offset(-5.0, growth)
    schedule = config(iterations=12, learning_rate=0.02, warmup=0.25, weight_decay=0.5, clip_norm=1.0)
    train(network, patches, schedule, COMPUTE)
    # Every pixel is too dark at every step, so the gradient is -growth^step, clipped to -1. Adam steps by the rate
    # on a constant gradient (Kingma and Ba 2015, Sec. 2.1), after AdamW has shrunk by rate times decay.
    values = [-5.0]
    for step in range(12):
        rate = 0.02 * schedule.rate(step)
        values.append(values[-1] * (1 - rate * 0.5) + rate)
    assert [*network.seen, network.offset.item()] == pytest.approx(values, abs=1e-5)


def test_average_is_exponential_and_in_eval_mode(patches):
    network = Offset(-1.0)
    average, _ = train(network, patches, config(iterations=5, ema_share=0.5), COMPUTE)
    # It starts as the weights after the first step and decays by exp(-1 / (0.5 * 5)) a step.
    decay = math.exp(-1 / 2.5)
    first, *later = [*network.seen[1:], network.offset.item()]
    expected = first
    for value in later:
        expected = decay * expected + (1 - decay) * value
    assert average.offset.item() == pytest.approx(expected, abs=1e-6)
    assert average is not network
    assert not average.training
    assert not any(module.training for module in average.modules())
    assert network.training


def test_training_in_float32_is_of_float32(patches):
    seen = []

    class Watching(Offset):
        def forward(self, x):
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
            return super().forward(x)

    train(Watching(), patches, config(iterations=1), COMPUTE)
    assert seen == [(False, False)]


def test_network_with_nan_has_diverged(patches):
    reached = []
    with pytest.raises(DivergedError, match="the loss is nan after 7 iterations"):
        train(Offset(math.nan), patches, config(), COMPUTE, on_rung=lambda iteration, _: reached.append(iteration))
    assert reached == []


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_without_bfloat16_trains_in_float32(monkeypatch, supported, expected):
    present = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: present.append(device) or contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: supported)
    assert Compute(torch.device("cuda", 1)).autocast == expected
    # Torch asks the present one.
    assert present == [torch.device("cuda", 1)]
    assert Compute(torch.device("cuda", 0), torch.float16).autocast == torch.float16
    assert COMPUTE.autocast == torch.float32


@pytest.mark.parametrize("bad", [{"iterations": 0}, {"patch": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}, {"typo": 1}])
def test_impossible_schedules_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        config(**bad)


def test_long_steps_are_reported_one_by_one(patches, monkeypatch):
    """Who is told gives way to measurements."""
    monkeypatch.setattr("srnas.nas.training.loop._REPORT_EVERY_S", 0.0)
    steps = []
    train(build_seeded(TINY, 0), patches, config(iterations=3), COMPUTE, on_step=steps.append)
    assert [step.iteration for step in steps] == [1, 2, 3]
