import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage

from srnas.nas.images.photos import Photo, PhotoSet, all_notes, embedded_photos, load_folder
from srnas.search_space import InputError


def noise(height=12, width=17, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, PillowImage.Image) else PillowImage.fromarray(pixels)
    image.save(path, **options)


def load_one(folder):
    """Return the only photograph of ``folder`` and the notes."""
    photos = load_folder(folder)
    (photo,) = photos.photos
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.ndim == 3
    assert photo.pixels.shape[2] == 3
    return photo, photos.notes


def exif(orientation):
    tags = PillowImage.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.fixture(scope="module")
def embedded():
    return {part: embedded_photos(part) for part in ("train", "held-out", "held-out-before")}


def test_embedded_photographs(embedded):
    shapes = {part: {photo.name: photo.pixels.shape for photo in photos.photos} for part, photos in embedded.items()}
    # Sizes as documented in skimage.data and sklearn.datasets.
    assert shapes == {
        "train": {
            "coffee": (400, 600, 3),
            "chelsea": (300, 451, 3),
            "rocket": (427, 640, 3),
            "motorcycle_left": (500, 741, 3),
            "motorcycle_right": (500, 741, 3),
            "flower": (427, 640, 3),
        },
        "held-out": {
            "astronaut": (228, 228, 3),
            "china": (228, 228, 3),
            "camera": (228, 228, 3),
            "brick": (228, 228, 3),
            "grass": (228, 228, 3),
            "gravel": (228, 228, 3),
            "coins": (228, 228, 3),
            "page": (191, 228, 3),
            "text": (172, 228, 3),
            "hubble_deep_field": (228, 228, 3),
        },
        "held-out-before": {"astronaut": (512, 512, 3), "china": (427, 640, 3)},
    }
    assert [photos.name for photos in embedded.values()] == ["embedded-train", "embedded-crops", "embedded-held-out"]
    for photos in embedded.values():
        assert photos.notes == ()
        for photo in photos.photos:
            assert photo.pixels.dtype == np.uint8
            assert photo.gray == (photo.pixels == photo.pixels[..., :1]).all()
            assert photo.pixels.std() > 10


def test_held_out_are_central_crops(embedded):
    photo = embedded["held-out"].photos[0]
    whole = embedded["held-out-before"].photos[0]
    assert photo.name == whole.name == "astronaut"
    np.testing.assert_array_equal(photo.pixels, whole.pixels[142:370, 142:370])


def test_judging_takes_no_more_pixels_than_before(embedded):
    pixels = {part: sum(photo.pixels[..., 0].size for photo in photos.photos) for part, photos in embedded.items()}
    assert pixels["held-out"] <= pixels["held-out-before"]


def test_embedded_parts_share_no_photograph(embedded):
    names = {part: {photo.name for photo in photos.photos} for part, photos in embedded.items()}
    assert names["train"].isdisjoint(names["held-out"] | names["held-out-before"])
    assert len(names["held-out"]) == len({photo.pixels.tobytes() for photo in embedded["held-out"].photos}) == 10


def test_fingerprints_of_the_embedded_photographs_are_stable(embedded):
    assert all(embedded_photos(part).fingerprint == photos.fingerprint for part, photos in embedded.items())
    assert len({photos.fingerprint for photos in embedded.values()}) == 3
    held_out = embedded["held-out"]
    assert held_out.described == f"embedded-crops@{held_out.fingerprint} (10 photographs)"


def test_fingerprint_changes_with_any_pixel_name_shape_and_kind():
    def fingerprint(name="a", pixels=noise(), gray=False):
        return PhotoSet("set", (Photo(name, pixels, gray),)).fingerprint

    changed = noise()
    changed[-1, -1, -1] ^= 1
    others = [
        fingerprint(pixels=changed),
        fingerprint(name="b"),
        fingerprint(pixels=noise().reshape(17, 12, 3)),
        fingerprint(gray=True),
        PhotoSet("set", (Photo("a", noise()),) * 2).fingerprint,
    ]
    assert fingerprint() == fingerprint()
    assert len({fingerprint(), *others}) == 6
    # The name of the set and its notes are not content.
    assert PhotoSet("other", (Photo("a", noise()),), ("note",)).fingerprint == fingerprint()


LOSSLESS = {"a.png": {}, "b/c.bmp": {}, "b/d/e.tif": {}, "f.tiff": {"compression": "tiff_lzw"}, "G.WEBP": {}}


def test_nested_folder_of_lossless_formats(tmp_path):
    for seed, (name, options) in enumerate(LOSSLESS.items()):
        extra = {"lossless": True} if name.endswith("WEBP") else options
        save(tmp_path / "photos" / name, noise(seed=seed), **extra)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    photos = load_folder(tmp_path / "photos")
    assert photos.name == "photos"
    assert photos.notes == ()
    found = {photo.name: photo.pixels for photo in photos.photos}
    assert found.keys() == LOSSLESS.keys()
    for seed, name in enumerate(LOSSLESS):
        np.testing.assert_array_equal(found[name], noise(seed=seed), err_msg=name)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp"])
