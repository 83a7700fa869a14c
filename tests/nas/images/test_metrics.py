import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from srnas.nas.images.imresize import imresize
from srnas.nas.images.metrics import luma, psnr_y_db, ssim_y

DATA = Path(os.environ.get("SRNAS_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no reference photographs in '{DATA}'")


def flat(value, shape=(24, 20)):
    return np.full((*shape, 3), value, np.uint8)


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def gray_noise(seed):
    return noise(seed)[..., :1].repeat(3, 2)


@pytest.mark.parametrize(
    ("rgb", "y"),
    # Rec. ITU-R BT.601 as in MATLAB's rgb2ycbcr: 16 + (65.481 R + 128.553 G + 24.966 B) / 255.
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81.481), ((0, 255, 0), 144.553), ((0, 0, 255), 40.966)],
)
def test_luma_of_the_corners_of_the_cube(rgb, y):
    assert luma(np.array([[rgb]], np.uint8))[0, 0] == pytest.approx(y, abs=1e-12)


def test_luma_is_not_rounded():
    # 16 + 24.966 / 255
    assert luma(np.array([[(0, 0, 1)]], np.uint8))[0, 0] == pytest.approx(16.0979059, abs=1e-7)


def test_luma_of_gray_photographs_are_their_values():
    image = gray_noise(0)
    np.testing.assert_allclose(luma(image, gray=True), image[..., 0], atol=1e-12)


@pytest.mark.parametrize("error", [1, 10, 100])
def test_psnr_of_a_constant_error(error):
    # The same error e in R, G and B is 219/255 e in Y, so PSNR = 20 log10(255 / (219/255 e)).
    assert psnr_y_db(flat(50 + error), flat(50), 2) == pytest.approx(20 * math.log10(255**2 / (219 * error)))
    # In gray values it is e.
    assert psnr_y_db(flat(50 + error), flat(50), 2, gray=True) == pytest.approx(20 * math.log10(255 / error))


def test_psnr_of_equal_images_is_infinite():
    assert psnr_y_db(noise(0), noise(0), 2) == math.inf


def test_psnr_is_symmetric_and_does_not_wrap_around():
    assert psnr_y_db(noise(0), noise(1), 2) == psnr_y_db(noise(1), noise(0), 2)
    # 0 against 255 is the largest error: 0 dB in gray values.
    assert psnr_y_db(flat(0), flat(255), 2, gray=True) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_border_of_scale_pixels_is_shaved(scale):
    hr = noise(0)
    sr = noise(1)
    sr[scale:-scale, scale:-scale] = hr[scale:-scale, scale:-scale]
    assert psnr_y_db(sr, hr, scale) == math.inf
    assert ssim_y(sr, hr, scale) == 1
    corner = flat(0)
    corner[scale, scale] = 255
    # One error of 255 among the pixels that are left.
    pixels = (24 - 2 * scale) * (20 - 2 * scale)
    assert psnr_y_db(corner, flat(0), scale, gray=True) == pytest.approx(10 * math.log10(pixels))


@pytest.mark.parametrize("gray", [False, True])
def test_ssim_of_equal_images_is_one(gray):
    assert ssim_y(gray_noise(0), gray_noise(0), 2, gray) == 1


def test_ssim_of_flat_images():
    # Without variance only the luminance term is left: (2 a b + C1) / (a^2 + b^2 + C1), C1 = (0.01 * 255)^2.
    a, b, c1 = 60.0, 180.0, 2.55**2
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert ssim_y(flat(60), flat(180), 2, gray=True) == pytest.approx(expected, rel=1e-9)


def test_ssim_is_the_formula_of_the_paper():
    # Wang et al. 2004, Eq. 13 to 16: 11x11 Gaussian of sigma 1.5 that sums to 1, K1 = 0.01, K2 = 0.03, valid windows.
    sr, hr = noise(0), (noise(0) // 2 + noise(1) // 2).astype(np.uint8)
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def mean(values):
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(values, (11, 11)), window)

    x, y = luma(sr)[2:-2, 2:-2], luma(hr)[2:-2, 2:-2]
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim_y(sr, hr, 2) == pytest.approx(ssim.mean(), rel=1e-9)
    assert 0.1 < ssim.mean() < 0.9


