"""Trained networks as they are timed: what calibrates, what stands in for a board, and who has no scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import Pair
from srnas.nas.images.patches import PatchSampler
from srnas.nas.judging.timed_scorer import TimedScorer, draw_calibration, stand_in
from srnas.profiling import Target
from srnas.profiling.boards.board import Board
from srnas.search_space import Architecture, Network

ARCHITECTURE = Architecture(scale=2, channels=6)
BOARD = Board("pi", "http://pi:7788", "", "Raspberry Pi 5", 4)
CPU = torch.device("cpu")


def pair(name, seed):
    hr = np.random.default_rng(seed).integers(0, 256, (32, 36, 3), dtype=np.uint8)
    return Pair(name, hr[::2, ::2].copy(), hr, False)


PAIRS = (pair("a", 0), pair("b", 1))


@pytest.fixture
def weights(tmp_path):
    """Return a function that writes a network with the weights of its first convolution times a factor."""

    def weights(factor=1.0):
        torch.manual_seed(0)
        tensors = Network(ARCHITECTURE).state_dict()
        tensors["stem.weight"] = tensors["stem.weight"] * factor
        save_file(tensors, tmp_path / "net.safetensors")
        return tmp_path / "net.safetensors"

    return weights


def scorer(dtype, **fields):
    return TimedScorer(Target(dtype=dtype, **fields), PAIRS, 2, torch.zeros(1, 3, 8, 8))


def test_every_command_calibrates_on_the_same_patches():
    patches = PatchSampler(PAIRS, 2, 8, CPU)
    drawn = draw_calibration(patches)
    assert drawn.shape == (64, 3, 8, 8)
    assert torch.equal(drawn, patches.draw(64, torch.Generator().manual_seed(0))[0])
    assert torch.equal(drawn, draw_calibration(PatchSampler(PAIRS, 2, 8, CPU)))


def test_scores_are_those_of_the_network_in_that_type(weights):
    scores = scorer("bfloat16").score(3, 5, ARCHITECTURE, weights())
    torch.manual_seed(0)
    network = Network(ARCHITECTURE).eval().deploy().bfloat16()
    expected = evaluate(network, PAIRS, 2, CPU, run=lambda x: network(x.bfloat16()).float())
    assert (scores.number, scores.seed, scores.dtype, scores.runtime) == (3, 5, "bfloat16", "eager")
    assert scores.quality.psnr_y_db == expected.psnr_y_db
    assert scores.reason == ""


def test_what_is_finite_in_float32_only_has_none(weights):
    path = weights(1e6)
    assert scorer("float32").score(0, 0, ARCHITECTURE, path).quality is not None
    scores = scorer("float16").score(0, 0, ARCHITECTURE, path)
    assert (scores.quality, scores.reason) == (None, "the network's output is not finite")


def test_weights_that_are_not_there_are_named(tmp_path):
    scores = scorer("bfloat16").score(0, 0, ARCHITECTURE, tmp_path / "gone.safetensors")
    assert scores.quality is None
    assert "gone.safetensors" in scores.reason


def test_this_machine_stands_in_for_a_board():
    target = Target(runtime="onnxruntime", dtype="int8", threads=4, board=BOARD)
    assert stand_in(target) == replace(target, board=None, threads=1)
    assert stand_in(replace(target, dtype="float16")) == Target(dtype="float16")
    assert stand_in(Target(threads=2)) == Target(threads=2)
    there = scorer("float16", runtime="ncnn", board=BOARD)
    assert str(there) == "float16 by eager, on this machine in place of target 'pi'"


def test_what_calibrates_is_said():
    pytest.importorskip("onnxruntime")
    assert ", calibrated on 1 training patches of 8x8 pixels" in str(scorer("int8", runtime="onnxruntime"))
