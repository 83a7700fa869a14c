"""The commands that use a trained network: ``evaluate`` and ``upscale``."""

import contextlib
import json
import math
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from srnas.nas.cli.options import takes_raw
from srnas.nas.images.evaluation import evaluate_bicubic
from srnas.nas.images.imresize import imresize
from srnas.nas.images.pairs import load_pairs
from srnas.nas.images.sheet import draw_sheet
from srnas.search_space import Architecture, Network
from srnas.search_space.published import published

SHARED = Path(os.environ.get("SRNAS_GOLDEN", Path(__file__).parents[3].parent / "shared" / "golden")).parent
SET5, WEIGHTS = SHARED / "data" / "test" / "Set5", SHARED / "checkpoints" / "PlainUSRS_Rep_x4.pth"


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes a network's architecture and weights, and returns the options that name it."""

    def saved(architecture):
        torch.manual_seed(0)
        (tmp_path / "net.json").write_text(architecture.to_json())
        save_file(Network(architecture).state_dict(), tmp_path / "net.safetensors")
        return ("--network", tmp_path / "net.json", "--checkpoint", tmp_path / "net.safetensors", "--device", "cpu")

    return saved


@pytest.fixture
def local(saved):
    return saved(published("plainusr_u", 2))


@pytest.fixture
def grid(saved):
    return saved(published("plainusr_s", 2))


def pixels(path):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.array(image)


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_evaluate_as_json_and_as_table(run, local, held_out_folder):
    code, out, err = run("evaluate", *local, "--data", held_out_folder, "--json")
    assert code == 0
    assert "reduced by 2 with MATLAB's bicubic imresize" in err.replace("\n", " ")
    found = json.loads(out)
    assert (found["network"], found["scale"], found["lr"]) == ("net", 2, "imresize")
    assert found["architecture_key"] == published("plainusr_u", 2).key
    assert Architecture.from_dict(found["architecture"]) == published("plainusr_u", 2)
    bicubic = evaluate_bicubic(load_pairs(held_out_folder, 2).pairs, 2)
    assert [row["image"] for row in found["images"]] == list(bicubic.images)
    assert [row["bicubic_psnr_y_db"] for row in found["images"]] == list(bicubic.psnr_y_db)
    for key, value in found["mean"].items():
        assert value == pytest.approx(np.mean([row[key] for row in found["images"]]))
    mean = found["mean"]
    assert mean["bicubic_psnr_y_db"] == pytest.approx(bicubic.mean_psnr_y_db)
    assert mean["bicubic_ssim_y"] == pytest.approx(bicubic.mean_ssim_y)
    assert mean["gain_db"] == pytest.approx(mean["psnr_y_db"] - mean["bicubic_psnr_y_db"])
    assert "kept_fraction" not in mean

    code, out, _ = run("evaluate", *local, "--data", held_out_folder)
    assert code == 0
    assert "net, x2, on" in out
    assert f"{mean['psnr_y_db']:.3f}" in out
    assert "mean of 4" in out


def test_hard_attention_says_what_it_keeps(run, saved, held_out_folder):
    hard = {"name": "hard", "form": "centre", "fraction": 0.5}
    architecture = Architecture.from_dict(
        {"scale": 2, "channels": 6, "positions": [{"trunk": "conv"}, {"trunk": "conv", "attention": hard}]}
    )
    given = ("evaluate", *saved(architecture), "--data", held_out_folder)
    found = json.loads(run(*given, "--json")[1])
    # LR images are 24x32: the centre is 12x16 of them.
    assert found["mean"]["kept_fraction"] == {"p01": 0.25}
    assert all(row["kept_fraction"] == {"p01": 0.25} for row in found["images"])
    assert "Hard attention keeps of the pixels: p01 0.250." in " ".join(run(*given)[1].split())


def test_gray_photographs_are_judged_as_publications_do(run, local, held_out_folder, tmp_path):
    folder = tmp_path / "gray"
    folder.mkdir()
    for path in held_out_folder.iterdir():
        with Image.open(path) as image:
            image.convert("L").save(folder / path.name)
    found = json.loads(run("evaluate", *local, "--data", folder, "--json")[1])
    in_gray_values = evaluate_bicubic(load_pairs(folder, 2).pairs, 2).mean_psnr_y_db
    # Y of BT.601 spans 219 of the 255 gray values.
    assert found["mean"]["bicubic_psnr_y_db"] - in_gray_values == pytest.approx(20 * math.log10(255 / 219))


