"""Search spaces: files, size, sampling, mutation, crossover, membership, human designs."""

import hashlib
import itertools
import random
from typing import get_args

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srnas.search_space import (
    PUBLISHED,
    REGISTRY,
    Architecture,
    InputError,
    Position,
    SearchSpace,
    human_designs,
    published,
    space_names,
)
from srnas.search_space.space_file import SpaceFile

SPACES = {
    "tiny": SearchSpace.load("tiny", 2),
    "mobile": SearchSpace.load("mobile", 3),
    # mlka does not fit 16 channels, nor half of 18: the choices depend on the width.
    "awkward": SearchSpace(
        SpaceFile(
            channels=(16, 18),
            positions=3,
            trunk=("none", "conv"),
            attention=("none", "mlka", "psa_parallel"),
            active=(1.0, 0.5),
        ),
        4,
        "awkward",
    ),
    # Carriers need pixel shuffle: the choices depend on the tail.
    "carriers": SearchSpace(
        SpaceFile(
            channels=(6,),
            positions=1,
            trunk=("conv", "gsau"),
            attention=("pa", "mlka"),
            order=("after", "around"),
            residual=(True, False),
            tail=("pixelshuffle", "nearest_pa"),
            global_skip=("carriers", "nearest", "none"),
        ),
        2,
        "carriers",
    ),
    "full": SearchSpace.load("full", 2),
    "plainusr": SearchSpace.load("plainusr", 4),
    "span": SearchSpace.load("span", 4),
    "ecbsr": SearchSpace.load("ecbsr", 2),
    # No identity: exactly two positions.
    "rigid": SearchSpace(SpaceFile(channels=(6,), positions=2, trunk=("conv",), attention=("pa", "none")), 2, "rigid"),
}
# Networks of luma, of widths that the full space does not have, or of more than 16 positions.
OUTSIDE_FULL = ("_y", "c8", "c26", "rlfn_prune", "rfdn", "imdn_rtc", "man_light", "man")
everywhere = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
rngs = st.randoms(use_true_random=False)


def test_shipped_spaces():
    assert space_names() == ["a2n", "ecbsr", "fast", "full", "man", "mobile", "plainusr", "span", "tiny"]


def test_a_space_without_later_choices_reads_as_before():
    """Source: the digest that studies of ``tiny`` were stored with before there were stems, gathers and colours."""
    text = SPACES["tiny"].content.canonical_json()
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == "79f42d0b"
    assert '"stem"' in SPACES["mobile"].content.canonical_json()


def test_size_by_enumeration():
    space = SPACES["rigid"]
    rng = random.Random(0)
    assert len({space.sample(rng) for _ in range(300)}) == space.size == 4
    # Two widths; 16: conv, psa, conv+psa at two active widths each; 18 adds mlka at full width, its half of 9 is odd:
    # psa does not fit there, mlka does.
    awkward = SPACES["awkward"]
    alphabets = {c: sum(not p.is_identity for p in awkward.alphabet(c)) for c in (16, 18)}
    assert alphabets == {16: 6, 18: 8}
    assert awkward.size == sum(n**depth for n in alphabets.values() for depth in range(4))


@pytest.mark.parametrize("channels", [16, 24])
def test_equal_blocks_of_the_full_space_are_one_choice(channels):
    """No two distinct choices of a space build the same module at any width."""
    full = SPACES["full"].content
    for width in {max(1, round(channels * fraction)) for fraction in full.active}:
        modules = {}
        for choice in {c.at(width) for c in (*full.trunk, *full.attention) if fits(c, width)}:
            torch.manual_seed(0)
            block = choice.block(width, choice.config).eval()
            for parameter in block.parameters():
                torch.nn.init.normal_(parameter)
            x = torch.randn(1, width, 15, 16, generator=torch.Generator().manual_seed(1))
            modules[choice] = block(x)
        for (first, a), (second, b) in itertools.combinations(modules.items(), 2):
            if first.name == second.name != "repmb":
                assert not torch.equal(a, b), (str(first), str(second), width)


def fits(choice, width):
    return choice.name != "none" and choice.constraint.allows(width)


