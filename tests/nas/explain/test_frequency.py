"""High-pass response: attention that is a high-pass filter correlates fully with one."""

import numpy as np
import pytest
import torch

from srnas.nas.explain import frequency_response, high_pass
from srnas.nas.explain.frequency import BORDER, correlation
from srnas.nas.images.pairs import to_tensor
from srnas.search_space import Architecture, Choice, Network, Position

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


def gray(height, width):
    return RNG.integers(0, 256, (height, width, 1), dtype=np.uint8).repeat(3, 2)


def test_attention_that_is_a_high_pass_filter_has_correlation_1(monkeypatch):
    network = Network(Architecture(scale=2, channels=3, positions=(Position(attention=Choice(name="pa")),))).eval()
    images = [gray(20, 24) for _ in range(3)]
    block = network.body[0].blocks[0]
    passed = {to_tensor(image).sum().item(): high_pass(image, "laplacian") for image in images}

    def filtered(x, pixel=None):
        return {"gate": 2 * torch.from_numpy(passed[seen[0]])[None, None].float() + 1}

    seen = []
    network.register_forward_pre_hook(lambda _, given: seen.insert(0, given[0].sum().item()))
    monkeypatch.setattr(block, "attention_weights", filtered)
    found = {one.filter: one for one in frequency_response(network, images, CPU)}
    assert found["laplacian"].correlation == pytest.approx(1, abs=1e-6)
    assert (found["laplacian"].low, found["laplacian"].high) == pytest.approx((1, 1), abs=1e-6)
    assert found["gaussian"].correlation < 0.999
    assert found["laplacian"].images == 3


def test_filters_pass_what_they_say():
    flat, edge = np.full((20, 20, 3), 90, np.uint8), np.zeros((20, 20, 3), np.uint8)
    edge[:, 10:] = 200
    for kind in ("gaussian", "laplacian"):
        assert high_pass(flat, kind).max() == pytest.approx(0, abs=1e-9)
        assert high_pass(edge, kind).argmax(1).tolist() == [9] * 20
    # Of BT.601, 200 levels of gray are 200 * 219 / 255 of luma.
    assert high_pass(edge, "laplacian")[5, 9] == pytest.approx(200 * 219 / 255, abs=1e-3)


def test_correlation_is_pearsons():
    a, b = RNG.normal(size=(2, 15, 17))
    inner = (slice(BORDER, -BORDER),) * 2
    assert correlation(a, b) == pytest.approx(np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1])
    assert np.isnan(correlation(np.full_like(a, 0.1), b))


def test_two_blocks_of_a_place_are_one_value_of_an_image():
    position = Position(attention=Choice(name="pa"), trunk=Choice(name="conv"), order="around")
    network = Network(Architecture(scale=2, channels=6, positions=(position,))).eval()
    found = frequency_response(network, [gray(20, 24)], CPU)
    assert [(str(one.place), one.images, one.low) for one in found] == [("p00.pa", 1, -np.inf)] * 2
