"""The search space as the front sampler sees it: counts by parts, latencies, features, and what is dropped."""

import random

import pytest

from srnas.nas.strategy.front_strategy import Aim, FrontStrategy
from srnas.nas.study.options import Budgets
from srnas.nas.study.space_domain import FittedLatency, PartCounter, SpaceDomain
from srnas.profiling import count
from srnas.search_space import Architecture, Network, Position, SearchSpace

SIZE = (24, 32)


@pytest.fixture
def space():
    return SearchSpace.load("tiny", 2)


@pytest.fixture
def counter():
    return PartCounter(SIZE)


@pytest.mark.parametrize("name", ["tiny", "mobile"])
def test_the_sum_of_parts_is_the_count(name, counter):
    space, rng = SearchSpace.load(name, 2), random.Random(0)
    for _ in range(12):
        architecture = space.sample(rng)
        counts, total = count(Network(architecture).deploy(), (1, 3, *SIZE)), counter.total(architecture)
        assert (total.params, total.macs) == (counts.params, counts.macs)
        assert (total.activations, total.bytes_moved) == (counts.activations, counts.bytes_moved)


def test_latency_is_fitted_to_what_was_measured(space, counter):
    rng = random.Random(1)
    networks = list({a.key: a for a in (space.sample(rng) for _ in range(60))}.values())

    def latency(architecture):
        total = counter.total(architecture)
        return 1 + total.macs / 2e7 + total.bytes_moved / 3e6

    fitted = FittedLatency(counter, {a: latency(a) for a in networks[:40]})
    errors = [abs(fitted.predict_ms(a) / latency(a) - 1) for a in networks[40:]]
    assert max(errors) < 0.1
    before = FittedLatency(counter, {})
    assert before.predict_ms(networks[0]) == counter.total(networks[0]).bytes_moved / 1e6


def test_a_known_latency_is_not_predicted(space, counter):
    architecture = space.sample(random.Random(2))
    domain = SpaceDomain(space, Budgets(), counter, {architecture: 12.5})
    assert domain.cheap([architecture]) == [12.5]


def test_what_exceeds_a_budget_is_dropped(space, counter):
    rng = random.Random(3)
    networks = [space.sample(rng) for _ in range(20)]
    sizes = sorted(counter.total(a).params for a in networks)
    limit = sizes[10] / 1e3
    found = SpaceDomain(space, Budgets(max_params_k=limit), counter, {}).cheap(networks)
    for architecture, cost in zip(networks, found, strict=True):
        assert (cost is None) == (counter.total(architecture).params / 1e3 > limit)
    measured = dict.fromkeys(networks, 10.0)
    assert SpaceDomain(space, Budgets(max_latency_ms=9.0), counter, measured).cheap(networks) == [None] * 20


def test_candidates_are_those_of_the_space(space, counter):
    domain, rng = SpaceDomain(space, Budgets(), counter, {}), random.Random(4)
    for _ in range(20):
        architecture = domain.sample(rng)
        assert domain.decode(domain.encode(architecture)) == architecture
        assert domain.key(architecture) == architecture.key
        smaller = domain.reduce(architecture, rng)
        assert space.contains(smaller)
        if len(architecture.positions) > 1:
            assert len(smaller.positions) == len(architecture.positions) - 1
        assert space.contains(domain.mutate(architecture, rng))
        assert space.contains(domain.cross_over(architecture, smaller, rng))
        groups, others = domain.features(architecture), domain.features(smaller)
        assert [len(group) for group in groups] == [len(group) for group in others]
        assert groups != others
    assert domain.decode({"channels": 12}) is None


def test_where_no_random_network_is_feasible_small_ones_are_proposed():
    space, counter = SearchSpace.load("fast", 2), PartCounter(SIZE)
    least = Architecture(scale=2, channels=8, positions=(Position(trunk="conv"),))
    domain = SpaceDomain(space, Budgets(max_macs_g=counter.total(least).macs / 1e9), counter, {})
    assert domain.cheap([space.sample(random.Random(seed)) for seed in range(100)]) == [None] * 100
    proposed = FrontStrategy(domain, Aim()).propose([], [], set(), random.Random(0)).candidate
    assert domain.cheap([proposed]) != [None]