def test_trunks_that_do_not_fit_a_width_are_not_suggested():
    # repmb needs 2 channels: it does not fit 5 % of 16, and no width of 1.
    for channels, active in (((16,), (0.05,)), ((1, 16), (1.0,)), ((1, 40), (1.0, 0.05))):
        content = SpaceFile(
            channels=channels, positions=2, trunk=("conv", "repmb"), attention=("none", "pa"), active=active
        )
        space = SearchSpace(content, 2, "narrow")
        rng = random.Random(0)
        seen = {space.sample(rng) for _ in range(400)}
        assert all(space.contains(a) for a in seen)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(30):
            space.suggest(study.ask())


def test_mutation_and_crossover_need_members():
    space, outside = SPACES["rigid"], Architecture(scale=2, channels=7)
    with pytest.raises(InputError, match="space 'rigid' must contain the architecture"):
        space.mutate(outside, random.Random(0))
    with pytest.raises(InputError, match="space 'rigid' must contain the architecture"):
        space.cross_over(space.sample(random.Random(0)), outside, random.Random(0))


def test_size_in_words():
    assert SPACES["tiny"].size_text == "1,425,347,364"
    huge = SearchSpace(
        SpaceFile(channels=(48,), positions=99, trunk=("none", "*"), attention=("none", "*"), residual=(True, False)),
        2,
        "huge",
    )
    exponent = len(str(huge.size)) - 1
    assert huge.size_text == f"{str(huge.size)[0]}{huge.size_text[1:4]}e+{exponent}"


@pytest.mark.parametrize("name", ["carriers", "rigid"])
def test_size_counts_distinct_networks(name):
    space = SPACES[name]
    rng = random.Random(0)
    seen = {space.sample(rng) for _ in range(2000)}
    assert len(seen) == space.size
    assert len({architecture.key for architecture in seen}) == space.size


def test_size_of_a_space_whose_residual_is_dead_in_part():
    # Orders: 2. Residual: conv+pa and conv+mlka 2 each, gsau+pa 2, gsau+mlka 1. Hosts: 3 skips and 2.
    assert SPACES["carriers"].size == 2 * (2 + 2 + 2 + 1) * 5


def test_a_choice_that_is_named_twice_is_one():
    content = SpaceFile(channels=(12, 12), positions=2, trunk=("conv", "conv"), order=("after", "after"))
    space = SearchSpace(content, 2, "twice")
    assert space.size == 1
    assert space.content.channels == (12,)
    only = space.sample(random.Random(0))
    assert space.mutate(only, random.Random(0)) == only


def test_options_that_are_lists():
    with_pools = SpaceFile(channels=(16,), positions=1, attention=({"name": "cbam", "pools": ["avg"]},))
    assert str(SearchSpace(with_pools, 2, "small").sample(random.Random(0)).positions[0]) == "cbam(pools=avg)"
    with pytest.raises(ValueError, match=r"block 'lia': input should be a valid integer, but got features=\[4, 8\]"):
        SpaceFile(channels=(16,), positions=1, attention=({"name": "lia", "features": [4, 8]},))


def test_a_tail_that_is_written_twice_is_one():
    default = REGISTRY.tail("pixelshuffle").Config().convolution
    twice = ("pixelshuffle", {"name": "pixelshuffle", "convolution": default})
    assert len(SpaceFile(channels=(16,), positions=1, tail=twice).tail) == 1


def test_a_star_stands_for_every_block():
    space = SearchSpace(SpaceFile(channels=(24,), positions=1, trunk=("*",), attention=("none", "*", "lia")), 2, "star")
    trunks, attentions = ([c.name for c in choices] for choices in (space.content.trunk, space.content.attention))
    assert trunks == [info.name for info in REGISTRY.infos("trunk") if info.placeable]
    assert attentions == ["none", *(info.name for info in REGISTRY.infos("attention") if info.placeable)]
    assert {info.name for info in REGISTRY.infos("trunk") if not info.placeable} == {"spabv2", "efdn"}


