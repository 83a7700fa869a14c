"""The published networks: their counts, their structure, and that they are ordinary architectures."""

import json
import os
from pathlib import Path

import pytest
import torch

from srnas.profiling import count
from srnas.search_space import PUBLISHED, Architecture, InputError, Network, published
from srnas.search_space.blocks.repmb import RepMBConv

SHARED = Path(__file__).parents[2].parent / "shared"
COUNTS = Path(os.environ.get("SRNAS_GOLDEN", str(SHARED / "golden")).split(os.pathsep)[0]) / "counts.json"
MODERN_COUNTS = SHARED / "modern" / "counts.json"
EVERY = [(name, scale) for name in PUBLISHED for scale in (2, 3, 4)]
SEEDS = [name for name in PUBLISHED if name.startswith(("plainusr", "a2n", "man"))]
MODERN = [name for name in PUBLISHED if name not in SEEDS]
OFFICIAL = {"plainusr": "plainusr_base", "man": "man_base", "spanf": "spanf_c32", "spanv2": "spanv2_c32"}

# Parameters at x2, x3 and x4. source: the official modules; MAN's README states 150K, 840K and 8712K at x4.
PARAMS = {
    "plainusr_u": (13_628, 16_208, 19_820),
    "plainusr_t": (48_724, 53_464, 60_100),
    "plainusr_s": (57_236, 61_976, 68_612),
    "plainusr_m": (148_932, 155_832, 165_492),
    "plainusr": (311_364, 320_424, 333_108),
    "plainusr_l": (707_076, 718_296, 734_004),
    "a2n": (1_036_443, 1_036_443, 1_047_459),
    "a2n_m": (831_643, 831_643, 842_659),
    "man_tiny": (134_436, 140_931, 150_024),
    "man_light": (823_416, 831_531, 842_892),
    "man": (8_654_256, 8_678_571, 8_712_612),
}
# G MACs of a 1280x720 output at x2, x3 and x4, as published to this many digits.
MACS_G = {
    "plainusr_u": ("3.11", "1.64", "1.13"),
    "plainusr_t": ("11.17", "5.44", "3.45"),
    "plainusr_s": ("12.09", "5.85", "3.68"),
    "plainusr_m": ("30.67", "14.31", "8.62"),
    "plainusr": ("60.66", "27.84", "16.41"),
    "plainusr_l": ("149.11", "67.31", "38.83"),
    "a2n": ("247.47", "117.51", "72.40"),
    "a2n_m": ("200.28", "96.57", "60.60"),
    "man_tiny": ("29.97", "14.00", "8.39"),
    "man_light": ("183.99", "82.67", "47.12"),
    "man": ("1968.3", "878.0", "495.4"),
}
TRAIN_PARAMS_X4 = {
    "plainusr_u": 58_325,
    "plainusr_t": 213_141,
    "plainusr_s": 243_153,
    "plainusr_m": 623_977,
    "plainusr": 1_248_825,
    "plainusr_l": 3_046_697,
}
# M elements of all convolution outputs of a 1280x720 output, at x2 and x4.
ACTIVATIONS_M = {
    "plainusr_u": ("27.4", "8.9"),
    "plainusr_l": ("275.2", "70.9"),
    "a2n": ("1119.7", "348.4"),
    "a2n_m": ("1119.7", "348.4"),
}


# Parameters of the deploy form at x2, x3 and x4. source: closed forms of the specification of the modern blocks.
CLOSED_FORMS = {
    **{f"span_c{c}": lambda s, c=c: 175 * c**2 + 48 * c + (27 * c + 3) * s**2 for c in (26, 28, 48, 52)},
    **{
        f"ecbsr_m{m}c{c}_y": lambda s, m=m, c=c: m * (9 * c**2 + 2 * c) + 11 * c + (9 * c + 1) * s**2
        for m, c in ((4, 8), (4, 16), (10, 16), (10, 32), (16, 64))
    },
    **{
        f"ecbsr_m{m}c{c}": lambda s, m=m, c=c: m * (9 * c**2 + 2 * c) + 29 * c + 3 * (9 * c + 1) * s**2
        for m, c in ((4, 8), (4, 16), (10, 16), (10, 32), (16, 64))
    },
    "rlfn_prune": lambda s: 28 * 46 + 4 * 69_230 + 9 * 46**2 + 46 + (27 * 46 + 3) * s**2,
    "rlfn_s": lambda s: 28 * 48 + 6 * 71_216 + 9 * 48**2 + 48 + (27 * 48 + 3) * s**2,
    "rlfn": lambda s: 28 * 52 + 6 * 82_564 + 9 * 52**2 + 52 + (27 * 52 + 3) * s**2,
    # Stem, blocks, 1x1 convolution of all of them, end, tail.
    "rfdn": lambda s: 28 * 50 + 4 * 94_450 + 4 * 50**2 + 50 + 9 * 50**2 + 50 + (27 * 50 + 3) * s**2,
    "imdn": lambda s: 28 * 64 + 6 * 104_020 + 6 * 64**2 + 64 + 9 * 64**2 + 64 + (27 * 64 + 3) * s**2,
    "spanv2": lambda s: 27 * 32 + 18 * 32**2 + 4 * (28 * 32**2 + 32) + 27 * s**2 + (3 * s**2 + 32) * (9 + 3 * s**2),
}


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in CLOSED_FORMS for scale in (2, 3, 4)])
def test_closed_forms(name, scale):
    with torch.device("meta"):
        deployed = Network(published(name, scale)).deploy()
    assert sum(p.numel() for p in deployed.parameters()) == CLOSED_FORMS[name](scale)