def test_lossy_formats(tmp_path, name):
    ramp = np.arange(32, dtype=np.uint8)[:, None, None] * np.ones((1, 40, 3), np.uint8) * 6
    save(tmp_path / name, ramp, quality=95)
    photo, notes = load_one(tmp_path)
    assert photo.name == name
    assert photo.pixels.shape == (32, 40, 3)
    assert np.abs(photo.pixels.astype(int) - ramp).max() <= 8
    assert notes == ()


def test_order_does_not_depend_on_the_order_of_writing(tmp_path):
    for folder, names in (("x", "abc"), ("y", "cab")):
        for name in names:
            save(tmp_path / folder / f"{name}.png", noise(seed=ord(name)))
    assert load_folder(tmp_path / "x").fingerprint == load_folder(tmp_path / "y").fingerprint


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"must exist, but got '.*absent'"):
        load_folder(tmp_path / "absent")


def test_file_in_place_of_a_folder(tmp_path):
    save(tmp_path / "a.png", noise())
    with pytest.raises(InputError, match="must exist"):
        load_folder(tmp_path / "a.png")


def test_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"must hold images \(\.png.*but it holds none"):
        load_folder(tmp_path)


# Pillow also warns about a TIFF that ends too early.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_truncated_file_is_named(tmp_path, suffix):
    save(tmp_path / f"whole.{suffix}", noise(40, 40))
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"half.{suffix}").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=rf"cannot decode 'half\.{suffix}' \(") as caught:
        load_folder(tmp_path)
    assert "whole" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_truncated_file_of_several_pages_is_named(tmp_path):
    pages = [PillowImage.fromarray(noise(40, 40, seed)) for seed in range(3)]
    save(tmp_path / "half.tif", pages[0], save_all=True, append_images=pages[1:])
    data = (tmp_path / "half.tif").read_bytes()
    (tmp_path / "half.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cannot decode 'half\.tif' \("):
        load_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image", bytes(1000)])
