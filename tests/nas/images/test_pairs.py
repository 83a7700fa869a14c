from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from srnas.nas.images.imresize import imresize
from srnas.nas.images.pairs import Pair, load_pairs, make_pairs, to_image, to_tensor
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import Photo, PhotoSet, load_folder
from srnas.search_space import InputError

CPU = torch.device("cpu")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_pair(height, width, scale, seed=0):
    """LR and HR that have nothing to do with each other, so that each is looked for by its own pixels."""
    return Pair("a", noise(height, width, seed), noise(scale * height, scale * width, seed + 100), False)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(batch):
    """Return a batch as ``(B, P, P, 3)`` in 8 bits, and check that it held nothing else."""
    scaled = batch * 255
    rounded = scaled.round()
    assert (scaled - rounded).abs().max() < 1e-4
    return rounded.to(torch.uint8).permute(0, 2, 3, 1).numpy()


def symmetries(patch):
    """The 8 symmetries of the square: quarter turns, and their mirror images."""
    return [np.rot90(side, turns) for side in (patch, np.fliplr(patch)) for turns in range(4)]


def every_patch(pairs, scale, patch):
    """Return the HR patch, photograph, position and symmetry of every LR patch, by the LR patch's bytes."""
    found = {}
    for number, pair in enumerate(pairs):
        height, width = pair.lr.shape[:2]
        for top in range(height - patch + 1):
            for left in range(width - patch + 1):
                lr = pair.lr[top : top + patch, left : left + patch]
                rows = slice(scale * top, scale * (top + patch))
                columns = slice(scale * left, scale * (left + patch))
                both = zip(symmetries(lr), symmetries(pair.hr[rows, columns]), strict=True)
                for symmetry, (lr_seen, hr_seen) in enumerate(both):
                    found[lr_seen.tobytes()] = hr_seen, (number, top, left, symmetry)
    return found


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ground_truth_is_cropped_to_a_multiple_and_reduced(scale):
    photos = PhotoSet("set", (Photo("a", noise(25, 31)), Photo("b", noise(24, 36), gray=True)))
    pairs = make_pairs(photos, scale)
    assert [(pair.name, pair.gray) for pair in pairs] == [("a", False), ("b", True)]
    for photo, pair in zip(photos.photos, pairs, strict=True):
        height, width = (side // scale for side in photo.pixels.shape[:2])
        # The crop keeps the upper left corner.
        np.testing.assert_array_equal(pair.hr, photo.pixels[: height * scale, : width * scale])
        np.testing.assert_array_equal(pair.lr, imresize(pair.hr, 1 / scale))
        assert pair.lr.shape == (height, width, 3)
        assert pair.lr.dtype == pair.hr.dtype == np.uint8


def test_progress_of_the_reduction_is_told():
    shares = []
    make_pairs(PhotoSet("set", tuple(Photo(str(i), noise(8, 8)) for i in range(4))), 2, shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_patch_is_one_symmetry_of_aligned_crops(scale):
    pairs = [random_pair(6, 9, scale, 1), random_pair(5, 4, scale, 2), random_pair(4, 7, scale, 3)]
    table = every_patch(pairs, scale, 4)
    lr, hr = PatchSampler(pairs, scale, 4, CPU).draw(200, generator())
    for lr_patch, hr_patch in zip(pixels(lr), pixels(hr), strict=True):
        expected, _ = table[lr_patch.tobytes()]
        np.testing.assert_array_equal(hr_patch, expected)


def test_positions_and_symmetries_are_drawn_uniformly():
    pairs = [random_pair(4, 5, 2, 1), random_pair(3, 6, 2, 2)]
    table = every_patch(pairs, 2, 3)
    # 2 x 3 and 1 x 4 positions under 8 symmetries, all different to look at.
    assert len(table) == 80
    lr, _ = PatchSampler(pairs, 2, 3, CPU).draw(8000, generator())
    drawn = Counter(table[patch.tobytes()][1] for patch in pixels(lr))
    # 100 each are expected with a standard deviation of 10; the seed is fixed.
    assert len(drawn) == 80
    assert min(drawn.values()) > 60
    assert max(drawn.values()) < 140


def test_photograph_as_small_as_a_patch_is_drawn_whole():
    pair = random_pair(3, 3, 2)
    lr, _ = PatchSampler([pair], 2, 3, CPU).draw(64, generator())
    seen = {patch.tobytes() for patch in pixels(lr)}
    assert seen == {patch.tobytes() for patch in symmetries(pair.lr)}


def test_equal_generators_draw_equal_batches():
    sampler = PatchSampler([random_pair(20, 20, 2)], 2, 4, CPU)
    first, second = generator(7), generator(7)
    for _ in range(3):
        for mine, theirs in zip(sampler.draw(5, first), sampler.draw(5, second), strict=True):
            assert torch.equal(mine, theirs)
    # A generator moves on, and another seed draws other patches.
    assert not torch.equal(sampler.draw(5, first)[0], sampler.draw(5, first)[0])
    assert not torch.equal(sampler.draw(5, generator(7))[0], sampler.draw(5, generator(8))[0])


def test_drawing_leaves_the_global_random_state_alone():
    sampler = PatchSampler([random_pair(6, 6, 2)], 2, 4, CPU)
    before = torch.get_rng_state()
    sampler.draw(5, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_are_float_in_0_to_1_and_channels_last():
    extremes = np.array([0, 255], np.uint8).repeat(3).reshape(1, 2, 3)
    pair = Pair("a", np.tile(extremes, (6, 3, 1)), np.tile(extremes, (18, 9, 1)), False)
    lr, hr = PatchSampler([pair], 3, 4, CPU).draw(2, generator())
    assert lr.shape == (2, 3, 4, 4)
    assert hr.shape == (2, 3, 12, 12)
    for batch in (lr, hr):
        assert batch.dtype == torch.float32
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert set(batch.unique().tolist()) == {0.0, 1.0}


def test_photograph_smaller_than_a_patch_is_an_error():
    pairs = [random_pair(8, 8, 2), random_pair(9, 4, 2)]
    # In HR pixels: 5 x 2 are needed, 4 x 2 are there.
    with pytest.raises(InputError, match="at least 10 pixels a side, but the smallest has 8"):
        PatchSampler(pairs, 2, 5, CPU)


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_image_to_tensor_and_back_is_exact(seed, height, width):
    image = noise(height, width, seed)
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, height, width)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(to_image(tensor), image)


def test_all_256_values_survive_the_round_trip():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    np.testing.assert_array_equal(to_image(to_tensor(image)), image)


def test_image_is_clamped_and_rounded_to_the_nearest():
    values = torch.tensor([-0.3, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.7])
    image = to_image(values.expand(1, 3, 1, 6))
    assert image.dtype == np.uint8
    assert image.shape == (1, 6, 3)
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 1, 254, 255, 255])


