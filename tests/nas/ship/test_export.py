"""Exported networks, run by the libraries that they are for, at sizes that they were not exported with."""

import json
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from srnas.nas.ship.calibration import calibrate
from srnas.nas.ship.export import export, suffix_of
from srnas.nas.workspace.sources import SourceRequest, load_source
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target
from srnas.profiling.runtimes import prepare_any
from srnas.search_space import Architecture, InputError, Network, Position
from srnas.search_space.checkpoints import load_network, split_architecture

ort = pytest.importorskip("onnxruntime", reason="needs srnas[onnx]")

POSITIONS = (Position(trunk="conv", attention="lia"), Position(trunk="repmb", attention="aab_m"))


@pytest.fixture
def source(tmp_path):
    """Return a function that gives a network in which every block matters."""

    def make(positions=POSITIONS):
        architecture = Architecture(scale=2, channels=16, positions=positions)
        torch.manual_seed(0)
        state = Network(architecture).state_dict()
        tensors = {name: value + 0.05 * torch.randn(value.shape) for name, value in state.items()}
        (tmp_path / "mine.json").write_text(architecture.to_json())
        save_file(tensors, tmp_path / "mine.safetensors")
        return load_source(
            Workspace(tmp_path), SourceRequest(str(tmp_path / "mine.json"), tmp_path / "mine.safetensors")
        )

    return make


def onnx(path, x):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["sr"], {"lr": x.numpy()})[0])


def rebuilt(path, x):
    return load_network(Architecture.from_json((path.parent / "mine.json").read_text()), path).deploy()(x)


def ncnn(path, x):
    import ncnn

    net = ncnn.Net()
    # Half of the bits would be enough for a phone, and not for this comparison.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(path)) == net.load_model(str(path.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x[0].numpy()).clone())
    return torch.from_numpy(np.array(extractor.extract("out0")[1]))[None]