def test_the_full_space_holds_every_block_and_host():
    space = SPACES["full"]
    blocks = {choice.name for choice in (*space.content.trunk, *space.content.attention)} - {"none"}
    assert blocks == {info.name for info in REGISTRY.infos("trunk", "attention")}
    assert {tail.name for tail in space.content.tail} == {info.name for info in REGISTRY.infos("tail")}
    assert {stem.name for stem in space.content.stem} >= {"conv", "conv3xc", "ecb", "spab", "spabv2"}
    for gene in ("end", "global_skip", "input_range", "mean_shift"):
        assert set(getattr(space.content, gene)) == set(get_args(Architecture.model_fields[gene].annotation))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("space", "networks"),
    [
        ("plainusr", {"plainusr_u", "plainusr_t", "plainusr_s", "plainusr_m", "plainusr", "plainusr_l"}),
        ("a2n", {"a2n", "a2n_m"}),
        ("man", {"man_tiny", "man_light", "man"}),
        ("span", {"span_c26", "span_c28", "span_c48", "span_c52"}),
        ("ecbsr", {name for name in PUBLISHED if name.startswith("ecbsr")}),
        ("full", {name for name in PUBLISHED if not name.endswith(OUTSIDE_FULL)}),
    ],
)
def test_published_networks_are_seeds_of_their_neighbourhood(space, networks, scale):
    space = SearchSpace.load(space, scale)
    designs = human_designs(space)
    assert designs.keys() & PUBLISHED.keys() == networks
    assert list(designs)[: len(networks)] == [name for name in PUBLISHED if name in networks]
    for name in networks:
        network = published(name, scale)
        assert designs[name] == network
        assert space.suggest(optuna.trial.FixedTrial(space.params(network))) == network
        mutant = space.mutate(network, random.Random(0))
        assert mutant != network
        assert space.contains(mutant)


@everywhere
@settings(max_examples=60, deadline=None)
@given(rng=rngs)
def test_sampling_mutation_and_crossover_stay_inside(space, rng):
    first, second = space.sample(rng), space.sample(rng)
    mutant = space.mutate(first, rng)
    child = space.cross_over(first, second, rng)
    assert mutant != first
    for architecture in (first, second, mutant, child):
        assert space.contains(architecture)
        assert architecture.scale == space.scale


@everywhere
def test_suggest_through_optuna_and_back(space):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(25):
        trial = study.ask()
        architecture = space.suggest(trial)
        params = space.params(architecture)
        study.enqueue_trial(params)
        again = study.ask()
        assert space.suggest(again) == architecture
        assert again.params == params


def test_a_child_takes_every_gene_from_a_parent():
    space = SPACES["rigid"]
    first, second = (
        Architecture(scale=2, channels=6, positions=(Position(trunk="conv", attention=a),) * 2) for a in ("pa", "none")
    )
    children = {space.cross_over(first, second, random.Random(seed)) for seed in range(40)}
    assert len(children) == 4


def test_mutation_reaches_the_whole_space():
    space = SPACES["rigid"]
    rng = random.Random(0)
    seen = {space.sample(rng)}
    for _ in range(100):
        seen |= {space.mutate(a, rng) for a in list(seen)}
    assert len(seen) == space.size


def test_a_space_of_one_network_mutates_to_it():
    space = SearchSpace(SpaceFile(channels=(4,), positions=1, trunk=("conv",)), 2, "one")
    only = space.sample(random.Random(0))
    assert space.size == 1
    assert space.mutate(only, random.Random(0)) == only


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 3},
        {"channels": 17},
        {"tail": "nearest_pa"},
        {"positions": [{"trunk": "conv"}] * 7},
        {"positions": [{"attention": {"name": "lia", "features": 8}}]},
    ],
)
def test_what_a_space_does_not_contain(change):
    fields = {"scale": 2, "channels": 12, "positions": [{"trunk": "conv"}], **change}
    architecture = Architecture.from_dict(fields)
    assert not SPACES["tiny"].contains(architecture)
    with pytest.raises(InputError, match="space 'tiny' must contain the architecture"):
        SPACES["tiny"].params(architecture)


def test_a_rigid_space_contains_only_full_chains():
    position = Position(trunk="conv")
    assert SPACES["rigid"].contains(Architecture(scale=2, channels=6, positions=(position,) * 2))
    assert not SPACES["rigid"].contains(Architecture(scale=2, channels=6, positions=(position,)))


