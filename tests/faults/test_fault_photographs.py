"""Photographs as cameras and phones leave them: damaged EXIF, colour profiles, and what lies beside them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from srnas.nas.images.colour import srgb_profile, to_srgb
from srnas.nas.images.listing import list_images
from srnas.nas.images.pairs import load_pairs
from srnas.nas.images.photos import load_folder, load_photo, load_set
from srnas.search_space import InputError

FILES = Path(__file__).parent / "files"


def as_stored(name):
    with Image.open(FILES / name) as image:
        return np.asarray(image.convert("RGB"))


def taken(folder, *files):
    folder.mkdir(exist_ok=True)
    for file in files:
        shutil.copy(FILES / file, folder)
    return folder


@pytest.mark.parametrize("file", ["exif_rational.jpg", "exif_text.jpg"])
def test_an_image_with_damaged_exif_is_turned_upright_and_said(tmp_path, photo, file):
    folder = taken(tmp_path / "photos", file)
    photo(folder / "a.png")
    found = load_folder(folder)
    one = found.photos[1]
    # Orientation 6: the right side of the stored image is the top.
    np.testing.assert_array_equal(one.pixels, np.rot90(as_stored(file), -1))
    assert one.pixels.shape == (80, 64, 3)
    assert found.notes == (f"photos: 1 with damaged EXIF, of which only the orientation is used ({file})",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(tmp_path, orientation):
    from PIL import ImageOps

    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(load_photo(tmp_path / "a.png", tmp_path).pixels, expected)


def test_all_bad_files_are_named_at_once_whatever_their_decoder_raises(tmp_path, photo, monkeypatch):
    photo(tmp_path / "good.png")
    for name in ("a.png", "b.jpg", "c.tif", "d.webp", "e.bmp"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "f.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    with pytest.raises(InputError) as caught:
        load_folder(tmp_path)
    assert all(f"'{name}' (" in str(caught.value) for name in ("a.png", "b.jpg", "c.tif", "d.webp", "e.bmp", "f.png"))

    class OddError(Exception):
        """No error that anybody lists."""

    def odd(*_):
        raise OddError

    monkeypatch.setattr(ImageFile.ImageFile, "load", odd)
    with pytest.raises(InputError, match=r"'good.png' \(OddError\)"):
        load_folder(tmp_path)


def test_a_wide_gamut_profile_is_converted_and_said(tmp_path):
    folder = taken(tmp_path / "photos", "wide_gamut.jpg", "srgb_profile.jpg")
    found = load_folder(folder)
    by_name = {one.name: one.pixels.astype(int) for one in found.photos}
    raw = as_stored("wide_gamut.jpg").astype(int)
    with Image.open(FILES / "wide_gamut.jpg") as image:
        profile = ImageCms.ImageCmsProfile(io_of(image.info["icc_profile"]))
        expected = np.asarray(ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB")))
    np.testing.assert_array_equal(by_name["wide_gamut.jpg"], expected)
    # What the file is about: its README states 26 levels in the mean of red.
    assert abs(by_name["wide_gamut.jpg"] - raw)[..., 0].mean() == pytest.approx(26, abs=1)
    np.testing.assert_array_equal(by_name["srgb_profile.jpg"], as_stored("srgb_profile.jpg"))
    [note] = found.notes
    assert note.startswith("photos: 1 converted to sRGB from their colour profile (")
    assert note.endswith("(wide_gamut.jpg)")


def io_of(profile):
    import io

    return io.BytesIO(profile)


def test_raw_numbers_are_kept_where_they_are_asked_for(tmp_path):
    folder = taken(tmp_path / "photos", "wide_gamut.jpg")
    for found in (load_folder(folder, raw_colours=True), load_set(folder, 2, "train", raw_colours=True)):
        np.testing.assert_array_equal(found.photos[0].pixels, as_stored("wide_gamut.jpg"))
        assert "used as they are, ignoring their colour profile" in found.notes[0]
    # Benchmarks need raw numbers.
    pairs = load_pairs(folder, 2)
    np.testing.assert_array_equal(pairs.pairs[0].hr, as_stored("wide_gamut.jpg"))
    converted = load_pairs(folder, 2, raw_colours=False)
    assert (converted.pairs[0].hr != pairs.pairs[0].hr).any()


def test_profiles_of_other_modes_are_converted():
    wide = Image.open(FILES / "wide_gamut.jpg")
    profile = wide.info["icc_profile"]
    expected = np.asarray(to_srgb(wide)[0])
    transparent = wide.copy()
    transparent.putalpha(100)
    transparent.info["icc_profile"] = profile
    converted, _ = to_srgb(transparent)
    np.testing.assert_array_equal(np.asarray(converted)[..., :3], expected)
    assert np.asarray(converted)[..., 3].tolist() == np.full(wide.size[::-1], 100).tolist()
    # A linear gray profile: half of the light is 188 in sRGB, by its formula 255 * (1.055 * 0.5 ** (1 / 2.4) - 0.055).
    gray = Image.new("L", (4, 4), 128)
    gray.info["icc_profile"] = srgb_profile()
    assert to_srgb(gray)[0].getpixel((0, 0)) == 128


def test_a_damaged_profile_is_said_and_taken_for_srgb(tmp_path, photo):
    pixels = photo(tmp_path / "a.png", icc_profile=b"no profile")
    found = load_folder(tmp_path)
    np.testing.assert_array_equal(found.photos[0].pixels, pixels)
    assert "1 with a colour profile that cannot be used, taken for sRGB (a.png)" in found.notes[0]


def test_the_profile_of_what_is_written_is_srgb_and_always_the_same():
    first = srgb_profile()
    srgb_profile.cache_clear()
    assert srgb_profile() == first
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io_of(first)))


def test_an_upscaled_photograph_says_that_it_is_srgb(run, ws, tmp_path):
    given = ("--trial", 1, "--workspace", ws)
    for name, options, expected in (("a.png", (), srgb_profile()), ("b.png", ("--raw-colours",), None)):
        code, _, err = run("upscale", FILES / "wide_gamut.jpg", tmp_path / name, *given, *options)
        assert code == 0, err
        with Image.open(tmp_path / name) as written, Image.open(FILES / "wide_gamut.jpg") as source:
            assert written.info["icc_profile"] == (expected or source.info["icc_profile"])


def test_links_are_followed_and_what_is_left_out_is_counted(tmp_path, photo):
    root, other = tmp_path / "photos", tmp_path / "other"
    photo(root / "a.png")
    photo(other / "deep" / "b.png")
    (root / "linked").symlink_to(other)
    (root / "file.png").symlink_to(root / "a.png")
    (root / "again").symlink_to(other / "deep")
    (other / "deep" / "loop").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nothing.png")
    for name in ("._a.png", "__MACOSX/x.png", ".thumbnails/y.png", "@eaDir/z.png", ".c.png"):
        photo(root / name)
    (root / ".DS_Store").touch()
    found = list_images(root)
    assert found.names() == ["a.png", "again/b.png", "file.png"]
    assert found.notes == (
        "photos: skipped 5 hidden or system files or folders (._a.png, .c.png, .thumbnails and 2 more)",
        "photos: skipped 1 links that lead nowhere (gone.png)",
        "photos: skipped 2 links to folders that are read already (again/loop, linked/deep)",
    )
    assert load_folder(root).notes == found.notes


def test_folders_that_cannot_be_read_are_named(tmp_path, photo, monkeypatch):
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "locked" / "b.png")
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr("os.scandir", locked)
    found = list_images(tmp_path / "photos")
    assert found.names() == ["a.png"]
    assert found.notes == ("photos: skipped 1 files or folders that cannot be read (locked)",)


def test_a_folder_of_nothing_but_what_is_left_out_says_so(tmp_path, photo):
    photo(tmp_path / "photos" / "._a.png")
    with pytest.raises(InputError, match=r"it holds none \(photos: skipped 1 hidden or system files or folders"):
        load_folder(tmp_path / "photos")


def test_names_that_are_no_text_are_read(tmp_path, photo):
    photo(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")
    found = load_folder(tmp_path)
    assert [one.name for one in found.photos] == [r"\udcff.png"]
    assert len(found.fingerprint) == 12
