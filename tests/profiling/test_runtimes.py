"""Every runtime in every data type against eager float32 on real networks; what they refuse stands beside this."""

import contextlib
import copy
import logging
from functools import cache

import fresh
import psutil
import pytest
import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes import (
    RUNTIMES,
    MissingExtraError,
    RuntimeFailedError,
    Supplies,
    onnx_export,
    prepare,
    runtime_version,
)
from srnas.profiling.runtimes.culprits import culprits
from srnas.search_space import REGISTRY, Architecture, Network, SearchSpace, build_block, human_designs, published
from srnas.search_space.registry import fold_all

CHANNELS = 12
# Bilinear interpolation and soft pooling, softmax and matrix products, grid sampling, dilated depthwise convolutions,
# layer norm.
AWKWARD = ("lia", "nonlocal", "stn", "mlka", "psa_parallel")
# Largest difference as a share of the largest output. float32 sums in another order; bfloat16 and float16 round to 8
# and 11 bits, a few times in a row; int8 has 256 levels for each of a dozen tensors in a row.
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.04, "float16": 0.01, "int8": 0.1}
WITHOUT_COMPILER = [
    ("eager", "float32"),
    ("eager", "bfloat16"),
    ("eager", "float16"),
    ("onnxruntime", "float32"),
    ("onnxruntime", "int8"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
    ("executorch", "float32"),
    ("executorch", "int8"),
]
# What the networks of test_output_is_that_of_eager became, by name.
EXPORTED = {}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def block(name):
    module = build_block(name, CHANNELS).eval().requires_grad_(False)
    for parameter in module.parameters():
        if not parameter.any():  # Otherwise some start as an identity, which compares nothing.
            nn.init.normal_(parameter, std=0.1)
    return module


def cut(architecture):
    """Return a network without the positions that are like others."""
    return Network(architecture.model_copy(update={"positions": tuple(dict.fromkeys(architecture.positions))})).deploy()


@cache
def network(name):
    torch.manual_seed(0)
    if name == "design":
        return cut(human_designs(SearchSpace.load("tiny", 2))["PlainUSR-like"]), (1, 3, 16, 20)
    if name == "published":
        return cut(published("plainusr_u", 2)), (2, 3, 12, 16)
    names = AWKWARD if name == "awkward" else (name,)
    return nn.Sequential(*map(block, names)), (1, CHANNELS, 14, 16)


def first_of(shape):
    """Return what is drawn where no inputs are given, as the docstring states it."""
    return torch.rand((4 * shape[0], *shape[1:]), generator=torch.Generator().manual_seed(0))[: shape[0]]


def openvino_precisions():
    assert runtime_version("openvino")  # Imports it without its report.
    import openvino

    return openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check(module, shape, target):
    """Prepare, and compare with eager float32."""
    executable = prepare(module, shape, target)
    with torch.no_grad():
        expected = module(first_of(shape))
    output = executable.output()
    assert output.dtype == torch.float32
    assert output.is_contiguous()
    difference = (output - expected).abs().max().item()
    assert executable.max_abs_difference == pytest.approx(difference, abs=1e-6)
    assert difference <= TOLERANCE[target.dtype] * expected.abs().max()
    return executable


@pytest.fixture
def exported_once(monkeypatch, name):
    """Export each network once for all runtimes and data types: that takes most of their time."""

    def to_onnx(module, x, *, dynamic=False, opset=onnx_export.OPSET):
        assert not dynamic
        assert (x.dtype, opset) == (torch.float32, onnx_export.OPSET)
        if name not in EXPORTED:
            EXPORTED[name] = real(module, x)
        return copy.deepcopy(EXPORTED[name])

    real = onnx_export.to_onnx
    for runtime in ("onnxruntime_", "openvino_"):
        monkeypatch.setattr(f"srnas.profiling.runtimes.{runtime}.to_onnx", to_onnx)


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("name", ["design", "published", "awkward"])
@pytest.mark.parametrize(("runtime", "dtype"), WITHOUT_COMPILER)
def test_output_is_that_of_eager(name, runtime, dtype):
    module, shape = network(name)
    if (name, runtime, dtype) == ("awkward", "openvino", "int8"):
        # Its products of two activations stay in float32.
        with pytest.raises(RuntimeFailedError, match="openvino must have int8 kernels .* it would run layers in f32"):
            prepare(module, shape, Target(runtime=runtime, dtype=dtype))
        return
    before = {key: value.clone() for key, value in module.state_dict().items()}
    if runtime == "executorch":
        pytest.importorskip("executorch", reason="needs srnas[executorch]")
    if (runtime, dtype) == ("openvino", "bfloat16") and "BF16" not in openvino_precisions():
        pytest.skip("this processor has no bfloat16")
    executable = check(module, shape, Target(runtime=runtime, dtype=dtype))
    assert (executable.max_abs_difference == 0) == ((runtime, dtype) == ("eager", "float32"))
    assert executable.load_s > 0
    assert executable.version == runtime_version(runtime)
    assert executable.version.split(" ")[0] == ("" if runtime == "eager" else runtime)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert {value.dtype for value in module.state_dict().values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("name", ["design", "lia", "nonlocal", "mlka", "psa_parallel", "stn", "spa"])
def test_ncnn_gives_what_eager_does(name):
    module, shape = network(name)
    executable = check(module, shape, Target(runtime="ncnn"))
    assert executable.version == runtime_version("ncnn")


@pytest.mark.slow
@pytest.mark.parametrize("name", [info.name for info in REGISTRY.infos("trunk", "attention")])
def test_what_a_runtime_refuses_is_known(name):
    """What ``srnas blocks`` says runs in ncnn; the others refuse none."""
    channels = 24
    module = fold_all(build_block(name, channels).eval())
    assert {runtime.name for runtime in RUNTIMES.values() if runtime.refuses} == {"ncnn"}
    with pytest.raises(RuntimeFailedError) if name in RUNTIMES["ncnn"].refuses else contextlib.nullcontext():
        prepare(module, (1, channels, 18, 20), Target(runtime="ncnn"))


def test_what_ncnn_cannot_do_is_named():
    position = {"trunk": {"name": "conv"}, "attention": {"name": "hard"}}
    network = Network(Architecture.from_dict({"scale": 2, "channels": 8, "positions": [position]})).deploy()
    with pytest.raises(RuntimeFailedError) as caught:
        prepare(network, (1, 3, 9, 11), Target(runtime="ncnn"))
    assert str(caught.value) == (
        "ncnn must have every operator of the network, but it has not Tensor.to, torch.gt. The block that cannot run "
        "there: 'hard'."
    )
    with pytest.raises(RuntimeFailedError, match="ncnn takes one image at a time, but got a batch of 2"):
        prepare(nn.Conv2d(3, 8, 3).eval(), (2, 3, 12, 12), Target(runtime="ncnn"))
    # Two axes that are added at the end stand elsewhere there: what runs is another network.
    for size in ((9, 11), (14, 16)):
        with pytest.raises(
            RuntimeFailedError, match="ncnn must give what torch gives, but what pnnx has written diffe"
        ):
            prepare(block("se"), (1, CHANNELS, *size), Target(runtime="ncnn"))


class OddError(Exception):
    """An error that nobody lists."""


def test_what_fails_beside_the_search_for_a_block_hides_nothing():
    position = {"trunk": {"name": "conv"}, "attention": {"name": "pa"}}
    network = Network(Architecture.from_dict({"scale": 2, "channels": 8, "positions": [position]})).deploy().eval()

    def load(part, given):
        if part.info.name == "pa":
            raise OddError

    x = torch.rand(1, 3, 9, 11)
    assert culprits(network, x, load) == " The block that cannot run there: 'pa'."
    # What no network of these weights can run, and what is no network of ours, blames no block.
    assert culprits(network.half(), x, load) == ""
    assert culprits(nn.Conv2d(3, 3, 1), x, load) == ""
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_mask_is_exported(runtime):
    check(block("hard"), (1, CHANNELS, 9, 11), Target(runtime=runtime))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), [("published", "float32"), ("nonlocal", "float32"), ("conv", "bfloat16")])
