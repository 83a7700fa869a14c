import json

import pytest
from pydantic import ValidationError

from srnas.nas.study.options import Budgets
from srnas.nas.study.settings import StudySettings, digest
from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import InputError, SearchSpace, space_names


def study(*, training=(), **changes):
    schedule = {"iterations": 400, "patch": 24, "batch": 8, "learning_rate": 4e-3, **dict(training)}
    values = {
        "name": "tiny-x2",
        "space": "tiny",
        "space_digest": "01234567",
        "scale": 2,
        "train": "embedded-train@000000000000",
        "validation": "embedded-held-out@000000000000",
        "sampler": "random",
        "seed": 0,
        "device": "cpu",
        "threads": 2,
        "latency_input": (128, 128),
        "budgets": Budgets(),
        "training": TrainingConfig(**schedule),
    }
    return StudySettings(**{**values, **changes})


ALL = {"fastest_ms": 2.0, "params_k": 30.0, "macs_g": 0.5}


@pytest.mark.parametrize(
    ("limits", "values", "expected"),
    [
        ({}, ALL, ""),
        ({"max_latency_ms": 3, "max_params_k": 40, "max_macs_g": 1}, ALL, ""),
        # A limit may be reached.
        ({"max_latency_ms": 2, "max_params_k": 30, "max_macs_g": 0.5}, ALL, ""),
        ({"max_params_k": 20}, ALL, "params_k=30 > 20"),
        ({"max_params_k": 20}, {"params_k": 30.1239}, "params_k=30.12 > 20"),
        ({"max_latency_ms": 1, "max_params_k": 40, "max_macs_g": 0.25}, ALL, "fastest_ms=2 > 1, macs_g=0.5 > 0.25"),
        # What is not known yet exceeds nothing.
        ({"max_latency_ms": 1, "max_params_k": 40}, {"params_k": 30.0}, ""),
        ({"max_latency_ms": 1, "max_params_k": 20}, {"params_k": 30.0}, "params_k=30 > 20"),
    ],
)
def test_exceeded_budgets_are_named(limits, values, expected):
    assert Budgets(**limits).exceeded(**values) == expected


@pytest.mark.parametrize("bad", [{"max_latency_ms": 0}, {"max_params_k": -1}, {"max_flops": 1}])
def test_impossible_budgets_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        Budgets(**bad)


@pytest.mark.parametrize("name", ["a", "7", "tiny-x2", "My_study.v2", "a" * 100])
def test_names_that_are_allowed(name):
    assert study(name=name).name == name


@pytest.mark.parametrize("name", ["", ".hidden", "-option", "_a", "a/b", "../a", "a b", "ä", "a\n", "a" * 101])
def test_names_that_are_refused(name):
    with pytest.raises(ValidationError, match="a study's name must be letters, digits") as caught:
        study(name=name)
    assert isinstance(caught.value.errors()[0]["ctx"]["error"], InputError)


def test_settings_survive_json():
    settings = study(budgets=Budgets(max_latency_ms=3.5))
    assert StudySettings.model_validate_json(settings.model_dump_json()) == settings


def test_flat_settings_have_dotted_names_and_are_plain():
    flat = study(budgets=Budgets(max_latency_ms=3.5)).flat()
    assert flat["name"] == "tiny-x2"
    assert flat["budgets.max_latency_ms"] == 3.5
    assert flat["budgets.max_params_k"] is None
    assert flat["training.iterations"] == 400
    assert json.loads(json.dumps(flat)) == flat
    assert not any(isinstance(value, dict) for value in flat.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 1},
        {"training": {"seed": 1}},
        {"training": {"iterations": 401}},
        {"training": {"patch": 25}},
        {"training": {"batch": 9}},
        {"training": {"learning_rate": 3e-3}},
        {"training": {"warmup": 0.1}},
        {"training": {"weight_decay": 0.0}},
        {"training": {"clip_norm": 2.0}},
        {"training": {"ema_share": 0.1}},
        {"training": {"rungs": (0.5, 1.0)}},
        {"training": {"depth_rule": 2}},
        {"scale": 3},
        {"train": "embedded-train@000000000001"},
        {"validation": "embedded-held-out@000000000001"},
        {"device": "cuda:0"},
    ],
)
def test_protocol_changes_with_what_the_quality_depends_on(changes):
    assert study(**changes).protocol != study().protocol


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"space": "mobile"},
        {"space_digest": "76543210"},
        {"sampler": "tpe"},
        {"seed": 1},
        {"latency_input": (64, 64)},
        {"budgets": Budgets(max_params_k=10)},
    ],
)
def test_protocol_does_not_change_with_the_rest(changes):
    assert study(**changes).protocol == study().protocol


def test_protocol_is_the_same_on_every_gpu():
    assert study(device="cuda:0").protocol == study(device="cuda:1").protocol


def test_same_settings_may_go_on():
    study().check_same(study())


def test_other_settings_are_listed_with_both_values():
    mine = study(sampler="tpe", training={"seed": 1}, budgets=Budgets(max_params_k=10))
    with pytest.raises(InputError, match="study 'tiny-x2' exists with other settings") as caught:
        mine.check_same(study())
    # From the stored value to the one that is asked for, and nothing that is equal.
    expected = "(sampler: random -> tpe; budgets.max_params_k: None -> 10.0; training.seed: 0 -> 1)"
    assert expected in str(caught.value)


@pytest.mark.parametrize(("mine", "stored"), [({}, {"mine": "0a"}), ({"mine": "0a"}, {})])
def test_blocks_that_one_of_two_has_differ(mine, stored):
    with pytest.raises(InputError, match=r"\(blocks.mine: "):
        study(blocks=mine).check_same(study(blocks=stored))


def test_digest_of_a_space_depends_on_its_choices():
    spaces = [SearchSpace.load(name, 2) for name in space_names()]
    digests = [digest(space) for space in spaces]
    assert len(set(digests)) == len(digests) >= 2
    assert digests == [digest(SearchSpace.load(name, 2)) for name in space_names()]
