"""The front sampler on plain Optuna problems: proposals, both directions, other processes, and its arithmetic."""

import doctest
import itertools
import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from srnas.leaderboard.rank.front import hypervolume
from srnas.nas.strategy import front_sampler
from srnas.nas.strategy.domain import Choices
from srnas.nas.strategy.front_sampler import FrontSampler
from srnas.nas.strategy.improvement import expected_improvement

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPACE = {f"p{i}": CategoricalDistribution(["none", "conv", "lia", "mlka"]) for i in range(5)}
COST = {"none": 0.2, "conv": 1.0, "lia": 1.3, "mlka": 3.0}
MERIT = {"none": 0.0, "conv": 0.4, "lia": 0.7, "mlka": 0.8}


def cost(params):
    return 0.5 + sum(COST[value] for value in params.values())


def merit(params):
    values = list(params.values())
    return sum(MERIT[v] / math.sqrt(values[: i + 1].count(v)) for i, v in enumerate(values))


def sampler(seed=0, cheap=cost, **options):
    return FrontSampler(Choices(SPACE, cheap), seed=seed, **options)


def run(study, trials):
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, [merit(trial.params), cost(trial.params)])
    return study


def share(study):
    points = [(t.values[0], t.values[1]) for t in study.trials if t.state == TrialState.COMPLETE]
    return hypervolume(points, (0.0, 20.0))


def keys(study):
    return [tuple(sorted(t.params.items())) for t in study.trials]


def create(**options):
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler(**options))


def test_the_example_runs():
    finder = doctest.DocTestFinder()
    [example] = [t for t in finder.find(FrontSampler, "FrontSampler", module=front_sampler) if t.examples]
    assert doctest.DocTestRunner().run(example).failed == 0


def test_it_never_repeats_itself_and_beats_chance():
    study = run(create(), 60)
    assert len(set(keys(study))) == 60
    chance = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(0))
    assert share(study) > share(run(chance, 60))


def test_equal_seeds_propose_equally():
    first, again, other = (keys(run(create(seed=seed), 25)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.fixture(scope="module")
def usual():
    """Return what is proposed where the merit is maximised and the cost minimised, in this order."""
    return keys(run(create(), 20))


@pytest.mark.parametrize("cheap_index", [0, 1])
@pytest.mark.parametrize("directions", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_any_directions_and_order(cheap_index, directions, usual):
    """Turning an objective around and naming it the other way changes nothing."""
    gain_sign, cost_sign = directions
    names = ["maximize" if gain_sign > 0 else "minimize", "minimize" if cost_sign > 0 else "maximize"]
    order = [0, 1] if cheap_index == 1 else [1, 0]

    def cheap(params):
        return cost(params) if cost_sign > 0 else 100 / cost(params)

    study = optuna.create_study(
        directions=[names[i] for i in order], sampler=sampler(cheap=cheap, cheap_index=cheap_index)
    )
    for _ in range(20):
        trial = study.ask(SPACE)
        values = [gain_sign * merit(trial.params), cheap(trial.params)]
        study.tell(trial, [values[i] for i in order])
    assert keys(study) == usual


def test_another_object_goes_on_without_repeats():
    study = run(create(), 15)
    study.sampler = sampler(seed=9)
    assert len(set(keys(run(study, 15)))) == 30


def test_what_is_running_or_waiting_is_not_proposed():
    study = run(create(), 10)
    enqueued = dict.fromkeys(SPACE, "lia")
    study.enqueue_trial(enqueued)
    running = [study.ask(SPACE) for _ in range(12)]
    assert running[0].params == enqueued
    assert len({tuple(sorted(trial.params.items())) for trial in running}) == 12


def test_a_trial_that_has_asked_for_part_of_its_parameters_counts():
    two = {name: CategoricalDistribution(["none", "conv"]) for name in ("p0", "p1")}
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=FrontSampler(Choices(two, cost), seed=0))
    running = []
    for _ in range(4):
        running.append(study.ask())
        running[-1].suggest_categorical("p0", two["p0"].choices)
    for trial in running:
        trial.suggest_categorical("p1", two["p1"].choices)
    assert len(set(keys(study))) == 4


def test_several_threads():
    study = create()

    def objective(trial):
        params = {name: trial.suggest_categorical(name, d.choices) for name, d in SPACE.items()}
        return merit(params), cost(params)

    study.optimize(objective, 24, n_jobs=2)
    assert len(set(keys(study))) == 24


def test_infeasible_candidates_are_never_proposed():
    study = run(create(cheap=lambda params: cost(params) if params["p0"] == "conv" else None), 30)
    assert {trial.params["p0"] for trial in study.trials} == {"conv"}


def test_where_hardly_anything_is_feasible_the_neighbours_of_what_is_known_are_proposed():
    space = {f"p{i}": CategoricalDistribution(list(COST)) for i in range(12)}

    def cheap(params):
        # At most two of the twelve are not "none": one in 60,000.
        return cost(params) if list(params.values()).count("none") >= 10 else None

    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=FrontSampler(Choices(space, cheap), seed=0)
    )
    study.enqueue_trial(dict.fromkeys(space, "none"))
    for _ in range(12):
        trial = study.ask(space)
        assert cheap(trial.params) is not None
        study.tell(trial, [merit(trial.params), cost(trial.params)])


def test_an_exhausted_space_is_proposed_again():
    two = {"p0": CategoricalDistribution(["none", "conv"])}
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=FrontSampler(Choices(two, cost), seed=0, num_startup=2)
    )
    for _ in range(8):
        trial = study.ask(two)
        study.tell(trial, [merit(trial.params), cost(trial.params)])
    assert set(keys(study)) == {(("p0", "none"),), (("p0", "conv"),)}


