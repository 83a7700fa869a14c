"""The genotype: canonical form, key, JSON, validation."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from srnas.search_space import REGISTRY, Architecture, Choice, InputError, Position, SearchSpace
from srnas.search_space.architecture import check_scale

MOBILE = SearchSpace.load("mobile", 3)


def architecture(**fields):
    return Architecture.from_dict({"scale": 2, "channels": 24, **fields})


def test_short_form():
    a = architecture(
        positions=[{"trunk": "conv", "attention": "lia"}, {"trunk": "conv"}, {"trunk": "conv", "attention": "mlka"}]
    )
    assert str(a) == "x2-c24[conv+lia|conv|conv+mlka]"


def test_short_form_shows_what_is_not_the_default():
    a = architecture(
        positions=[
            {"trunk": "conv", "attention": {"name": "lia", "features": 4}, "order": "before", "active": 12},
            *[{"attention": "aab"}] * 3,
        ],
        end="conv",
        long_skip=True,
        tail={"name": "nearest_pa", "features": 12},
        global_skip="none",
    )
    assert str(a) == "x2-c24[lia(features=4)+conv@12|3(aab)]-conv-longskip-nearest_pa(features=12)-skip:none"
    b = architecture(
        positions=[{"trunk": "conv", "attention": "pa", "order": "around", "active": 8, "residual": False}],
        end="lkat",
        global_skip="carriers",
        input_range=255,
        mean_shift="div2k",
    )
    assert str(b) == "x2-c24[pa+conv+pa/plain@8]-lkat-skip:carriers-range:255-mean:div2k"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([{"trunk": "conv"}, {}], [{"trunk": "conv"}]),
        ([{"trunk": "none", "attention": "none", "active": 3}], []),
        ([{"trunk": "conv", "order": "before"}], [{"trunk": "conv"}]),
        ([{"attention": "lia", "order": "before"}], [{"attention": "lia"}]),
        ([{"attention": {"name": "lia", "features": 16}}], [{"attention": "lia"}]),
        ([{"trunk": "conv", "active": 24}], [{"trunk": "conv"}]),
        ([{"attention": "lia", "residual": False}], [{"attention": "lia"}]),
        ([{"trunk": "gsau", "attention": "mlka", "residual": False}], [{"trunk": "gsau", "attention": "mlka"}]),
        ([{"attention": {"name": "hard", "window": 5}}], [{"attention": "hard"}]),
        (
            [{"attention": {"name": "hard", "form": "max", "fraction": 0.2}}],
            [{"attention": {"name": "hard", "form": "max"}}],
        ),
    ],
    ids=[
        *("identity", "narrow identity", "order of a trunk", "order of an attention", "default option", "full width"),
        *("residual without a trunk", "residual of residual blocks", "dead window", "dead fraction"),
    ],
)
def test_the_same_network_is_one_value_with_one_key(first, second):
    a, b = architecture(positions=first), architecture(positions=second)
    assert a == b
    assert hash(a) == hash(b)
    assert a.key == b.key


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 3},
        {"channels": 12},
        {"end": "conv"},
        {"long_skip": True},
        {"tail": "nearest_pa"},
        {"global_skip": "nearest"},
        {"input_range": 255},
        {"mean_shift": "div2k"},
        {"end": "lkat"},
        {"global_skip": "carriers"},
        {"positions": [{"trunk": "conv", "attention": "lia", "order": "before"}]},
        {"positions": [{"trunk": "conv", "attention": "lia", "order": "around"}]},
        {"positions": [{"trunk": "conv", "attention": "lia", "residual": False}]},
        {"positions": [{"trunk": "conv", "attention": "lia", "active": 12}]},
        {"positions": [{"trunk": "conv", "attention": {"name": "lia", "features": 4}}]},
    ],
)
def test_different_networks_have_different_keys(change):
    base = {"positions": [{"trunk": "conv", "attention": "lia"}]}
    assert architecture(**base).key != architecture(**{**base, **change}).key


def test_a_changed_copy_is_checked_and_has_a_key_of_its_own():
    first = Architecture(scale=2, channels=6)
    known = first.key
    changed = first.model_copy(update={"channels": 8})
    assert changed == Architecture(scale=2, channels=8)
    assert changed.key == Architecture(scale=2, channels=8).key != known
    with pytest.raises(ValidationError, match="channels"):
        first.model_copy(update={"channels": -8})


def test_key_is_pinned():
    # SHA-256 of '{"channels":24,"positions":[{"attention":"lia","trunk":"conv"}],"scale":2,"schema":1}'.
    a = architecture(positions=[{"trunk": "conv", "attention": "lia"}])
    assert a.to_json() == '{"channels":24,"positions":[{"attention":"lia","trunk":"conv"}],"scale":2,"schema":1}'
    assert a.key == "82f508706a9a"


@pytest.mark.parametrize(
    ("channels", "first", "second"),
    [
        (24, {"name": "cbam", "reduction": 13}, "cbam"),
        (4, {"name": "cbam", "reduction": 4}, "cbam"),
        (24, {"name": "cbam", "pools": ["max", "avg"]}, "cbam"),
        (24, {"name": "cbam", "reduction": 9}, {"name": "cbam", "reduction": 12}),
        (15, {"name": "se", "reduction": 8}, "se"),
        (24, {"name": "spatial_from_channel", "reduction": 20}, "spatial_from_channel"),
        (11, {"name": "aab", "reduction": 5}, "aab"),
        (24, {"name": "sk", "reduction": 8}, "sk"),
        (24, {"name": "sk", "reduction": 2, "min_hidden": 12}, {"name": "sk", "min_hidden": 12}),
        (64, {"name": "sk", "reduction": 1}, {"name": "sk", "reduction": 8, "min_hidden": 64}),
        (64, {"name": "sk", "reduction": 32, "min_hidden": 1}, {"name": "sk", "reduction": 64, "min_hidden": 2}),
        (3, {"name": "nonlocal", "scaled": False}, "nonlocal"),
        (9, {"name": "nonlocal", "reduction": 5}, {"name": "nonlocal", "reduction": 9}),
    ],
)
def test_options_that_build_the_same_block_are_one(channels, first, second):
    a, b = (
        architecture(channels=channels, positions=[{"trunk": "conv", "attention": attention}])
        for attention in (first, second)
    )
    assert a == b
    assert a.key == b.key
    shapes = []
    for choice in (first, second):
        choice = Choice.model_validate(choice).resolved(REGISTRY.block(Choice.model_validate(choice).name).Config)
        module = choice.block(channels, choice.config)
        shapes.append({name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})
    assert shapes[0] == shapes[1]
    if not isinstance(second, str):
        return
    assert a.positions[0].attention == Choice(name=second)


@given(st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_round_trip(rng):
    a = MOBILE.sample(rng)
    assert Architecture.from_json(a.to_json()) == a
    assert Architecture.from_dict(json.loads(json.dumps(a.to_dict()))).key == a.key


def test_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        architecture().channels = 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 5}, "scale must be one of 2, 3, 4, but got scale=5."),
        ({"channels": 0}, "architecture: channels >= 1 must hold, but got channels=0."),
        ({"positions": [{"trunk": "lia"}]}, "unknown trunk 'lia'. Valid: conv, conv1, conv3xc, dw, ecb,"),
        ({"positions": [{"attention": "mlkaa"}]}, "unknown attention 'mlkaa'. Did you mean 'mlka'?"),
        ({"channels": 32, "positions": [{"attention": "mlka"}]}, "use 30, 33 or 36."),
        ({"positions": [{"attention": "mlka", "active": 16}]}, "but got channels=16"),
        ({"positions": [{"trunk": "conv", "active": 25}]}, "active <= channels must hold, but got (active=25"),
        ({"tail": "pixelshufle"}, "unknown tail 'pixelshufle'. Did you mean 'pixelshuffle'?"),
        ({"tail": {"name": "nearest_pa", "featurs": 3}}, "unknown key 'featurs'. Did you mean 'features'?"),
        ({"globalskip": "none"}, "unknown key 'globalskip'. Did you mean 'global_skip'?"),
        ({"tail": "nearest_pa", "global_skip": "carriers"}, "but got tail='nearest_pa'; use pixelshuffle."),
        ({"input_range": 2}, "input should be 1 or 255, but got input_range=2."),
        ({"positions": [{"trunk": "conv", "ordr": "after"}]}, "Did you mean 'positions.0.order'?"),
        ({"positions": [{"trunk": {"name": "none", "activation": "relu"}}]}, "'none' takes no options, but got"),
        ({"schema": 9}, "schema must be 1, but got schema=9"),
        ({"channels": None}, "should be a valid integer, but got channels=None"),
    ],
)
def test_what_is_wrong_is_said(fields, message):
    with pytest.raises(InputError) as error:
        architecture(**fields)
    assert message in str(error.value)


@pytest.mark.parametrize(("text", "message"), [("{", "must be JSON"), ("[1]", "must be a JSON object, but got list")])
def test_text_that_is_no_architecture(text, message):
    with pytest.raises(InputError, match=message):
        Architecture.from_json(text)


def test_a_required_key_is_named():
    with pytest.raises(InputError, match="the key 'scale' is required"):
        Architecture.from_dict({"channels": 3})


def test_least_input():
    assert architecture(positions=[{"trunk": "conv"}]).min_size == 1
    assert architecture(positions=[{"trunk": "conv", "attention": "lia"}]).min_size == 7
    assert architecture(positions=[{"attention": "nonlocal"}]).min_size == 2
    assert architecture(positions=[{"attention": {"name": "nonlocal", "sub_sample": "none"}}]).min_size == 1


def test_tile_invariance():
    assert architecture(positions=[{"trunk": "gsau", "attention": "mlka"}]).tile_invariant
    assert not architecture(positions=[{"trunk": "conv"}, {"trunk": "conv", "attention": "se"}]).tile_invariant


def test_choice_is_a_name_or_a_table():
    assert Choice.model_validate("lia") == Choice(name="lia")
    table = Choice.model_validate({"name": "lia", "features": 4})
    assert str(table) == "lia(features=4)"
    assert table.model_dump() == {"name": "lia", "features": 4}
    assert str(Choice.model_validate({"name": "cbam", "pools": ("avg", "lp")})) == "cbam(pools=avg+lp)"


def test_position_text_of_the_identity():
    assert str(Position()) == "none"


def test_scale_check():
    check_scale(4)
    with pytest.raises(InputError, match="scale=1"):
        check_scale(1)
