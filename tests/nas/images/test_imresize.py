import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from srnas.nas.images.imresize import imresize

DATA = Path(os.environ.get("SRNAS_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no reference photographs in '{DATA}'")

FACTORS = (1 / 2, 1 / 3, 1 / 4, 2, 3, 4)
# Keys' kernel (a = -1/2) at distances 1/4, 3/4, 5/4, 7/4 is 111, 29, -9, -3 over 128. Halving widens it by 2.
HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


def halving_matrix(size):
    """The operator on a side of ``size`` as a matrix; taps beyond the border read the border pixel."""
    matrix = np.zeros((size // 2, size))
    for row in range(size // 2):
        for tap, weight in enumerate(HALVING):
            matrix[row, min(max(2 * row - 3 + tap, 0), size - 1)] += weight
    return matrix


def rounded(values):
    return np.clip(np.floor(values + 0.5), 0, 255)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", FACTORS)
@given(value=st.integers(0, 255), height=st.integers(1, 20), width=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_constant_stays_constant(scale, value, height, width):
    image = np.full((height, width, 3), value, np.uint8)
    assert (imresize(image, scale) == value).all()
    np.testing.assert_allclose(imresize(image.astype(np.float64), scale), value, rtol=1e-12)


@pytest.mark.parametrize("scale", FACTORS)
def test_ramp_stays_linear_in_the_interior(scale):
    rows, columns = np.meshgrid(np.arange(48.0), np.arange(36.0), indexing="ij")
    resized = imresize(np.stack([rows, columns, 2 * rows - columns], 2), scale)
    # Pixel i of the output is centred at (i + 1/2) / scale - 1/2 of the input; the kernel reproduces lines.
    row, column = ((np.arange(size) + 0.5) / scale - 0.5 for size in resized.shape[:2])
    row, column = np.meshgrid(row, column, indexing="ij")
    # The kernel reaches 2 pixels of the coarser grid beyond its centre.
    margin = 2 * max(1, round(scale)) + 1
    inner = (slice(margin, -margin), slice(margin, -margin))
    expected = np.stack([row, column, 2 * row - column], 2)
    np.testing.assert_allclose(resized[inner], expected[inner], atol=1e-9)


def test_float_is_neither_rounded_nor_clipped():
    image = np.zeros((32, 28, 1))
    image[8:24, 6:22] = 255
    halved = imresize(image, 1 / 2)
    expected = np.einsum("ia,jb,abc->ijc", halving_matrix(32), halving_matrix(28), image)
    assert halved.dtype == np.float64
    assert halved.min() < 0
    assert halved.max() > 255
    np.testing.assert_allclose(halved, expected, atol=1e-9)


def test_uint8_is_rounded_after_each_pass_and_rows_come_first():
    image = noise(48, 40)
    vertical, horizontal = halving_matrix(48), halving_matrix(40)

    def down(x):
        return np.einsum("ia,abc->ibc", vertical, x)

    def across(x):
        return np.einsum("jb,abc->ajc", horizontal, x)

    halved = imresize(image, 1 / 2)
    assert halved.dtype == np.uint8
    np.testing.assert_array_equal(halved, rounded(across(rounded(down(image)))))
    # The other two conventions give other pixels here, so the equality above tells them apart.
    assert (halved != rounded(across(down(image)))).any()
    assert (halved != rounded(down(rounded(across(image))))).any()


def test_doubling_an_impulse_draws_the_kernel():
    image = np.zeros((1, 9, 1))
    image[0, 4] = 128
    # Keys' kernel at the distances of the comment above, times 128.
    expected = [0, 0, 0, 0, 0, -3, -9, 29, 111, 111, 29, -9, -3, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(imresize(image, 2)[0, :, 0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("scale", "shape"),
    [(1 / 2, (4, 5)), (1 / 3, (3, 4)), (1 / 4, (2, 3)), (2, (14, 20)), (3, (21, 30)), (4, (28, 40))],
)
def test_shape_is_rounded_up(scale, shape):
    assert imresize(noise(7, 10), scale).shape == (*shape, 3)


@given(side=st.integers(1, 700), factor=st.sampled_from((2, 3, 4)))
@settings(max_examples=30, deadline=None)
def test_multiples_divide_exactly(side, factor):
    image = np.zeros((factor * side, factor, 1), np.uint8)
    assert imresize(image, 1 / factor).shape == (side, 1, 1)


def test_input_is_left_alone():
    image = noise(12, 12)
    before = image.copy()
    imresize(image, 1 / 3)
    np.testing.assert_array_equal(image, before)


@needs_data
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14)])
def test_published_low_resolution_images_are_reproduced(name, count, scale):
    folder = DATA / "test" / name
    paths = sorted((folder / "HR").iterdir())
    differing = {}
    for path in paths:
        hr = np.asarray(PillowImage.open(path).convert("RGB"))
        height, width = (side - side % scale for side in hr.shape[:2])
        published = np.asarray(PillowImage.open(folder / "LR_bicubic" / f"X{scale}" / path.name).convert("RGB"))
        reduced = imresize(hr[:height, :width], 1 / scale)
        assert reduced.shape == published.shape
        differing[path.stem] = int((reduced != published).sum())
    assert len(paths) == count
    assert differing == dict.fromkeys(differing, 0)