def test_stopped_trials_are_modelled_by_what_they_had_reached():
    study = create(partial=lambda trial: merit(trial.params) / 2)
    for number in range(30):
        trial = study.ask(SPACE)
        if number % 3 == 2:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, [merit(trial.params), cost(trial.params)])
    assert len(set(keys(study))) == 30
    sampler = study.sampler
    known = sampler._known(sampler._others(study, None), 1.0)
    values = {sampler._domain.key(one.candidate): one.value for one in known}
    stopped = [trial.params for trial in study.trials if trial.state == TrialState.PRUNED]
    assert len(stopped) == 10
    for params in stopped:
        assert values[sampler._domain.key(sampler._domain.decode(params))] == pytest.approx(merit(params))


def test_predictions_are_kept_before_the_trial_is_run():
    study = run(create(), 12)
    trial = study.ask(SPACE)
    predicted = study.trials[-1].user_attrs["predicted"]
    assert predicted.keys() == {"mean", "std", "cheap", "trusted"}
    assert predicted["cheap"] == cost(trial.params)
    assert predicted["mean"] == pytest.approx(merit(trial.params), abs=1.0)


def test_a_surrogate_without_signal_is_not_followed():
    """Of noise a line over the cheap objective predicts as much."""
    rng = np.random.default_rng(0)
    study = create()
    for _ in range(40):
        trial = study.ask(SPACE)
        study.tell(trial, [float(rng.normal()), cost(trial.params)])
    trusted = [t.user_attrs["predicted"]["trusted"] for t in study.trials if "predicted" in t.user_attrs]
    assert 0.0 in trusted
    switched_off = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler(use_surrogate=False))
    run(switched_off, 12)
    assert {t.user_attrs["predicted"]["trusted"] for t in switched_off.trials if "predicted" in t.user_attrs} == {0.0}


def test_a_training_that_died_does_not_blind_the_model():
    study = run(create(), 24)
    study.enqueue_trial(dict.fromkeys(SPACE, "conv") | {"p0": "mlka"})
    dead = study.ask(SPACE)
    study.tell(dead, [-30.0, cost(dead.params)])
    study.ask(SPACE)
    predicted = study.trials[-1].user_attrs["predicted"]
    assert predicted["trusted"]
    assert predicted["std"] < 0.3  # Of merits between 0 and 2.


def test_the_first_proposals_are_spread():
    study = run(create(num_startup=16), 16)
    everything = [sum(c) for c in itertools.product(COST.values(), repeat=len(SPACE))]
    edges = np.quantile(everything, (0.25, 0.5, 0.75)) + 0.5
    quarters = np.searchsorted(edges, [trial.values[1] for trial in study.trials])
    assert all(3 <= count <= 5 for count in np.bincount(quarters, minlength=4))


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="cheap_index must be 0 or 1, but got 2"):
        sampler(cheap_index=2)
    with pytest.raises(ValueError, match="must be categorical or have a step"):
        Choices({"x": FloatDistribution(0, 1)}, cost)
    study = optuna.create_study(sampler=sampler())
    with pytest.raises(ValueError, match="must have two objectives"):
        study.ask(SPACE)


def test_numbers_with_steps():
    domain = Choices({"n": IntDistribution(1, 7, step=3), "x": FloatDistribution(0, 1, step=0.5)}, lambda p: p["n"])
    assert domain._values == {"n": [1, 4, 7], "x": [0.0, 0.5, 1.0]}
    assert domain.decode({"n": 1}) is None


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(-2, 2)), max_size=8),
    st.floats(-1, 6),
    st.floats(-3, 3),
)
def test_without_doubt_the_improvement_is_that_of_the_hypervolume(points, value, at):
    reference = (0.0, 2.5)
    values, spent = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    found = expected_improvement(np.array([value]), np.array([0.0]), np.array([at]), values, spent, reference)[0]

    def volume(given):
        return hypervolume([(v, math.exp(c)) for v, c in given], (0.0, math.exp(2.5)))

    assert found == pytest.approx(volume([*points, (value, at)]) - volume(points), abs=1e-6)


def test_the_expected_improvement_is_the_mean_over_draws():
    rng = np.random.default_rng(0)
    values, spent, reference = np.array([1.0, 2.0, 2.5]), np.array([0.0, 0.5, 1.5]), (0.0, 2.0)
    mean, deviation, at = np.array([1.8]), np.array([0.6]), np.array([0.3])
    drawn = rng.normal(mean[0], deviation[0], 40_000)
    certain = expected_improvement(drawn, np.zeros(len(drawn)), np.full(len(drawn), at[0]), values, spent, reference)
    found = expected_improvement(mean, deviation, at, values, spent, reference)[0]
    assert found == pytest.approx(certain.mean(), rel=0.02)


def test_the_values_of_the_greatest_length_are_modelled():
    """Four trials were seen at a greater length, where they are worth 10 more; so the others are expected to be."""
    study = create(longer=lambda trial: [trial.values[0] + 10 if trial.values and trial.number < 4 else None])
    run(study, 13)
    predicted = study.trials[-1].user_attrs["predicted"]
    assert predicted["mean"] == pytest.approx(study.trials[-1].values[0] + 10, abs=1.0)
