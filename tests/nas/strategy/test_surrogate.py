"""The surrogate: what it learns, its doubt, and leave-one-out predictions against refitting."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, Matern, WhiteKernel

from srnas.nas.strategy.surrogate import Surrogate, extrapolate


def problem(number, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 2, (number, 12)).astype(float)
    values = 28 + features @ np.linspace(0.1, 0.6, 12) + 0.3 * features[:, 0] * features[:, 1]
    return features, values + rng.normal(0, noise, number)


def test_it_predicts_what_it_has_not_seen():
    features, values = problem(120)
    model = Surrogate([features[:80]], values[:80])
    mean, deviation = model.predict([features[80:]])
    assert np.abs(mean - values[80:]).mean() < 0.1 * values.std()
    assert (np.abs(mean - values[80:]) < 4 * deviation + 0.05).mean() > 0.9


def test_doubt_is_greater_far_from_what_was_seen():
    features, values = problem(40)
    features[:, -1] = 0
    far = features[:5].copy()
    far[:, -1] = 30
    model = Surrogate([features], values)
    assert (model.predict([far])[1] > model.predict([features[:5]])[1]).all()


def test_a_doubtful_value_counts_less():
    features, values = problem(40)
    wrong = values.copy()
    wrong[0] += 3
    doubts = np.zeros(40)
    doubts[0] = 10
    trusting, doubting = Surrogate([features], wrong), Surrogate([features], wrong, doubts)
    at = features[:1]
    assert abs(doubting.predict([at])[0][0] - values[0]) < abs(trusting.predict([at])[0][0] - values[0])


def test_predictions_are_those_of_an_established_library():
    features, values = problem(40, noise=0.05)
    model = Surrogate([features[:30]], values[:30])
    linear, rough, noise = model._weights
    kernel = linear * DotProduct(1e-9) + rough * Matern(model._length, nu=1.5) + WhiteKernel(noise)
    mean, deviation = values[:30].mean(), values[:30].std()
    scaled = (features - features[:30].mean(0)) / np.sqrt(features[:30].var(0).sum())
    standard = (values[:30] - mean) / deviation

    def expected(known, asked):
        process = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=None).fit(scaled[known], standard[known])
        found = process.predict(scaled[asked], return_std=True)
        return found[0] * deviation + mean, found[1] * deviation

    everything = np.arange(30)
    np.testing.assert_allclose(model.predict([features[30:]]), expected(everything, np.arange(30, 40)), atol=1e-6)
    for left in (3, 7):
        [one], _ = expected(everything[everything != left], [left])
        assert model.left_out()[left] == pytest.approx(one, abs=1e-6)
    np.testing.assert_allclose(model.values, values[:30])


def test_groups_have_linear_kernels_of_their_own():
    """Against the formulas with dense matrices."""
    features, values = problem(30, noise=0.05)
    groups = [features[:, :5], 7 * features[:, 5:]]
    model = Surrogate([group[:20] for group in groups], values[:20])
    first, second, rough, noise = model._weights
    a, b = ((x - x[:20].mean(0)) / np.sqrt(x[:20].var(0).sum()) for x in groups)
    kernel = first * a @ a.T + second * b @ b.T + rough * Matern(np.sqrt(2) * model._length, nu=1.5)(np.hstack([a, b]))
    inverse = np.linalg.inv(kernel[:20, :20] + (noise + 1e-8) * np.eye(20))
    mean, deviation = values[:20].mean(), values[:20].std()
    expected = kernel[20:, :20] @ inverse @ (values[:20] - mean) + mean
    variance = np.diag(kernel[20:, 20:] + noise - kernel[20:, :20] @ inverse @ kernel[:20, 20:])
    found = model.predict([group[20:] for group in groups])
    np.testing.assert_allclose(found, (expected, np.sqrt(variance) * deviation), rtol=1e-6)


def test_a_group_that_is_constant_but_for_rounding_says_nothing():
    features, values = problem(10)
    constant = np.log([[3.0]] * 10)
    model = Surrogate([features, constant], values)
    mean, deviation = model.predict([features, np.log([[2.0]] * 10)])
    assert (np.abs(mean - values) < 5).all()
    assert (deviation < 5).all()


def test_a_group_that_says_nothing_counts_for_little():
    features, values = problem(80)
    noise = np.random.default_rng(1).normal(size=(80, 30))
    groups = [features, noise]
    model, shuffled = Surrogate([group[:60] for group in groups], values[:60]), noise[60:][::-1]
    by_both = model.predict([features[60:], noise[60:]])[0]
    assert np.abs(by_both - values[60:]).mean() < 0.3 * values.std()
    assert np.abs(by_both - model.predict([features[60:], shuffled])[0]).mean() < 0.2 * values.std()


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [0.1, 0.1, 0.1], [1.0, 2.0]])
def test_few_or_equal_values(values):
    model = Surrogate([np.eye(len(values))], values)
    mean, deviation = model.predict([np.eye(len(values))])
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


def test_partial_values_are_extrapolated_by_a_line():
    partial = [1.0, 2.0, 3.0, 4.0, 2.5, None]
    final = [3.0, 5.0, 7.0, 9.0, None, None]
    *known, guess, nothing = extrapolate(list(zip(partial, final, strict=True)), own=1)
    assert known == [(value, 0.0) for value in final[:4]]
    assert guess == (pytest.approx(6.0), pytest.approx(0.0, abs=1e-9))
    assert nothing is None
    # Of partial values alone, however many there are, nothing is expected.
    assert extrapolate(list(zip(partial[2:], final[2:], strict=True)), own=1) == [None] * 4


def test_what_was_seen_at_no_greater_length_is_expected_from_the_longest_view():
    views = [(p, 2.0 * p, 3.0 * p) for p in (1.0, 2.0, 3.0, 4.0)] + [(9.0, 4.0, None), (5.0, None, None)]
    *known, by_own, by_partial = extrapolate(views, own=1)
    assert known == [(longest, 0.0) for *_, longest in views[:4]]
    # The line through the own length leads to 1.5 times it, whatever the partial value says.
    assert by_own == (pytest.approx(6.0), pytest.approx(0.0, abs=1e-9))
    assert by_partial == (pytest.approx(15.0), pytest.approx(0.0, abs=1e-9))


def test_a_length_that_too_few_reached_tells_nothing():
    views = [(None, value, None if value > 3 else 7.0) for value in (1.0, 2.0, 3.0, 4.0)]
    assert extrapolate(views, own=1) == [(value, 0.0) for value in (1.0, 2.0, 3.0, 4.0)]