def test_file_that_is_no_image_is_named(tmp_path, content):
    save(tmp_path / "good.png", noise())
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot decode 'bad\.png' \("):
        load_folder(tmp_path)


def test_broken_files_are_named_together(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"'a\.png'.*'b\.png'.*'c\.png'.*'d\.png'.*'e\.png'.*; repair or remove"):
        load_folder(tmp_path)


@pytest.mark.parametrize("side", [9_450, 11_000, 60_000])
def test_a_file_that_claims_to_be_huge_is_refused_unread(tmp_path, side):
    """A few kilobytes of zeros that say they are an image of 89.3, 121 or 3600 megapixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(InputError, match="cannot decode 'bomb.png'"):
        load_folder(tmp_path)


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32)])
def test_16_bit_gray_is_reduced_to_8_bits(tmp_path, suffix, dtype):
    save(tmp_path / f"a.{suffix}", np.array([[0, 128, 129, 257, 32896, 65406, 65407, 65535]], dtype))
    photo, notes = load_one(tmp_path)
    # 65535 becomes 255: value / 257, rounded half up.
    expected = [0, 0, 1, 1, 128, 254, 255, 255]
    np.testing.assert_array_equal(photo.pixels[0], np.repeat(expected, 3).reshape(8, 3))
    assert photo.gray
    assert any("16-bit, reduced to 8 bits" in note for note in notes)


@pytest.mark.parametrize("value", [-1, 65536])
def test_16_bit_gray_out_of_range_is_named(tmp_path, value):
    save(tmp_path / "a.tif", np.array([[0, value]], np.int32))
    with pytest.raises(
        InputError, match=rf"cannot decode 'a\.tif' \(values must lie in 0 to 65535, but they span .*{value}"
    ):
        load_folder(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_opaque_alpha_is_dropped(tmp_path, suffix):
    opaque = np.dstack([noise(), np.full((12, 17), 255, np.uint8)])
    save(tmp_path / f"a.{suffix}", opaque)
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, noise())
    assert notes == (f"{tmp_path.name}: 1 with an opaque alpha channel, dropped (a.{suffix})",)


def test_transparency_is_laid_on_black(tmp_path):
    # Colour times alpha / 255: 200 * 51 / 255 = 40, 100 * 51 / 255 = 20, 50 * 51 / 255 = 10.
    save(tmp_path / "a.png", np.array([[(200, 100, 50, 255), (200, 100, 50, 51), (200, 100, 50, 0)]], np.uint8))
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, [[(200, 100, 50), (40, 20, 10), (0, 0, 0)]])
    assert notes == (f"{tmp_path.name}: 1 partly transparent, laid on black (a.png)",)


def test_transparent_gray_is_gray_and_laid_on_black(tmp_path):
    save(tmp_path / "a.png", np.array([[(200, 255), (200, 51)]], np.uint8))
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, [[(200, 200, 200), (40, 40, 40)]])
    assert photo.gray
    assert len(notes) == 2


def palette_image():
    image = PillowImage.fromarray(np.array([[0, 1, 2, 1]], np.uint8), "L")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return image


def test_palette(tmp_path):
    save(tmp_path / "a.png", palette_image())
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, [[(10, 20, 30), (40, 50, 60), (70, 80, 90), (40, 50, 60)]])
    assert not photo.gray
    # The same colours stored otherwise: nothing to note.
    assert notes == ()


def test_palette_with_a_transparent_colour(tmp_path):
    save(tmp_path / "a.png", palette_image(), transparency=1)
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, [[(10, 20, 30), (0, 0, 0), (70, 80, 90), (0, 0, 0)]])
    assert len(notes) == 1
    assert "partly transparent, laid on black" in notes[0]


def test_cmyk(tmp_path):
    inks = np.array([[(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]], np.uint8)
    save(tmp_path / "a.tif", PillowImage.frombytes("CMYK", (5, 1), inks.tobytes()))
    photo, notes = load_one(tmp_path)
    # Without ink white; cyan, magenta and yellow take red, green and blue away; black takes all.
    np.testing.assert_array_equal(
        photo.pixels, [[(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]]
    )
    assert notes == (f"{tmp_path.name}: 1 CMYK, converted to RGB (a.tif)",)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_gray(tmp_path, suffix):
    values = noise()[..., 0]
    save(tmp_path / f"a.{suffix}", values)
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, values[..., None].repeat(3, 2))
    assert photo.gray
    assert notes == (f"{tmp_path.name}: 1 gray, used as RGB (a.{suffix})",)


def test_bilevel_is_gray(tmp_path):
    save(tmp_path / "a.png", np.array([[True, False]]))
    photo, _ = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, [[(255, 255, 255), (0, 0, 0)]])
    assert photo.gray


def test_conversions_are_noted_together(tmp_path):
    for name in "abcde":
        save(tmp_path / f"{name}.png", noise()[..., 0] if name != "c" else noise())
    notes = load_folder(tmp_path).notes
    assert notes == (f"{tmp_path.name}: 4 gray, used as RGB (a.png, b.png, d.png and 1 more)",)


# EXIF 2.3, tag 0x0112: which side of the scene row 0 and column 0 of the file are.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path, orientation):
    save(tmp_path / "a.png", noise(), exif=exif(orientation))
    photo, _ = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, UPRIGHT[orientation](noise()))


def test_first_page_of_several_is_used(tmp_path):
    save(tmp_path / "a.tif", noise(), save_all=True, append_images=[PillowImage.fromarray(noise(8, 8, seed=1))])
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, noise())
    assert notes == (f"{tmp_path.name}: 1 of several pages or frames, the first is used (a.tif)",)


def test_first_frame_of_an_animation_is_used(tmp_path):
    save(tmp_path / "a.png", noise(), save_all=True, append_images=[PillowImage.fromarray(noise(seed=1))])
    photo, notes = load_one(tmp_path)
    np.testing.assert_array_equal(photo.pixels, noise())
    assert notes == (f"{tmp_path.name}: 1 of several pages or frames, the first is used (a.png)",)


def sized(*sizes):
    photos = (Photo(f"{height}x{width}", noise(height, width)) for height, width in sizes)
    return PhotoSet("mine", tuple(photos), ("earlier",))


def test_too_small_photographs_are_left_out_with_a_note():
    kept = sized((20, 20), (19, 40), (40, 19), (30, 25)).at_least(20, "a patch")
    assert [photo.name for photo in kept.photos] == ["20x20", "30x25"]
    assert kept.name == "mine"
    assert kept.notes == ("earlier", "mine: skipped 2 of 4 photographs smaller than 20x20 pixels (a patch)")


def test_nothing_is_said_where_all_are_large_enough():
    photos = sized((20, 20), (30, 25))
    assert photos.at_least(20, "a patch") is photos


def test_all_too_small_is_an_error():
    # The largest is the one whose shorter side is longest.
    with pytest.raises(
        InputError, match=r"'mine' must be at least 20x20 pixels \(a patch\), but the largest of 2 is 12x18;"
    ):
        sized((10, 90), (18, 12)).at_least(20, "a patch")


def test_notes_of_all_sets_are_joined_in_order():
    assert all_notes(PhotoSet("a", (), ("1", "2")), PhotoSet("b", (), ("3",))) == ["1", "2", "3"]


def test_shared_photographs_are_said(embedded):
    train, held_out = embedded["train"], embedded["held-out"]
    assert all_notes(train, held_out) == []
    leaked = PhotoSet("leaked", (*held_out.photos, train.photos[0]))
    assert all_notes(train, leaked) == [
        "warning: 1 photographs of 'leaked' are in the training set too (coffee), so their PSNR is too high"
    ]


def test_photographs_of_other_sides_are_others():
    one, other = (Photo("flat", np.zeros((*sides, 3), np.uint8)) for sides in ((12, 8), (8, 12)))
    assert all_notes(PhotoSet("a", (one,)), PhotoSet("b", (other,))) == []
