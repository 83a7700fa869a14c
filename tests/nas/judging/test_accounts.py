"""What predictors are worth, on trials of which it is known."""

import random

import pytest

from srnas.nas.judging.accounts import MIN_TRIALS, account, account_latency


def trials(number, seed=0):
    rng = random.Random(seed)
    latency = {i: 2.0 ** rng.uniform(0, 4) for i in range(number)}
    merit = {i: rng.gauss(0, 0.2) for i in range(number)}
    psnr = {i: 28 + 0.5 * latency[i] ** 0.5 + merit[i] for i in range(number)}
    return latency, merit, psnr


def test_a_predictor_of_merit_has_signal_and_one_of_latency_has_not():
    latency, merit, psnr = trials(40)
    rng = random.Random(1)
    predictions = {"merit": merit, "latency": latency, "chance": {i: rng.random() for i in range(40)}}
    found = {one.name: one for one in account(predictions, psnr, latency)}
    assert found["merit"].tau > 0.6
    assert found["merit"].has_signal
    assert abs(found["latency"].tau) < 0.35
    assert found["latency"].tau < found["merit"].tau
    assert found["chance"].has_signal is False
    for one in found.values():
        assert one.low <= one.tau <= one.high
        assert one.num_trials == 40


def test_a_reversed_predictor_has_the_reversed_tau():
    latency, merit, psnr = trials(30)
    [plain] = account({"x": merit}, psnr, latency)
    [turned] = account({"x": {i: -value for i, value in merit.items()}}, psnr, latency)
    assert turned.tau == pytest.approx(-plain.tau)
    assert turned.has_signal is False


def test_few_trials_are_not_judged():
    latency, merit, psnr = trials(MIN_TRIALS - 1)
    [one] = account({"x": merit}, psnr, latency)
    assert one.has_signal is None
    assert "too few trials to judge" in str(one)
    assert account({"x": {0: 1.0}}, psnr, latency) == []


def test_a_predictor_of_latency_is_held_against_latency():
    latency, _, _ = trials(20)
    [one] = account_latency({"table": {i: 1.1 * value for i, value in latency.items()}}, latency)
    assert one.tau == 1
    assert str(one).startswith("predictor table: Kendall tau with latency +1.00")