def test_compiled_output_is_that_of_eager(name, dtype):
    check(*network(name), Target(runtime="compile", dtype=dtype))


@pytest.mark.slow
def test_many_networks_of_one_class_are_each_compiled():
    from torch._dynamo import config
    from torch._dynamo.utils import counters

    shape = (1, 3, 8, 8)
    architecture = human_designs(SearchSpace.load("tiny", 2))["ESPCN-like"]
    target = Target(runtime="compile")
    before = counters["stats"]["unique_graphs"]
    children = set(psutil.Process().children(recursive=True))  # Of tests that ran before in this process.
    networks = [Network(architecture).deploy() for _ in range(3)]
    # One more than torch compiles of one class, which are eight by default.
    with config.patch(recompile_limit=2):
        executables = [prepare(module, shape, target) for module in networks]
    assert counters["stats"]["unique_graphs"] - before == len(networks)
    for module, executable in zip(networks, executables, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(executable.output(), module(first_of(shape)))
    with torch.enable_grad():
        executables[0].run()
    assert counters["stats"]["unique_graphs"] - before == len(networks)
    assert set(psutil.Process().children(recursive=True)) <= children


@pytest.mark.parametrize("runtime", ["eager", pytest.param("compile", marks=pytest.mark.slow)])
def test_channels_last_is_converted_in_a_copy(runtime):
    module, shape = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval(), (1, 3, 12, 12)
    executable = check(module, shape, Target(runtime=runtime, memory_format="channels_last"))
    assert executable.run().is_contiguous(memory_format=torch.channels_last)
    assert all(p.is_contiguous() for p in module.parameters())


def test_inference_mode_of_the_caller_does_not_matter():
    module, shape = nn.Conv2d(3, 8, 3).eval(), (1, 3, 12, 12)
    for runtime in ("eager", "onnxruntime"):
        with torch.inference_mode():
            inside = prepare(module, shape, Target(runtime=runtime))
        assert not inside.output().is_inference()
        assert inside.max_abs_difference < 1e-5


def test_threads_are_honoured():
    module, shape = nn.Conv2d(3, 8, 3).eval(), (1, 3, 12, 12)
    before = torch.get_num_threads()
    for threads in (1, 2):
        session = prepare(module, shape, Target(runtime="onnxruntime", threads=threads)).run.__self__.session
        options = session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"
        request = prepare(module, shape, Target(runtime="openvino", threads=threads)).run.__self__.request
        compiled = request.get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("NUM_STREAMS") == 1
        assert not compiled.get_property("ENABLE_CPU_PINNING")
    assert torch.get_num_threads() == before


def test_nothing_is_printed_or_left_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    handlers, level = list(logging.getLogger().handlers), logging.getLogger("torch.onnx").level
    module, shape = network("stn")
    for runtime, dtype in (("onnxruntime", "int8"), ("openvino", "float32")):
        prepare(module, shape, Target(runtime=runtime, dtype=dtype)).run()
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger("torch.onnx").level == level


_ALONE = """
import os
for name in [name for name in os.environ if name == "CI" or name.startswith(("XDG", "ORT"))]: del os.environ[name]
import warnings; warnings.simplefilter("ignore")
import torch
from srnas.profiling.device import Target
from srnas.profiling.runtimes import prepare
for runtime, dtype in (("onnxruntime", "int8"), ("openvino", "float32")):
    prepare(torch.nn.Conv2d(3, 8, 3), (1, 3, 8, 8), Target(runtime=runtime, dtype=dtype)).run()
"""


@pytest.mark.slow
def test_runtimes_report_nothing(tmp_path):
    """Those that report their use over the network keep an identity in the home or the temporary folder."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    # Torch's compiler makes a folder for what it compiles, which is no identity.
    places = {"HOME": home, "TMPDIR": temporary, "TORCHINDUCTOR_CACHE_DIR": tmp_path / "compiled"}
    done = fresh.python(tmp_path, _ALONE, **{name: str(place) for name, place in places.items()})
    assert done.returncode == 0, done.stderr
    assert [*home.rglob("*"), *temporary.rglob("*")] == []


_INTERRUPTED = """
import os, signal, torch
from srnas.profiling.device import Target
from srnas.profiling.runtimes import prepare
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
networks = [prepare(torch.nn.Conv2d(3, 8, 3), (1, 3, 8, 8), Target(runtime="openvino")) for _ in range(2)]
while networks: networks.pop(0)
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_process_that_has_freed_its_networks_still_handles_signals(tmp_path):
    done = fresh.python(tmp_path, _INTERRUPTED)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_int8_is_calibrated_on_the_given_inputs():
    torch.manual_seed(0)
    module, shape = nn.Conv2d(3, 8, 3, bias=False).eval(), (1, 3, 12, 12)
    target = Target(runtime="onnxruntime", dtype="int8")
    dark = torch.rand(4, *shape[1:]) * 0.1
    narrow = prepare(module, shape, target, inputs=dark).max_abs_difference
    wide = prepare(module, shape, target, inputs=torch.cat([dark, 10 * dark])).max_abs_difference
    assert 0 < 3 * narrow < wide


class Reading(nn.Module):
    """Keeps where what it is given lies."""

    def __init__(self):
        super().__init__()
        self.places = []

    def forward(self, x):
        self.places.append((x.data_ptr(), x.untyped_storage().nbytes()))
        return x + 0

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize(("dtype", "memory_format", "size"), [("float32", "nchw", 4), ("bfloat16", "channels_last", 2)])
def test_networks_that_are_timed_together_read_one_batch(dtype, memory_format, size):
    """Every part of a space with batches of its own filled the memory of a GPU."""
    supplies, network, shape = Supplies(), Reading(), (1, 3, 6, 4)
    target = Target(dtype=dtype, memory_format=memory_format)
    kept = [prepare(network, shape, target, supplies=supplies) for _ in range(3)]
    network.places.clear()
    for executable in kept:
        executable.run()
    assert len(set(network.places)) == 1
    assert network.places[0][1] == size * 3 * 6 * 4


def test_names():
    on = {kind: {name for name, runtime in RUNTIMES.items() if kind in runtime.dtypes} for kind in ("cpu", "cuda")}
    assert on["cpu"] == {"eager", "compile", "onnxruntime", "openvino", "ncnn", "executorch"}
    assert on["cuda"] == {"eager", "cudagraph", "compile", "onnxruntime"}
    assert all(name == runtime.name for name, runtime in RUNTIMES.items())


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("runtime", ["eager", "cudagraph", "compile", "onnxruntime"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_output_on_a_gpu_is_that_of_eager(runtime, dtype):
    if dtype not in RUNTIMES[runtime].dtypes["cuda"]:
        pytest.skip("refused")
    module, shape = network("published")
    try:
        executable = prepare(module, shape, Target(torch.device("cuda", 0), runtime=runtime, dtype=dtype))
    except MissingExtraError:
        pytest.skip("onnxruntime is the build for CPUs")
    except RuntimeFailedError as error:
        if "must start" not in str(error):
            raise
        pytest.skip(str(error))
    executable.run()
    with torch.no_grad():
        expected = module(first_of(shape))
    assert (executable.output() - expected).abs().max() <= max(TOLERANCE[dtype], 1e-4) * expected.abs().max()
