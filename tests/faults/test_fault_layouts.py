"""Folders as the field leaves them: what is taken of each, and what is refused because it is not clear."""

from pathlib import Path, PurePosixPath

import pytest

from srnas.nas.images.layouts import base_of, find_layout
from srnas.nas.images.listing import Listing
from srnas.nas.images.photos import load_set
from srnas.search_space import InputError

BASICSR = [f"{place}/{name}.png" for place in ("GTmod12", "LRbicx2", "LRbicx3", "LRbicx4", "original") for name in "ab"]
VALID = ["DIV2K_valid_HR/0801.png", *(f"DIV2K_valid_LR_bicubic/X{s}/0801x{s}.png" for s in (2, 3, 4))]
VALID += ["DIV2K_valid_LR_unknown/X2/0801x2.png"]
TRAIN = [name.replace("valid", "train").replace("0801", "0001") for name in VALID]
CROPS = ["DIV2K_train_HR_sub/0001_s001.png", "DIV2K_train_LR_bicubic/X2_sub/0001_s001.png"]
FLICKR = ["Flickr2K_HR/000001.png", "Flickr2K_LR_bicubic/X2/000001x2.png"]
EDSR = ["HR/baby.png", *(f"LR_bicubic/X{s}/babyx{s}.png" for s in (2, 3, 4))]
RCAN = [f"{side}/Set5/x{s}/baby_{end}_x{s}.png" for side, end in (("HR", "HR"), ("LR/LRBI", "LRBI")) for s in (2, 3, 4)]
RCAN += ["LR/LRBD/Set5/x3/baby_LRBD_x3.png"]
SELFEX = [
    f"image_SRF_{s}/img_001_SRF_{s}_{end}.png" for s in (2, 3, 4) for end in ("HR", "LR", "bicubic", "SelfExSR", "A+")
]
MATLAB = ["baby.png", "bird.png", "LR_x2/baby.png", "LR_x2/bird.png"]


def below(names, folder):
    return [f"{folder}/{name}" for name in names]


def layout(names, scale=2, part="held-out", root="/data/Set", with_lr=False):
    folder = Path(root)
    return find_layout(Listing(folder, tuple(sorted(folder / name for name in names))), scale, part, with_lr=with_lr)


def names(listing, root="/data/Set"):
    return [] if listing is None else sorted(path.relative_to(root).as_posix() for path in listing.paths)


@pytest.mark.parametrize(
    ("given", "scale", "part", "hr", "lr"),
    [
        (BASICSR, 3, "held-out", ["GTmod12/a.png", "GTmod12/b.png"], ["LRbicx3/a.png", "LRbicx3/b.png"]),
        (VALID, 2, "held-out", [VALID[0]], [VALID[1]]),
        (VALID + TRAIN, 4, "held-out", [VALID[0]], [VALID[3]]),
        (VALID + TRAIN, 2, "train", [TRAIN[0]], [TRAIN[1]]),
        (TRAIN + CROPS, 2, "train", [TRAIN[0]], [TRAIN[1]]),
        (CROPS, 2, "train", [CROPS[0]], [CROPS[1]]),
        (FLICKR, 2, "train", [FLICKR[0]], [FLICKR[1]]),
        (EDSR, 4, "held-out", ["HR/baby.png"], ["LR_bicubic/X4/babyx4.png"]),
        (below(EDSR, "benchmark/Set5"), 2, "held-out", ["benchmark/Set5/HR/baby.png"], None),
        (RCAN, 2, "held-out", ["HR/Set5/x2/baby_HR_x2.png"], ["LR/LRBI/Set5/x2/baby_LRBI_x2.png"]),
        (SELFEX, 4, "held-out", ["image_SRF_4/img_001_SRF_4_HR.png"], ["image_SRF_4/img_001_SRF_4_LR.png"]),
        (MATLAB, 2, "held-out", ["baby.png", "bird.png"], ["LR_x2/baby.png", "LR_x2/bird.png"]),
        (["A_HR/a.png", "A_LR_x2/a.png", "A_LR_x4/a.png"], 4, "held-out", ["A_HR/a.png"], ["A_LR_x4/a.png"]),
        (["HR/a.png", "LR_unknown/X2/ax2.png"], 2, "held-out", ["HR/a.png"], []),
    ],
)  # fmt: skip
def test_a_layout_of_the_field(given, scale, part, hr, lr):
    found = layout(given, scale, part, with_lr=True)
    assert names(found.hr) == hr
    if lr is not None:
        assert names(found.lr) == lr
        assert [base_of(PurePosixPath(n).name) for n in hr] == [base_of(PurePosixPath(n).name) for n in lr or hr]
    # What is passed over is said in one line.
    passed = len(given) - len(found.hr.paths) - len(found.lr.paths if found.lr else ())
    assert [f"{passed} other images are skipped" in note for note in found.notes] == ([True] if passed else [])