def write(folder, **images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        PillowImage.fromarray(image).save(folder / f"{name}.png")


@pytest.fixture
def data(tmp_path):
    """Return a folder of two photographs in ``HR``."""
    folder = tmp_path / "Set2"
    write(folder / "HR", a=noise(51, 65, 1), b=noise(48, 60, 2))
    return folder


def halves(seed=0):
    """LR images of the photographs above that have nothing to do with them."""
    return {"a": noise(25, 32, seed), "b": noise(24, 30, seed + 1)}


def test_photographs_of_a_folder_are_reduced(data):
    for folder in (data, data / "HR"):
        found = load_pairs(folder, 2)
        assert (found.name, found.lr, found.folders) == (folder.name, "imresize", (data / "HR",))
        assert found.notes == (f"{folder.name}: reduced by 2 with MATLAB's bicubic imresize",)
        for pair, expected in zip(found.pairs, make_pairs(load_folder(data / "HR"), 2), strict=True):
            assert pair.name == expected.name
            np.testing.assert_array_equal(pair.lr, expected.lr)
            np.testing.assert_array_equal(pair.hr, expected.hr)


LR_FOLDERS = ["LR_bicubic/X2", "LR/x2", "LR_bicubic_X2", "LRx2", "LR_x2", "X2", "LR_bicubic", "LR"]


@pytest.mark.parametrize("place", LR_FOLDERS)
@pytest.mark.parametrize("suffix", ["", "x2", "_X2"])
def test_lr_images_beside_hr(data, place, suffix):
    write(data / place, **{name + suffix: image for name, image in halves().items()})
    (data / "LR").mkdir(exist_ok=True)
    write(data / "LR_unknown" / "X2", a=noise(17, 21))
    found = load_pairs(data, 2)
    assert (found.lr, found.folders) == (str(data / place), (data / "HR", data / place))
    # The LR images of another reduction are passed over.
    assert found.notes == (
        f"Set2: 'HR' is used with LR images of '{place}'; 1 other images are skipped (LR_unknown/X2)",
    )
    for pair, (name, lr) in zip(found.pairs, halves().items(), strict=True):
        assert pair.name == f"{name}.png"
        np.testing.assert_array_equal(pair.lr, lr)
        # Cropped to a multiple of the scale.
        assert pair.hr.shape == (2 * lr.shape[0], 2 * lr.shape[1], 3)


def test_the_first_place_is_taken(data):
    for seed, place in enumerate(reversed(LR_FOLDERS)):
        write(data / place, **halves(10 * seed))
        np.testing.assert_array_equal(load_pairs(data, 2).pairs[0].lr, halves(10 * seed)["a"])


def test_a_named_lr_folder(data, tmp_path):
    write(data / "LR", **halves())
    write(tmp_path / "mine", **halves(7), c=noise(8, 8))
    for folder in (data, data / "HR"):
        found = load_pairs(folder, 2, lr=tmp_path / "mine")
        np.testing.assert_array_equal(found.pairs[1].lr, halves(7)["b"])
        assert found.notes[-1] == "mine: 1 images have no photograph"


def test_all_mismatches_are_listed(data):
    write(data / "HR", c=noise(40, 40), d=noise(40, 40))
    write(data / "LR", a=noise(25, 33), b=halves()["b"], d=noise(20, 20))
    PillowImage.fromarray(noise(20, 20)).save(data / "LR" / "d.jpg")
    with pytest.raises(InputError) as raised:
        load_pairs(data, 2)
    assert str(raised.value) == (
        f"photographs of 'Set2' must have LR images of 1/2 of their size in '{data / 'LR'}', but "
        "several files are 'd', 'a.png' needs 32x25 and has 33x25, 'c.png' has none; give another --lr or --scale."
    )


def test_small_photographs_are_left_out_and_said(data):
    write(data / "HR", c=noise(15, 90))
    note = "Set2: skipped 1 of 3 photographs smaller than 16x16 pixels (the blocks and the SSIM window)"
    assert load_pairs(data, 2).notes[0] == note
    write(data / "LR", **halves())
    found = load_pairs(data, 2)
    assert (len(found.pairs), found.notes) == (2, (note,))
    assert len(load_pairs(data, 2, min_size=25).pairs) == 1
    with pytest.raises(InputError, match="must be at least 52x52 pixels"):
        load_pairs(data, 2, min_size=26)


def test_conversions_are_said(data):
    PillowImage.fromarray(noise(40, 40)[..., 0]).save(data / "HR" / "c.png")
    found = load_pairs(data, 2)
    assert [pair.gray for pair in found.pairs] == [False, False, True]
    assert "1 gray, used as RGB" in found.notes[0]


@pytest.mark.parametrize("missing", [{"data": "none"}, {"lr": "none"}])
def test_folders_must_exist(data, tmp_path, missing):
    given = {"data": data, "scale": 2} | {key: tmp_path / name for key, name in missing.items()}
    with pytest.raises(InputError, match="a folder of photographs must exist"):
        load_pairs(**given)


def test_reduced_photographs_are_kept_and_found_again(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 17, 22, 3), dtype=np.uint8)
    photos = PhotoSet("some", tuple(Photo(f"{i}.png", one, False) for i, one in enumerate(pixels)))
    fresh = make_pairs(photos, 2)
    kept = make_pairs(photos, 2, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr("srnas.nas.images.pairs.imresize", None)
        found = make_pairs(photos, 2, folder=tmp_path)
    for first, second, third in zip(fresh, kept, found, strict=True):
        assert first.lr.shape == (8, 11, 3)
        assert (second.lr == first.lr).all()
        assert (third.lr == first.lr).all()
    # Of a damaged file nothing is believed, and other photographs have another.
    file.write_bytes(file.read_bytes()[:-9])
    assert (make_pairs(photos, 2, folder=tmp_path)[2].lr == fresh[2].lr).all()
    make_pairs(PhotoSet("some", photos.photos[:2]), 2, folder=tmp_path)
    assert len([*tmp_path.iterdir()]) == 2


def test_of_several_reductions_the_bicubic_one_is_taken(tmp_path):
    for name, size, level in (("HR/a", 40, 9), ("LR/a_LRBI_x2", 20, 1), ("LR/a_LRDN_x2", 20, 2)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        PillowImage.new("RGB", (size, size), (level,) * 3).save(path)
    [pair] = load_pairs(tmp_path, 2).pairs
    assert pair.lr.max() == 1
    with pytest.raises(InputError, match=r"several files are of 'a\.png'"):
        load_pairs(tmp_path, 2, hr=tmp_path / "HR", lr=tmp_path / "LR")