def test_existing_outputs_of_evaluate_are_kept_unless_asked(run, local, held_out_folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "crop1.sheet.png").write_text("mine")
    given = ("evaluate", *local, "--data", held_out_folder, "--save", out)
    code, _, err = run(*given)
    assert code == 2
    assert "an output must not exist yet, but" in err
    assert contents(out) == ["crop1.sheet.png"]
    assert run(*given, "--overwrite")[0] == 0
    assert len(contents(out)) == 8


def test_no_sheet_overwrites_an_output(run, local, held_out_folder, tmp_path):
    folder = tmp_path / "twins"
    folder.mkdir()
    for name in ("a.png", "a.sheet.png"):
        shutil.copy(next(held_out_folder.iterdir()), folder / name)
    code, _, err = run("evaluate", *local, "--data", folder, "--save", tmp_path / "out")
    assert code == 2
    assert "the outputs of a.png, a.sheet.png would be one file" in err.replace("\n", " ")
    assert run("evaluate", *local, "--data", folder)[0] == 0


def test_equal_images_have_no_number_in_json(run, local, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    code, out, _ = run("evaluate", *local, "--data", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["mean"]["bicubic_psnr_y_db"] is None
    assert "inf" in run("evaluate", *local, "--data", tmp_path)[1]


def test_outputs_and_sheets_are_saved(run, grid, held_out_folder, tmp_path):
    save = tmp_path / "made" / "sheets"
    code, out, _ = run("evaluate", *grid, "--data", held_out_folder, "--save", save)
    assert code == 0
    assert f"sheets  {save}" in out
    assert contents(save) == sorted([f"crop{i}.png" for i in range(4)] + [f"crop{i}.sheet.png" for i in range(4)])
    # What upscale makes of the LR image is the same picture.
    pair = load_pairs(held_out_folder, 2).pairs[1]
    Image.fromarray(pair.lr).save(tmp_path / "lr.png")
    assert run("upscale", tmp_path / "lr.png", *grid)[0] == 0
    np.testing.assert_array_equal(pixels(save / "crop1.png"), pixels(tmp_path / "lr_x2.png"))
    assert pixels(save / "crop1.sheet.png").std() > 20


@pytest.mark.parametrize(("height", "width", "panels"), [(48, 64, 4), (700, 300, 5)])
def test_a_sheet_shows_its_images_as_they_are(height, width, panels):
    from srnas.nas.images.assessment import ImageScores
    from srnas.nas.images.pairs import Pair

    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pair = Pair("a.png", imresize(hr, 0.5), hr, False)
    sr = np.roll(hr, 1, 0)
    sheet = np.array(draw_sheet(pair, sr, 2, "ours", ImageScores("a.png", 30.0, 0.9, 29.0, 0.8)))
    factor = 7 if width == 64 else 1
    shown = (min(height, 512) * factor, width * factor)
    assert sheet.shape[1] == pytest.approx(48 + panels * shown[1] + (panels - 1) * 16, abs=300)
    # The third panel is the photograph, or a part of it, pixel for pixel.
    left = 24 + 2 * (shown[1] + 16)
    third = sheet[52 : 52 + shown[0] : factor, left : left + shown[1] : factor]
    assert any(np.array_equal(third, hr[top : top + len(third)]) for top in range(height - len(third) + 1))
    # What is written under them is dark on white.
    assert sheet[52 + shown[0] :, :, 0].min() < 60


@contextlib.contextmanager
def no_file_larger_than(size):
    """Let writing fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", ["evaluate", "upscale"])
def test_a_full_disk(run, local, held_out_folder, tmp_path, command):
    out = tmp_path / "out"
    out.mkdir()
    Image.new("RGB", (5, 5)).save(out / "crop0.png")
    before = (out / "crop0.png").read_bytes()
    rest = ("--data", held_out_folder, "--save", out) if command == "evaluate" else (held_out_folder, out)
    with no_file_larger_than(500):
        code, _, err = run(command, *rest, *local, "--overwrite")
    assert code == 2
    assert "crop0.png' must be writable, but File too large; give another place." in err
    assert contents(out) == ["crop0.png"]
    assert (out / "crop0.png").read_bytes() == before


@pytest.mark.parametrize("command", ["evaluate", "upscale"])
def test_a_folder_that_cannot_be_written_or_is_read(run, local, held_out_folder, tmp_path, command):
    (tmp_path / "file").write_text("")
    before = contents(held_out_folder)
    for place, message in ((tmp_path / "file" / "x", "must be writable"), (held_out_folder / "x", "must lie outside")):
        rest = ("--data", held_out_folder, "--save", place) if command == "evaluate" else (held_out_folder, place)
        code, _, err = run(command, *rest, *local)
        assert code == 2
        assert message in err
    assert contents(held_out_folder) == before


@pytest.mark.parametrize("command", ["evaluate", "upscale"])
def test_an_output_that_is_not_finite(run, saved, held_out_folder, tmp_path, command):
    architecture = Architecture.from_dict({"scale": 2, "channels": 6, "positions": [{"trunk": "conv"}]})
    given = saved(architecture)
    state = Network(architecture).state_dict()
    state["stem.weight"] = torch.full_like(state["stem.weight"], 3e38)
    save_file(state, tmp_path / "net.safetensors")
    rest = ("--data", held_out_folder) if command == "evaluate" else (held_out_folder, tmp_path / "out")
    code, _, err = run(command, *given, *rest)
    assert code == 2
    assert "a network's output must be finite, but for 'crop0.png' it is not; check the weights" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "3"], "--scale must be 2, that of net, but got --scale 3."),
        (["--trial", "0"], "must be given, but got both."),
        (["--device", "gpu"], "device must be auto, cpu or cuda[:N], but got 'gpu'."),
        (["--threads", "0"], "must hold, but got threads=0"),
        (["--checkpoint", "none.pt"], "a file of weights must exist, but got 'none.pt'."),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "upscale"])
def test_bad_options_end_with_2(run, local, held_out_folder, tmp_path, command, options, message):
    rest = ("--data", held_out_folder) if command == "evaluate" else (held_out_folder, tmp_path / "out")
    code, out, err = run(command, *rest, *local, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_photograph_is_upscaled_beside_itself(run, local, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (12, 10), (200, 100, 50)).save("a.jpg")
    code, out, _ = run("upscale", "a.jpg", *local)
    assert (code, out) == (0, "a_x2.png  12x10 -> 24x20\n")
    assert pixels("a_x2.png").shape == (20, 24, 3)
    written = Path("a_x2.png").read_bytes()
    code, _, err = run("upscale", "a.jpg", *local)
    assert (code, "an output must not exist yet, but a_x2.png does; --overwrite replaces" in err) == (2, True)
    assert run("upscale", "a.jpg", *local, "--overwrite")[0] == 0
    assert Path("a_x2.png").read_bytes() == written
    Path("folder").mkdir()
    assert run("upscale", "a.jpg", "folder", *local)[0] == 0
    assert run("upscale", "a.jpg", "new/b.png", *local)[0] == 0
    assert pixels("folder/a_x2.png").shape == pixels("new/b.png").shape == (20, 24, 3)


@pytest.fixture
def mixed(tmp_path):
    """Return a folder of unlike images, one of them below it."""
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    crop = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    crop.convert("L").save(folder / "gray.png")
    crop.convert("CMYK").save(folder / "cmyk.jpg")
    crop.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(folder / "sub" / "deep.tif")
    return folder


def test_a_folder_is_upscaled_and_conversions_are_said(run, local, mixed):
    code, out, err = run("upscale", mixed, *local)
    assert code == 0
    made = mixed.with_name("mixed_x2")
    names = ["alpha.png", "cmyk.png", "gray.png", "sub/deep.png"]
    assert contents(made) == names
    assert all(pixels(made / name).shape == (40, 60, 3) for name in names)
    assert len(out.splitlines()) == 4
    said = err.replace("\n", " ")
    notes = ("2 gray, used as RGB", "1 CMYK, converted to RGB", "1 with an opaque alpha channel", "1 16-bit, reduced")
    assert all(note in said for note in notes)
    # What exists is kept, what is missing is made.
    (made / "gray.png").unlink()
    kept = (made / "alpha.png").stat().st_mtime_ns
    code, out, err = run("upscale", mixed, *local)
    assert (code, len(out.splitlines())) == (0, 1)
    assert "skipped, since they exist:" in err
    assert (made / "alpha.png").stat().st_mtime_ns == kept
    code, _, err = run("upscale", mixed, *local)
    assert (code, "and 1 more do; --overwrite" in err) == (2, True)


def test_broken_images_are_named_before_any_is_upscaled(run, local, mixed):
    for name in ("broken.png", "sub/other.jpg"):
        (mixed / name).write_text("not a picture")
    code, out, err = run("upscale", mixed, *local)
    assert (code, out) == (2, "")
    assert "cannot decode 'broken.png'" in err
    assert "'sub/other.jpg' (cannot identify" in err
    assert not mixed.with_name("mixed_x2").exists()


def test_images_must_be_large_enough_for_the_blocks(run, grid, mixed):
    Image.new("RGB", (6, 30)).save(mixed / "thin.png")
    code, _, err = run("upscale", mixed, *grid)
    assert code == 2
    assert "must be at least 7x7 pixels for this network's blocks, but 'thin.png' is 6x30; remove" in err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["none.png"], "a photograph or a folder of photographs must exist, but got 'none.png'."),
        (["a.png", "a.png"], "OUT must be another file than IN, but both are 'a.png'."),
        (["a.png", "b.jpg"], "OUT must end in .png, since PNG is what is written, but got 'b.jpg'."),
        (["twins"], "but the outputs of a.jpg, a.png would be one file; rename or move some."),
        (["empty"], "folder 'empty' must hold images"),
    ],
)
def test_what_cannot_be_upscaled(run, local, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    image = Image.new("RGB", (12, 10))
    for folder in ("twins", "empty"):
        Path(folder).mkdir()
    for name in ("a.png", "twins/a.png", "twins/a.jpg"):
        image.save(name)
    before = contents(tmp_path)
    code, _, err = run("upscale", *given, *local)
    assert code == 2
    assert message in err
    assert contents(tmp_path) == before


def test_tiles_are_said(run, grid, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    _, _, err = run("upscale", tmp_path / "a.png", tmp_path / "whole.png", *grid)
    assert "images are upscaled whole" in err
    _, _, err = run("upscale", tmp_path / "a.png", tmp_path / "tiles.png", *grid, "--tile", "20")
    assert "seams are possible" in err
    assert pixels(tmp_path / "tiles.png").shape == pixels(tmp_path / "whole.png").shape


@pytest.mark.skipif(not (SET5.is_dir() and WEIGHTS.is_file()), reason=f"no '{SET5}' or no '{WEIGHTS}'")
def test_official_weights_give_the_published_result(run, tmp_path):
    given = ("--network", "plainusr_s", "--scale", 4, "--checkpoint", WEIGHTS, "--device", "cpu")
    found = json.loads(run("evaluate", *given, "--data", SET5, "--json")[1])
    assert found["lr"].endswith("LR_bicubic/X4")
    # source: the official code with the official weights.
    assert found["mean"]["psnr_y_db"] == pytest.approx(31.565, abs=0.0006)
    assert found["mean"]["ssim_y"] == pytest.approx(0.8855, abs=0.00006)
    reduced = json.loads(run("evaluate", *given, "--data", SET5 / "HR", "--json")[1])
    assert reduced["images"] == found["images"]


def test_a_network_in_another_data_type(run, local, held_out_folder):
    given = ("evaluate", "--data", held_out_folder, *local, "--json")
    plain, half = (json.loads(run(*given, "--dtype", dtype)[1]) for dtype in ("float32", "bfloat16"))
    assert (plain["runtime"], plain["dtype"], half["dtype"]) == ("eager", "float32", "bfloat16")
    # Rounded to 8 bits by every operator, and to 8 bits in the picture.
    assert 0 < abs(half["mean"]["psnr_y_db"] - plain["mean"]["psnr_y_db"]) < 1
    assert half["mean"]["bicubic_psnr_y_db"] == plain["mean"]["bicubic_psnr_y_db"]
    code, _, err = run(*given, "--dtype", "int8")
    assert code == 2
    assert "dtype must be float32, bfloat16 or float16 for runtime 'eager' on cpu, but got dtype=int8" in err
    code, _, err = run(*given, "--calibration", "nowhere")
    assert code == 2
    assert "--calibration needs --dtype int8, but got float32" in err


@pytest.mark.slow
def test_int8_is_calibrated_on_photographs(run, local, held_out_folder, photo_folder):
    pytest.importorskip("onnxruntime")
    given = ("evaluate", "--data", held_out_folder, *local, "--runtime", "onnxruntime", "--dtype", "int8")
    with pytest.MonkeyPatch.context() as context:
        context.setattr("srnas.nas.ship.calibration._PATCH", 16)
        code, out, err = run(*given, "--calibration", photo_folder)
    assert code == 0, err
    assert "calibrated on 64 crops of 16x16 pixels of 'photos0'" in " ".join(err.split())
    assert "The network ran in int8 with onnxruntime" in " ".join(out.split())


def test_a_trial_has_the_colours_of_its_search():
    asked = {(None, None): True, (None, 3): False, (True, 3): True, (False, None): False}
    assert {given: takes_raw(*given) for given in asked} == asked