def test_div2k_and_flickr2k_are_trained_on_together():
    given = [*below(VALID + TRAIN, "DIV2K"), *below(FLICKR, "Flickr2K")]
    assert names(layout(given, 2, "train").hr) == [f"DIV2K/{TRAIN[0]}", f"Flickr2K/{FLICKR[0]}"]


@pytest.mark.parametrize(
    "given", [["a.png", "b/c.png", "b/x2.png"], ["max2.png", "box3.png"], ["2x4/a.png", "hair/b.png", "girl/c.png"]]
)
def test_a_folder_of_photographs_is_one(given):
    found = layout(given)
    assert (names(found.hr), found.lr, found.notes) == (sorted(given), None, ())


@pytest.mark.parametrize(
    ("given", "part", "named"),
    [
        ([*below(EDSR, "Set5"), *below(EDSR, "Set14")], "held-out", "(Set14/HR, Set5/HR)"),
        ([*below(BASICSR, "Set5"), *below(BASICSR, "B100")], "held-out", "several candidates for the photographs"),
        ([n.replace("Set5", s) for n in RCAN for s in ("Set5", "Set14")], "held-out", "HR/Set14, HR/Set5"),
        (["HR/a.png", "GT/a.png"], "train", "GT, HR"),
        (["0801.png", "0801x2.png"], "train", "names of LR images are among the photographs"),
        (["0801x2.png", "0802x2.png"], "train", "names of LR images are among the photographs"),
        (["a.png", "a_LR.png"], "train", "names of LR images are among the photographs"),
        (["LR/a.png", "LR/b.png"], "train", "no folder says which are the photographs"),
        (["one/a.png", "two/a.png", "LR/a.png"], "train", "no folder says which are the photographs"),
        (["HR/a.png", "LRbic/a.png", "other/LRbic/a.png"], "held-out", "several candidates for the LR images"),
    ],
)
def test_what_is_not_clear_is_refused_and_named(given, part, named):
    with pytest.raises(InputError, match="which images of '/data/Set' are photographs must be clear") as caught:
        layout(given, 2, part, with_lr=True)
    assert named in str(caught.value)


def test_photographs_for_other_scales_are_none():
    with pytest.raises(InputError, match="must hold photographs for x2, but it holds those for x3, x4"):
        layout(["HR/x3/a_HR_x3.png", "HR/x4/a_HR_x4.png"], 2)


def test_what_is_not_clear_can_be_said(photo_folder, tmp_path):
    paths = sorted(photo_folder.glob("*.png"))[:2]
    for folder, path in zip(("T91", "DIV2K_test_LRx4"), paths, strict=True):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / path.name).symlink_to(path)
    with pytest.raises(InputError, match="'srnas search' and 'srnas train' --every-image"):
        load_set(tmp_path, 2, "train")
    assert len(load_set(tmp_path, 2, "train", every_image=True).photos) == 2
