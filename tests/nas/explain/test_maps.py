"""What attention weighs by: official weights give the means that are known, and every kind of weights is reduced."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from srnas.nas.explain import attention_maps, mean_weights
from srnas.nas.explain.maps import GAIN, centre_crop
from srnas.nas.explain.maps_sheet import draw_strips, write_html, write_sheet
from srnas.nas.images.pairs import load_pairs
from srnas.search_space import Architecture, Choice, InputError, Network, Position
from srnas.search_space.checkpoints import load_network
from srnas.search_space.published import published

CPU = torch.device("cpu")
SHARED = Path(os.environ.get("SRNAS_GOLDEN", Path(__file__).parents[3].parent / "shared" / "golden")).parent
SET5, WEIGHTS = SHARED / "data" / "test" / "Set5", SHARED / "checkpoints"
LR = np.random.default_rng(0).integers(0, 256, (17, 20, 3), dtype=np.uint8)


def means(name, scale, file):
    """Return mean weights by name, over centre crops of at most 96x96 of Set5's published LR images."""
    if not (WEIGHTS / file).is_file():
        pytest.skip("needs the official weights and Set5")
    network = load_network(published(name, scale), WEIGHTS / file).deploy()
    images = [centre_crop(pair.lr, 96) for pair in load_pairs(SET5, scale).pairs]
    found = mean_weights(network, images, CPU)
    return {name: [one.mean for one in found if one.name == name] for name in {one.name for one in found}}


@pytest.mark.slow
def test_weights_of_the_official_a2n():
    # Computed once with the official code. source: the issue of this room.
    known = ".514 .515 .499 .313 .197 .401 .368 .457 .421 .535 .502 .412 .518 .409 .521 .418"
    found = means("a2n", 2, "aan_x2.pt")["attention_weight"]
    assert found == pytest.approx([float(value) for value in known.split()], abs=0.003)


def test_weights_of_the_official_plainusr():
    # source: the blocks' specification, section 2.2; its crops were not noted.
    found = means("plainusr", 4, "PlainUSR_Rep_x4.pth")
    assert found["gate"] == pytest.approx([0.034, 0.010, 0.014, 0.005, 0.029], abs=0.02)
    assert found["importance"] == pytest.approx([0.26, 0.59, 0.56, 0.66, 0.51], abs=0.02)


def network_of(*blocks):
    positions = tuple(Position(attention=Choice(name=name)) for name in blocks)
    return Network(Architecture(scale=2, channels=12, positions=positions)).eval()


def test_each_kind_of_weights_is_reduced():
    found = attention_maps(network_of("se", "psa_parallel", "mlka", "nonlocal", "stn"), LR, CPU, (3, 4))
    sizes = {
        name: (len(weights.channels), None if weights.picture is None else weights.picture.shape)
        for one in found
        for name, weights in one.weights.items()
    }
    whole = (17, 20)
    assert sizes == {
        "channel": (12, None), "spatial": (1, whole), "scale_3": (4, whole), "scale_5": (4, whole),
        "scale_7": (4, whole), "row": (1, (8, 10)), GAIN: (1, whole),
    }  # fmt: skip
    assert all(one.before.shape == one.after.shape == whole for one in found)
    # The warp starts as an identity.
    assert found[-1].weights[GAIN].mean == pytest.approx(1)


def around():
    position = Position(attention=Choice(name="pa"), trunk=Choice(name="conv"), order="around")
    return Network(Architecture(scale=2, channels=6, positions=(position,))).eval()


def test_attention_around_a_trunk_comes_twice():
    assert [str(one.place) for one in attention_maps(around(), LR, CPU)] == ["p00.pa", "p00.pa"]


def test_two_blocks_of_a_place_are_one_value_of_an_image():
    network = around()
    [[name, first], [_, second]] = [item for one in attention_maps(network, LR, CPU) for item in one.weights.items()]
    [one] = mean_weights(network, [LR], CPU)
    mean = (first.mean + second.mean) / 2
    assert (one.name, one.mean, one.least, one.greatest) == (name, mean, mean, mean)
    assert one.spread == (first.std + second.std) / 2
    assert (one.low, one.high) == (-np.inf, np.inf)


def test_a_pixel_outside_is_refused():
    with pytest.raises(InputError, match="20x17, but got 20,3"):
        attention_maps(network_of("nonlocal"), LR, CPU, (3, 20))


@pytest.mark.usefixtures("coarse_figures")
def test_a_sheet_and_a_file_hold_every_place(tmp_path):
    found = attention_maps(network_of("se", "lia"), LR, CPU)
    strips = draw_strips(found, LR)
    write_sheet(strips, "A title", tmp_path / "maps.png")
    write_html(strips, found, "A title", tmp_path / "maps.html")
    text = (tmp_path / "maps.html").read_text()
    assert all(word in text for word in ("p00.se", "p01.lia", "importance", "channel"))
    assert text.count("data:image/png") == 2
    assert (tmp_path / "maps.png").stat().st_size > 0
