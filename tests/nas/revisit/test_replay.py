"""Search strategies on recorded results: by hand-made recordings, and of a study through the command."""

import json
import math
import random
from dataclasses import replace

import pytest
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from srnas.leaderboard.rank.front import hypervolume
from srnas.leaderboard.record.trials import Rung
from srnas.nas.revisit.recording import Recorded, RecordedDomain, Recording, load_recording
from srnas.nas.revisit.replay import SHARES, ReplayedSearch, replay, sampler_factory
from srnas.nas.run.plan import latency_input
from srnas.nas.strategy.rungs import Halving
from srnas.nas.study.options import Budgets
from srnas.nas.study.space_domain import PartCounter, SpaceDomain
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError, SearchSpace, human_designs

ITERATIONS = (4, 12)


@pytest.fixture
def space(space_file):
    return SearchSpace.load(str(space_file), 2)


@pytest.fixture
def recording(space):
    """Return twenty networks of which depth makes slower and better, and chance better."""
    rng = random.Random(0)
    designs = {design.key: name for name, design in human_designs(space).items()}
    found = {design.key: design for design in human_designs(space).values()}
    while len(found) < 20:
        architecture = space.sample(rng)
        found[architecture.key] = architecture
    trials = []
    for key, architecture in found.items():
        size = 1 + len(architecture.positions) + architecture.channels / 12
        psnr = 30 + math.log(size) + rng.random()
        rungs = (Rung(iteration=4, psnr_y_db=psnr - 1), Rung(iteration=12, psnr_y_db=psnr))
        params = space.params(architecture)
        trials.append(Recorded(architecture, params, designs.get(key, ""), size, psnr, rungs, train_s=6.0))
    return Recording("study 'hand-made'", (30.0, 5.0), space, trials, num_records=23)


def run(recording, sampler="random", rule=None, seed=0, unit="iterations"):
    return ReplayedSearch(recording, sampler_factory(sampler, recording), rule, seed, unit).run()


@pytest.mark.parametrize("sampler", ["front", "random", "tpe", "nsga2"])
def test_without_stopping_all_is_found_at_the_whole_cost(recording, sampler):
    found = run(recording, sampler)
    points = [(trial.psnr_db, trial.fastest_ms) for trial in recording.trials]
    assert len(found.costs) == 20
    assert found.stopped == 0
    assert found.costs[-1] == recording.total_cost("iterations") == 20 * 12
    assert found.hypervolumes[-1] == hypervolume(points, (30.0, 5.0))
    assert list(found.hypervolumes) == sorted(found.hypervolumes)
    assert found == run(recording, sampler)
    assert found.hypervolumes != run(recording, sampler, seed=1).hypervolumes


def test_the_sampler_learns_of_what_was_recorded(recording):
    replayed = ReplayedSearch(recording, sampler_factory("tpe", recording), None, 0, "iterations")
    replayed.run()
    told = [trial for trial in replayed._study.trials if trial.values]
    assert len(told) == 20
    for trial in told:
        [twin] = [one for one in recording.trials if one.params == trial.params]
        assert trial.values == [twin.psnr_db, twin.fastest_ms]
    # The human designs come first, as in a search.
    assert all(recording.trials[i].params == told[i].params for i in range(len(human_designs(recording.space))))


def test_evolution_breeds_from_what_was_recorded(recording):
    search = ReplayedSearch(recording, lambda seed: NSGAIISampler(seed=seed, population_size=4), None, 0, "iterations")
    search.run()
    drawn = [trial for trial in search._study.trials if trial.values and trial.system_attrs.get("fixed_params") is None]
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in drawn]
    assert generations == sorted(generations)
    assert {0, 1, 2} <= set(generations)


def test_the_sampler_guesses_at_the_end_of_what_the_rule_stops(recording):
    rule = Halving(eta=4, neighbours=20, least=2, spared_share=0, margin_db=0)
    search = ReplayedSearch(recording, sampler_factory("front", recording), rule, 0, "iterations")
    search.run()
    stopped = [trial for trial in search._study.trials if trial.state == TrialState.PRUNED]
    assert stopped
    designs = [one.params for one in recording.trials if one.design]
    assert all(trial.params not in designs for trial in stopped)
    for trial in stopped:
        [twin] = [one for one in recording.trials if one.params == trial.params]
        assert search._study.sampler._partial(trial) == twin.rungs[0].psnr_y_db


def test_halving_costs_less_and_is_counted(recording):
    rule = Halving(eta=4, neighbours=20, least=2, spared_share=0, margin_db=0)
    found = run(recording, rule=rule)
    assert found.stopped > 0
    assert found.costs[-1] == 12 * (20 - found.stopped) + 4 * found.stopped
    # PSNR at the rung ranks as at the end here: what is stopped is dominated, and nothing is lost.
    assert found.hypervolumes[-1] == run(recording).hypervolumes[-1]
    spared = run(recording, rule=rule.model_copy(update={"spared_share": 1.0}))
    assert spared.stopped == 0


def test_what_is_spared_is_compared_at_every_rung(recording, space):
    trials = [replace(one, rungs=(*one.rungs, Rung(iteration=36, psnr_y_db=one.psnr_db))) for one in recording.trials]
    longer = Recording("study 'of three rungs'", (30.0, 5.0), space, trials, num_records=20)
    rule = Halving(eta=4, neighbours=20, least=2, spared_share=1.0, margin_db=0)
    search = ReplayedSearch(longer, sampler_factory("random", longer), rule, 0, "iterations")
    assert search.run().stopped == 0
    assert {iteration: len(reached) for iteration, reached in search._reached.items()} == {4: 20, 12: 20}