def executorch(path, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.runtime import Runtime

        return Runtime.get().load_program(path).load_method("forward").execute([x])[0].clone()


READERS = {
    "onnx": onnx,
    "torchscript": lambda path, x: torch.jit.load(path)(x),
    "pt2": lambda path, x: torch.export.load(path).module()(x),
    "safetensors": rebuilt,
    "ncnn": ncnn,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", READERS)
def test_a_file_computes_what_eager_does_at_any_size(source, tmp_path, form):
    network = source()
    path = tmp_path / f"out{suffix_of(form)}"
    checks = export(network, path, form, "float32")
    assert len({check.size for check in checks}) == 3
    assert max(check.max_abs_difference for check in checks) < 1e-4
    for height, width in ((17, 23), (71, 38)):
        x = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = network.network(x)
            assert expected.std() > 0.05
            torch.testing.assert_close(READERS[form](path, x), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_executorch_takes_one_size(source, tmp_path):
    pytest.importorskip("executorch", reason="needs srnas[executorch]")
    network, path = source(), tmp_path / "out.pte"
    with pytest.raises(InputError, match="--size must be given for format 'executorch'"):
        export(network, path, "executorch", "float32")
    assert max(check.max_abs_difference for check in export(network, path, "executorch", "float32", (20, 24))) < 1e-4
    x = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        torch.testing.assert_close(executorch(path, x), network.network(x), atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [("float16", 0.02), ("int8", 0.2)])
def test_coarser_data_types_differ_and_say_by_how_much(source, tmp_path, dtype, most):
    checks = export(source(), tmp_path / "out.onnx", "onnx", dtype)
    assert all(1e-6 < check.max_abs_difference < most for check in checks)
    export(source(), tmp_path / "h.safetensors", "safetensors", "float16")
    architecture, weights = split_architecture(load_file(tmp_path / "h.safetensors"))
    assert architecture == source().architecture
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


@pytest.mark.slow
def test_a_file_of_one_size_takes_no_other(source, tmp_path):
    checks = export(source(), tmp_path / "out.onnx", "onnx", "float32", (20, 24))
    assert {check.size for check in checks} == {(20, 24)}
    with pytest.raises(ort.capi.onnxruntime_pybind11_state.InvalidArgument):
        onnx(tmp_path / "out.onnx", torch.rand(1, 3, 24, 24))


@pytest.mark.slow
def test_a_network_that_a_format_cannot_hold_leaves_nothing(source, tmp_path):
    network = source((Position(trunk="conv", attention="stn"),))
    with pytest.raises(InputError, match=r"(give|try) --size"):
        export(network, tmp_path / "new" / "out.onnx", "onnx", "float32")
    assert list((tmp_path / "new").iterdir()) == []
    export(network, tmp_path / "out.onnx", "onnx", "float32", (32, 40))
    assert (tmp_path / "out.onnx").is_file()


@pytest.mark.parametrize(
    ("name", "form", "dtype", "size", "said"),
    [
        ("out", "gguf", "float32", None, "unknown format 'gguf'"),
        ("out.pt2", "pt2", "int8", None, "unknown dtype of format 'pt2' 'int8'"),
        ("out.onnx", "onnx", "float32", (3, 40), "--size must be at least"),
        ("out.onnx", "safetensors", "float32", None, "must end in '.safetensors', but got"),
    ],
)
def test_what_cannot_be_exported(source, tmp_path, name, form, dtype, size, said):
    with pytest.raises(InputError, match=said):
        export(source(), tmp_path / name, form, dtype, size)


@pytest.mark.parametrize("given", [("--checkpoint", "w.safetensors"), ("--scale", 4), ("--plain-weights",)])
def test_a_key_already_names_weights(run, workspace, given):
    code, _, err = run("export", "0" * 12, *given, "--workspace", workspace)
    assert code == 2
    assert "a KEY already names a network and its weights" in err


@pytest.mark.slow
def test_the_command_exports_a_trial_with_its_card(run, workspace, search_request, tmp_path, launched):
    launched(search_request.changed(trials=3))
    rows = json.loads(run("leaderboard", "--workspace", workspace, "--json")[1])
    best = rows[0]
    out = tmp_path / "best.onnx"
    command = ("export", best["key"], "--workspace", workspace, "--out", out, "--licence", "CC0-1.0")
    code, said, err = run(*command)
    assert code == 0, err
    assert said.count("largest difference to eager float32") == 3
    card = (tmp_path / "best.onnx.md").read_text()
    assert f"{best['psnr_y_db']:.3f}" in card
    assert f"{best['latency_fastest_ms']:.3f}" in card
    assert 'license: "CC0-1.0"' in card
    assert best["architecture"] in card
    code, _, err = run(*command)
    assert code == 2
    assert "--overwrite replaces files" in err
    x = np.random.default_rng(0).random((1, 3, 33, 21), np.float32)
    assert onnx(out, torch.from_numpy(x)).shape == (1, 3, 66, 42)
    for key, wanted in (("0" * 12, "must hold a trained network of key"), ("best", "must be 12 hexadecimal digits")):
        code, _, err = run("export", key, "--workspace", workspace)
        assert code == 2
        assert wanted in err


@pytest.mark.slow
def test_an_int8_file_is_calibrated_as_the_network_is_scored(source, tmp_path):
    given, path, x = source(), tmp_path / "out.onnx", torch.rand(1, 3, 30, 40)
    export(given, path, "onnx", "int8")
    calibration = calibrate(given, None)
    assert str(calibration) == "calibrated on 64 crops of 48x48 pixels of 'embedded-train'"
    scored = prepare_any(given.network, calibration.inputs, Target(runtime="onnxruntime", dtype="int8"))
    assert torch.equal(onnx(path, x), scored(x))
    # Where it takes one size only, on images of that size.
    export(given, tmp_path / "one.onnx", "onnx", "int8", (20, 24))
    assert calibrate(given, None, (20, 24)).inputs.shape[1:] == (3, 20, 24)