def read(path):
    """Return RGB and whether the file is gray."""
    with PillowImage.open(path) as image:
        return np.asarray(image.convert("RGB")), image.mode in ("L", "LA")


def photographs(name, scale):
    """Yield stem, ground truth cropped to a multiple of ``scale``, and whether it is gray."""
    for path in sorted((DATA / "test" / name / "HR").iterdir()):
        rgb, gray = read(path)
        height, width = (side - side % scale for side in rgb.shape[:2])
        yield path.stem, rgb[:height, :width], gray


def bicubic_on_rounded_y(hr, gray, scale):
    """The protocol of the published bicubic rows: Y in 8 bits, down and up in float, the result in 8 bits."""
    y = np.floor(luma(hr, gray) + 0.5)[..., None]
    up = np.clip(np.floor(imresize(imresize(y, 1 / scale), scale) + 0.5), 0, 255)
    # Gray values in 8 bits are compared as they are.
    sr, truth = (image.astype(np.uint8).repeat(3, 2) for image in (up, y))
    return psnr_y_db(sr, truth, scale, gray=True)


def mean_bicubic_psnr(name, scale, count):
    values = [bicubic_on_rounded_y(hr, gray, scale) for _, hr, gray in photographs(name, scale)]
    assert len(values) == count
    return np.mean(values)


@needs_data
@pytest.mark.parametrize(("scale", "psnr", "ssim"), [(2, 38.27, 0.9614), (3, 34.74, 0.9299), (4, 32.63, 0.9002)])
def test_published_scores_of_rcan_on_set5(scale, psnr, ssim):
    # Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018, Table 2.
    folder = DATA / "test" / "Set5" / "SR_rcan" / "RCAN" / f"X{scale}"
    pairs = [(read(folder / f"{stem}_RCAN_x{scale}.png")[0], hr) for stem, hr, _ in photographs("Set5", scale)]
    assert len(pairs) == 5
    assert round(np.mean([psnr_y_db(sr, hr, scale) for sr, hr in pairs]), 2) == psnr
    assert round(np.mean([ssim_y(sr, hr, scale) for sr, hr in pairs]), 4) == ssim


@needs_data
@pytest.mark.parametrize(("scale", "psnr"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_published_scores_of_bicubic_on_set5(scale, psnr):
    # The bicubic row of the tables of super-resolution papers.
    assert round(mean_bicubic_psnr("Set5", scale, 5), 2) == psnr


@needs_data
@pytest.mark.parametrize(("scale", "psnr"), [(2, 30.24), (3, 27.55), (4, 26.00)])
def test_published_scores_of_bicubic_on_set14(scale, psnr):
    # The bicubic row of the tables. We measure 30.2335, 27.5430 and 26.0030: the last digit of x2 and x3 is not met.
    assert mean_bicubic_psnr("Set14", scale, 14) == pytest.approx(psnr, abs=0.008)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("scale", "psnr"), [(2, 29.56), (3, 27.21), (4, 25.96)])
def test_published_scores_of_bicubic_on_bsd100(scale, psnr):
    # The bicubic row of the tables.
    assert round(mean_bicubic_psnr("BSD100", scale, 100), 2) == psnr


@needs_data
@pytest.mark.parametrize(("scale", "psnr"), [(2, 33.673), (3, 30.403), (4, 28.429)])
def test_bicubic_in_8_bit_rgb_on_set5(scale, psnr):
    # The table that comes with the photographs. We measure 33.6741, 30.4047 and 28.4302, so within 0.002 of it.
    values = [psnr_y_db(imresize(imresize(hr, 1 / scale), scale), hr, scale) for _, hr, _ in photographs("Set5", scale)]
    assert np.mean(values) == pytest.approx(psnr, abs=0.002)