@pytest.mark.skipif(not MODERN_COUNTS.is_file(), reason=f"no counts '{MODERN_COUNTS}'")
def test_modern_networks_have_the_official_counts():
    """Parameters, and MACs at one scale, to the unit in both forms, of every network that is counted there."""
    counted = json.loads(MODERN_COUNTS.read_text())["networks"]
    found = set()
    for name in MODERN:
        for scale in (2, 3, 4):
            stem, luma = name.removesuffix("_y"), "_y" if name.endswith("_y") else ""
            key = f"{OFFICIAL.get(stem, stem)}_x{scale}{luma}"
            if key in counted:
                found.add(key)
                with torch.device("meta"):
                    assert_counted(Network(published(name, scale)), counted[key], macs=scale == 4 or name == "imdn_rtc")
    assert found == counted.keys()


def test_both_tables_hold_every_network():
    assert PARAMS.keys() == MACS_G.keys() == set(SEEDS)


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in SEEDS for scale in (2, 3, 4)])
def test_published_figures(name, scale):
    network = Network(published(name, scale))
    if scale == 4 and name in TRAIN_PARAMS_X4:
        assert sum(p.numel() for p in network.parameters()) == TRAIN_PARAMS_X4[name]
    deployed = network.deploy()
    width = PUBLISHED[name].x3_width if scale == 3 else 1280 // scale
    counts = count(deployed, (1, 3, 720 // scale, width))
    assert counts.params == PARAMS[name][scale - 2]
    expected = MACS_G[name][scale - 2]
    assert f"{counts.macs / 1e9:.{len(expected.partition('.')[2])}f}" == expected
    if name in ACTIVATIONS_M and scale != 3:
        assert f"{counts.activations / 1e6:.1f}" == ACTIVATIONS_M[name][scale // 4]
    assert not counts.unknown


@pytest.mark.skipif(not COUNTS.is_file(), reason=f"no counts '{COUNTS}'")
@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in SEEDS for scale in (2, 3, 4)])
def test_counts_to_the_unit(name, scale):
    expected = json.loads(COUNTS.read_text())["networks"][f"{OFFICIAL.get(name, name)}_x{scale}"]
    assert_counted(Network(published(name, scale)), expected)


def assert_counted(network, expected, *, macs=True):
    for form, counts in ((network.deploy(), expected), (network, expected.get("train_form"))):
        if counts is not None:
            assert sum(p.numel() for p in form.parameters()) == counts["params"]
            assert not macs or count(form, (1, 3, 256, 256)).macs == counts["macs_lr256x256"]
            for size in counts["macs_output1280x720"] if macs else ():
                assert count(form, (1, 3, size["lr_h"], size["lr_w"])).macs == size["macs"]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_a_published_network_is_an_architecture(name, scale):
    architecture = published(name, scale)
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert architecture.scale == scale
    ranged = name.startswith(("a2n", "span_c", "ecbsr", "rlfn", "rfdn"))
    assert architecture.input_range == (255 if ranged else 1)
    shifts = {"man": "div2k", "span_c": "div2k_in"}
    expected = next((shift for family, shift in shifts.items() if name.startswith(family)), "none")
    assert architecture.mean_shift == expected
    # They build in a second or more, and at one scale as at another.
    if name in ("man", "man_light", "ecbsr_m16c64", "span_c52", "imdn", "rlfn") and scale != 2:
        return
    network = Network(architecture).eval()
    size = architecture.min_size
    assert network(torch.rand(1, 3, size, size + 1)).shape == (1, 3, size * scale, (size + 1) * scale)


def test_all_published_networks_differ():
    assert len({published(*case).key for case in EVERY}) == len(EVERY)


def test_short_form_of_a_u_net_in_channels():
    text = str(published("plainusr_s", 4))
    gate, lia = "repmb(gate=True)", "lia(features=4)/plain"
    widths = ("", "@16", "@8", "@16", "")
    assert text == f"x4-c32[{'|'.join(f'{gate}+{lia}{width}' for width in widths)}]-skip:carriers"
    assert str(published("man_tiny", 2)) == "x2-c48[5(mlka+gsau)]-lkat-longskip-skip:none-mean:div2k"
    assert str(published("a2n", 3)) == "x3-c40[16(aab)]-conv-longskip-nearest_pa-range:255"


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("plainusr")])
def test_gate_projection_stands_before_an_attention_only(name):
    for position in published(name, 2).positions:
        assert dict(position.trunk.options).get("gate", False) == (position.attention.name != "none")


def test_the_official_start_of_asr_is_dead_and_the_other_is_not():
    for start, alive in (("official", False), ("alive", True)):
        conv = RepMBConv(16, start)
        conv(torch.randn(1, 16, 8, 8)).square().mean().backward()
        assert bool(conv.attention.vector.grad.any()) == alive
        if not alive:
            assert (conv.attention() == 1).all()


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("plainusr_x", 2, "unknown network 'plainusr_x'. Did you mean 'plainusr"),
        ("a2n", 5, "scale must be one of 2, 3, 4, but got scale=5"),
    ],
)
def test_unknown_networks(name, scale, message):
    with pytest.raises(InputError) as error:
        published(name, scale)
    assert message in str(error.value)
