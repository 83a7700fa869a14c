import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srnas.nas.errors import DivergedError
from srnas.nas.images import device_metrics
from srnas.nas.images.evaluation import _score_on_device, evaluate, evaluate_bicubic
from srnas.nas.images.imresize import imresize
from srnas.nas.images.metrics import luma, psnr_y_db, ssim_y
from srnas.nas.images.pairs import make_pairs
from srnas.nas.images.photos import Photo, PhotoSet
from srnas.nas.images.upscaling import Upscaler
from srnas.search_space import Network, published

CPU = torch.device("cpu")


class Nearest(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.inference = []

    def forward(self, x):
        self.inference.append(torch.is_inference_mode_enabled())
        return F.interpolate(x, scale_factor=self.scale, mode="nearest")


class Bicubic(nn.Module):
    """MATLAB's bicubic upscaling as a network."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        image = (x[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return torch.from_numpy(imresize(image, self.scale)).permute(2, 0, 1)[None] / 255


def smooth(height, width, seed):
    """Noise of a quarter of the size, enlarged: an image that upscaling can get nearly right."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return imresize(coarse, 4)


@pytest.fixture(params=[2, 3, 4])
def scale(request):
    return request.param


@pytest.fixture
def pairs(scale):
    gray = smooth(48, 60, 3)[..., :1].repeat(3, 2)
    photos = (Photo("a", smooth(60, 48, 1)), Photo("b", smooth(52, 64, 2)), Photo("gray", gray, gray=True))
    return make_pairs(PhotoSet("set", photos), scale)


def same(values):
    """Equal up to the order in which pixels are added, which follows their layout in memory."""
    return pytest.approx(tuple(values), rel=1e-12)


def test_nearest_as_a_network(pairs, scale):
    network = Nearest(scale)
    scores = evaluate(network, pairs, scale, CPU)
    # Each pixel is repeated, and scored with the metrics.
    repeated = [pair.lr.repeat(scale, 0).repeat(scale, 1) for pair in pairs]
    both = list(zip(repeated, pairs, strict=True))
    assert scores.images == ("a", "b", "gray")
    assert scores.psnr_y_db == same(psnr_y_db(sr, pair.hr, scale, pair.gray) for sr, pair in both)
    assert scores.ssim_y == same(ssim_y(sr, pair.hr, scale, pair.gray) for sr, pair in both)
    assert scores.mean_psnr_y_db == pytest.approx(np.mean(scores.psnr_y_db))
    assert scores.mean_ssim_y == pytest.approx(np.mean(scores.ssim_y))
    assert network.inference == [True, True, True]


def test_bicubic_baseline_is_bicubic_as_a_network(pairs, scale):
    baseline, network = evaluate_bicubic(pairs, scale), evaluate(Bicubic(scale), pairs, scale, CPU)
    assert baseline.images == network.images
    assert baseline.psnr_y_db == same(network.psnr_y_db)
    assert baseline.ssim_y == same(network.ssim_y)


def test_bicubic_beats_nearest_on_smooth_images(pairs, scale):
    bicubic, nearest = evaluate_bicubic(pairs, scale), evaluate(Nearest(scale), pairs, scale, CPU)
    assert bicubic.mean_psnr_y_db > nearest.mean_psnr_y_db


def test_without_ssim_the_psnr_is_the_same(pairs, scale):
    full = evaluate(Nearest(scale), pairs, scale, CPU)
    quick = evaluate(Nearest(scale), pairs, scale, CPU, with_ssim=False)
    assert quick.psnr_y_db == full.psnr_y_db
    assert all(map(math.isnan, quick.ssim_y))
    assert len(quick.ssim_y) == 3


def test_a_network_of_luma_is_judged_on_its_luma(pairs, scale):
    """Without weights ECBSR on Y enlarges the luma by nearest neighbour; nothing is rounded to 8 bits on the way."""
    network = Network(published("ecbsr_m4c8_y", scale)).eval()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    quality = evaluate(network, pairs, scale, CPU)
    enlarged = [luma(pair.lr).repeat(scale, 0).repeat(scale, 1) for pair in pairs]
    for index, (y, pair) in enumerate(zip(enlarged, pairs, strict=True)):
        error = (y - luma(pair.hr))[scale:-scale, scale:-scale] * (255 / 219 if pair.gray else 1)
        assert quality.psnr_y_db[index] == pytest.approx(10 * math.log10(255**2 / np.mean(error**2)), abs=1e-4)
        assert quality.ssim_y[index] == pytest.approx(ssim_y(y, pair.hr, scale, pair.gray), abs=1e-6)


@pytest.mark.parametrize("colours", ["rgb", "y"])
def test_scores_on_a_device_are_those_of_the_cpu(pairs, scale, colours):
    """In float64 as here, by another order of sums; 1e-4 dB is what a GPU may differ by."""

    class Luma(Network):
        def __init__(self):
            nn.Module.__init__(self)
            self.architecture = SimpleNamespace(colours=colours)

        def forward(self, x):
            return F.interpolate(x, scale_factor=scale, mode="bicubic")

    ours = evaluate(Luma(), pairs, scale, CPU)
    there = _score_on_device(Luma(), pairs, scale, CPU, colours == "y", with_ssim=True)
    assert there.psnr_y_db == pytest.approx(ours.psnr_y_db, abs=1e-9)
    assert there.ssim_y == pytest.approx(ours.ssim_y, abs=1e-9)
    assert there.images == ours.images
    assert math.isnan(_score_on_device(Luma(), pairs, scale, CPU, False, with_ssim=False).mean_ssim_y)


def test_equal_images_are_infinite_on_a_device_too():
    image = torch.from_numpy(smooth(40, 40, 1)).permute(2, 0, 1)
    one = device_metrics.luma(image, False, 2)
    assert float(device_metrics.psnr_db(one, one)) == math.inf
    assert float(device_metrics.ssim(one, one)) == pytest.approx(1)


def test_an_output_that_is_not_finite_is_found_on_a_device(pairs, scale):
    broken = lambda x: F.interpolate(x, scale_factor=scale) * math.nan  # noqa: E731
    with pytest.raises(DivergedError, match="not finite"):
        _score_on_device(broken, pairs, scale, CPU, False, with_ssim=True)


class Watching(nn.Module):
    """Keeps what float32 means on CUDA while it runs."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.seen = scale, []
        self.architecture = SimpleNamespace(scale=scale, min_size=1, tile_invariant=True, colours="rgb")

    def forward(self, x):
        self.seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return F.interpolate(x, scale_factor=self.scale)


def test_judging_and_upscaling_are_in_true_float32(pairs, scale):
    network, before = Watching(scale), torch.backends.cudnn.allow_tf32
    evaluate(network, pairs, scale, CPU)
    Upscaler(network, CPU).upscale(pairs[0].lr)
    assert set(network.seen) == {(False, False)}
    assert torch.backends.cudnn.allow_tf32 == before


def test_others_may_go_first_between_photographs(pairs, scale):
    calls = []
    evaluate(Nearest(scale), pairs, scale, CPU, between=lambda: calls.append(len(calls)))
    assert calls == list(range(len(pairs)))