def test_costs_in_seconds(recording):
    rung = recording.trials[0].rungs[0]
    assert recording.trials[0].cost(rung, "seconds") == pytest.approx(6.0 * 4 / 12)
    assert run(recording, unit="seconds").costs[-1] == pytest.approx(120.0)


def test_a_curve_counts_what_has_ended(recording):
    found = run(recording)
    assert found.at(0) == found.at(11.9) == 0
    assert found.at(12) == found.hypervolumes[0]
    assert found.at(1e9) == found.hypervolumes[-1]


def test_the_nearest_differs_in_the_fewest_genes(recording):
    rng = random.Random(0)
    everything = range(len(recording.trials))
    for i in everything:
        assert recording.nearest(recording.matrix[i], everything, rng) == i
    code = recording.matrix[3].copy()
    code[0] = -1
    others = set(everything) - {3}
    nearest = recording.nearest(code, others, rng)
    assert recording.distances(code)[nearest] == min(recording.distances(code)[i] for i in others)


def test_the_domain_of_a_recording(recording):
    domain = RecordedDomain(recording)
    rng = random.Random(0)
    for candidate in range(20):
        assert domain.decode(domain.encode(candidate)) == candidate
        assert domain.key(candidate) == recording.trials[candidate].architecture.key
        assert domain.mutate(candidate, rng) != candidate
        assert domain.cross_over(candidate, (candidate + 1) % 20, rng) not in (candidate, (candidate + 1) % 20)
        latency = recording.trials[candidate].fastest_ms
        if latency > min(trial.fastest_ms for trial in recording.trials):
            assert recording.trials[domain.reduce(candidate, rng)].fastest_ms < latency
    assert domain.decode({}) is None
    rows = [domain.features(candidate) for candidate in range(20)]
    assert len({tuple(map(len, row)) for row in rows}) == 1
    assert len({str(row) for row in rows}) == 20
    assert domain.cheap([0, 1]) == [trial.fastest_ms for trial in recording.trials[:2]]
    assert domain.sample(rng) in range(20)


def test_what_is_replayed_is_modelled_as_a_search_models_it(recording):
    own = SpaceDomain(recording.space, Budgets(), PartCounter(latency_input(recording.space, None)), {})
    domain = RecordedDomain(recording)
    for i, trial in enumerate(recording.trials):
        assert domain.features(i) == own.features(trial.architecture)


def test_neighbours_of_a_recording_are_the_nearest_and_what_is_as_near(recording):
    domain, rng = RecordedDomain(recording), random.Random(0)
    for candidate, trial in enumerate(recording.trials):
        distances = recording.distances(recording.matrix[candidate])
        others = sorted(set(range(len(recording.trials))) - {candidate}, key=lambda i: distances[i])
        drawn = {domain.mutate(candidate, rng) for _ in range(200)}
        assert drawn == {i for i in others if distances[i] <= distances[others[5]]}
        faster = [i for i in others if recording.trials[i].fastest_ms < trial.fastest_ms]
        if faster:
            limit = distances[faster[:6][-1]]
            assert {domain.reduce(candidate, rng) for _ in range(200)} == {i for i in faster if distances[i] <= limit}


def test_strategies_over_seeds(recording):
    done = []
    found = replay(recording, ["random", "nsga2"], ["halving", "none"], seeds=2, on_run=lambda: done.append(1))
    assert [one.name for one in found] == ["random + halving", "random", "nsga2 + halving", "nsga2"]
    assert len(done) == 8
    plain = found[1]
    assert len(plain.mean) == len(plain.error) == len(SHARES)
    assert plain.error[-1] == pytest.approx(0)
    assert plain.num_trials == 20
    assert replay(recording, ["random"], ["none"], seeds=1)[0].error[50] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samplers": ["bayes"]}, "sampler"),
        ({"rungs": ["hyperband"]}, "rule of rungs"),
        ({"seeds": 0}, "seeds >= 1 must hold, but got seeds=0."),
        ({"unit": "euros"}, "cost"),
    ],
)
def test_what_cannot_be_replayed(recording, options, message):
    with pytest.raises(InputError, match=message):
        replay(recording, **{"samplers": ["random"], "rungs": ["none"], **options})


def test_a_study_is_replayed(run, workspace, space_file, search_request, tmp_path, launched):
    launched(search_request.changed(trials=5, iterations=3))
    given = ("replay", "small-x2", "--workspace", workspace, "--seeds", 2, "--sampler", "random,tpe")
    code, _, err = run(*given)
    assert code == 2
    assert "the space of study 'small-x2' must be found, but only the name 'small' of its file is" in err
    code, out, _ = run(*given, "--space", space_file, "--figures", tmp_path)
    assert code == 0
    assert "5 of 5" in out
    assert "tpe + halving" in out
    assert (tmp_path / "small-x2-replay.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(run(*given, "--space", space_file, "--json", "--cost", "seconds")[1])
    assert len(rows) == 4 * 4
    assert {"sampler", "rungs", "cost_share", "cost_seconds", "hypervolume", "hypervolume_se"} <= rows[0].keys()
    assert "--sampler must be names" in run(*given, "--space", space_file, "--sampler", ",")[2]
    space_file.write_text(space_file.read_text().replace("[6, 12]", "[6]"))
    assert "must be as it was when study 'small-x2' was begun" in run(*given, "--space", space_file)[2]


def test_a_study_of_one_network(workspace, space_file, search_request, launched):
    launched(search_request.changed(trials=1, iterations=1))
    with pytest.raises(
        InputError, match="two or more complete trials with all rungs up to 1 iterations .* but holds 1"
    ):
        load_recording(Workspace(workspace), "small-x2", str(space_file))
