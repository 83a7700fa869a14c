import numpy as np
import pytest
from PIL import Image

from srnas.nas.images.pairs import make_pairs
from srnas.nas.images.photos import load_folder, shared_with
from srnas.nas.images.validation_sets import load_sets
from srnas.search_space import InputError


def test_sets_are_named_or_take_the_name_of_their_folder(held_out_folder, photo_folder):
    sets, notes = load_sets([f"mine={held_out_folder}", str(photo_folder)], 2, 1)
    assert list(sets) == ["mine", photo_folder.name]
    assert [len(pairs) for pairs in sets.values()] == [4, 4]
    assert sum("MATLAB's bicubic imresize" in note for note in notes) == 2


def test_a_folder_with_an_equals_sign(tmp_path, held_out_folder):
    path = tmp_path / "a=b"
    path.symlink_to(held_out_folder)
    assert list(load_sets([f"set={path}"], 2, 1)[0]) == ["set"]
    with pytest.raises(InputError, match="a validation set's name must be letters, .* but got 'a=b'; give NAME=FOLDER"):
        load_sets([str(path)], 2, 1)


def test_without_any_the_embedded_photographs():
    assert {name: len(pairs) for name, pairs in load_sets([], 4, 1)[0].items()} == {"embedded-crops": 10}


def test_lr_images_beside_hr_are_used_and_gray_photographs_are_judged_as_rgb(tmp_path):
    for name, size in (("HR", (40, 40)), ("LR_bicubic/X2", (20, 20))):
        (tmp_path / name).mkdir(parents=True)
        Image.new("L", size, 77).save(tmp_path / name / "gray.png")
    [pair] = load_sets([f"set={tmp_path}"], 2, 1)[0]["set"]
    assert (pair.gray, np.unique(pair.lr).tolist()) == (False, [77])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a={0}", "a={0}"], "validation sets must have different names, but got a twice; give NAME=FOLDER."),
        (["a b={0}"], "a validation set's name must be letters"),
        (["={0}"], "a validation set's name must be letters"),
        (["a=/no/such"], "a folder of photographs must exist, but got '/no/such'"),
    ],
)
def test_what_cannot_be_used(held_out_folder, given, message):
    with pytest.raises(InputError) as raised:
        load_sets([text.format(held_out_folder) for text in given], 2, 1)
    assert message in str(raised.value)


def test_photographs_that_are_too_small(tmp_path):
    Image.new("RGB", (12, 40)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="must be at least 16x16 pixels .* but the largest of 1 is 12x40; give larger"):
        load_sets([f"set={tmp_path}"], 2, 1)
    Image.new("RGB", (40, 40)).save(tmp_path / "large.png")
    sets, notes = load_sets([f"set={tmp_path}"], 2, 1)
    assert [pair.name for pair in sets["set"]] == ["large.png"]
    assert any("skipped 1 of 2 photographs smaller than 16x16" in note for note in notes)


def test_photographs_that_are_trained_on_are_said(photo_folder, held_out_folder):
    train = make_pairs(load_folder(photo_folder), 2)
    sets, _ = load_sets([f"seen={photo_folder}", f"new={held_out_folder}"], 2, 1)
    validated = {name: [(pair.name, pair.hr) for pair in pairs] for name, pairs in sets.items()}
    [note] = shared_with((pair.hr for pair in train), validated)
    assert note.startswith("warning: 4 photographs of 'seen' are in the training set too (crop0.png, ")


def test_a_name_without_a_folder_is_no_set():
    with pytest.raises(InputError, match="must have a folder, but got 'set5='"):
        load_sets(["set5="], 2, 1)
