"""What attention weighs by: official weights give the means that are known, and every kind of weights is reduced."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from srnas.nas.explain import attention_maps, mean_weights
from srnas.nas.explain.maps import GAIN, centre_crop, interval
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


def test_attention_around_a_trunk_comes_twice():
    position = Position(attention=Choice(name="pa"), trunk=Choice(name="conv"), order="around")
    network = Network(Architecture(scale=2, channels=6, positions=(position,))).eval()
    assert [str(one.place) for one in attention_maps(network, LR, CPU)] == ["p00.pa", "p00.pa"]


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


def test_the_interval_is_students():
    # t of 2 degrees of freedom at 97.5 % is 4.3027.
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, high - 2, 2 - low) == pytest.approx((2, 4.3027 / 3**0.5, 4.3027 / 3**0.5), abs=1e-4)
