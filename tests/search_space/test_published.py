"""The published networks: their counts, their structure, and that they are ordinary architectures."""

import json
import os
from pathlib import Path

import pytest
import torch

from srnas.profiling import count
from srnas.search_space import PUBLISHED, Architecture, InputError, Network, published
from srnas.search_space.blocks.repmb import RepMBConv

GOLDEN = Path(os.environ.get("SRNAS_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden"))
COUNTS = GOLDEN / "counts.json"
EVERY = [(name, scale) for name in PUBLISHED for scale in (2, 3, 4)]

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


def test_both_tables_hold_every_network():
    assert PARAMS.keys() == MACS_G.keys() == PUBLISHED.keys()


@pytest.mark.parametrize(("name", "scale"), EVERY)
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
@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_counts_to_the_unit(name, scale):
    official = {"plainusr": "plainusr_base", "man": "man_base"}.get(name, name)
    expected = json.loads(COUNTS.read_text())["networks"][f"{official}_x{scale}"]
    network = Network(published(name, scale))
    for form, counts in ((network.deploy(), expected), (network, expected.get("train_form"))):
        if counts is not None:
            assert sum(p.numel() for p in form.parameters()) == counts["params"]
            assert count(form, (1, 3, 256, 256)).macs == counts["macs_lr256x256"]
            for size in counts["macs_output1280x720"]:
                assert count(form, (1, 3, size["lr_h"], size["lr_w"])).macs == size["macs"]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_a_published_network_is_an_architecture(name, scale):
    architecture = published(name, scale)
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert architecture.scale == scale
    assert architecture.input_range == (255 if name.startswith("a2n") else 1)
    assert architecture.mean_shift == ("div2k" if name.startswith("man") else "none")
    if name in ("man", "man_light") and scale != 2:
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