@pytest.mark.parametrize(("name", "scale"), [("tiny", 2), ("tiny", 4), ("mobile", 3)])
def test_human_designs_fit(name, scale):
    space = SearchSpace.load(name, scale)
    designs = human_designs(space)
    assert ({"SPAN-like", "ECBSR-like"} <= designs.keys()) == (name == "mobile")
    assert {"A2N-like", "MAN-like", "PlainUSR-like", "EDSR-like"} <= designs.keys()
    assert all(space.contains(design) for design in designs.values())
    assert {p.attention.name for p in designs["A2N-like"].positions} == {"aab"}
    assert len({design.key for design in designs.values()}) == len(designs)


def test_designs_that_do_not_fit_are_left_out():
    assert human_designs(SPACES["awkward"]).keys() == {
        *("EDSR-like", "MAN-like", "ESPCN-like", "plain-half", "plain-small"),
    }
    fast = human_designs(SearchSpace.load("fast", 2))
    # The middle width, 28, is no multiple of 3.
    assert str(fast["MAN-like"]) == "x2-c24[4(mlka+conv)]"
    assert str(fast["FSRCNN-like"]) == "x2-c8[conv1/plain|6(conv/plain)|conv1/plain]"
    assert human_designs(SearchSpace(SpaceFile(channels=(4,), positions=0), 2, "empty")) == {}


def test_least_input_of_a_space():
    assert SPACES["tiny"].min_size == 7
    assert SPACES["rigid"].min_size == 1


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_load_a_file(tmp_path):
    text = 'channels = [8]\npositions = 2\ntrunk = ["conv"]\nattention = ["none", {name = "lia", features = 2}]\n'
    space = SearchSpace.load(write(tmp_path, text), 2)
    assert space.name == "mine"
    assert space.size == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channels = [8", "must be TOML"),
        ("positions = 2", "the key 'channels' is required"),
        ("channels = [8]\npositions = 2\natention = []", "unknown key 'atention'. Did you mean 'attention'?"),
        ("channels = [8]\npositions = 2\nattention = ['liaa']", "unknown attention 'liaa'. Did you mean 'lia'?"),
        ("channels = [8]\npositions = 2\n[defaults]\nbatchs = 3", "unknown key 'defaults.batchs'. Did you mean"),
        ("channels = [8]\npositions = 2\nactive = [0.0]", "0 < active <= 1 must hold"),
        ("channels = [8]\npositions = 2\nattention = ['mlka']", "fit channels=8"),
        ("channels = []\npositions = 2", "at least 1 item"),
        ("channels = [0]\npositions = 2", "channels.0 >= 1 must hold"),
        ("channels = [8]\npositions = 2\ntrunk = [{name = '*', kernel = 1}]", "'*' takes no options, but got kernel"),
        ("channels = [8]\npositions = 2\norder = ['both']", "should be 'after', 'before' or 'around'"),
        (
            "channels = [8]\npositions = 0\ntail = ['nearest_pa']\nglobal_skip = ['carriers']",
            "no global skip that fits",
        ),
        ("channels = [8]\npositions = 2\ntail = ['nearst_pa']", "unknown tail 'nearst_pa'. Did you mean 'nearest_pa'"),
    ],
)
def test_bad_files_are_explained(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        SearchSpace.load(write(tmp_path, text), 2)
    assert message in str(error.value)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"channels = [8] # \xff")
    with pytest.raises(InputError, match="must be readable text in UTF-8"):
        SearchSpace.load(str(tmp_path / "mine.toml"), 2)


def test_unknown_spaces(tmp_path):
    with pytest.raises(InputError, match="unknown space 'tny'. Did you mean 'tiny'"):
        SearchSpace.load("tny", 2)
    with pytest.raises(InputError, match="a space file must exist"):
        SearchSpace.load(str(tmp_path / "no.toml"), 2)
    with pytest.raises(InputError, match="scale must be one of 2, 3, 4, but got scale=5"):
        SearchSpace.load("tiny", 5)
