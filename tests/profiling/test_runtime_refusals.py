"""What a runtime refuses, and in which words."""

import pickle
import platform
import sys

import pytest
import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.memory import is_memory
from srnas.profiling.runtimes import MissingExtraError, RuntimeFailedError, onnxruntime_, prepare, runtime_version
from srnas.search_space import InputError, build_block


def se():
    return build_block("se", 12).eval(), (1, 12, 8, 8)


def convolution():
    return nn.Conv2d(3, 8, 3).eval(), (1, 3, 8, 8)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (3, 3, 12, 16), (0, 3, 12, 16)])
def test_inputs_must_fit(shape):
    with pytest.raises(InputError, match=r"inputs must be \(N, 3, 12, 16\) with N a multiple of 2, but got"):
        prepare(nn.Conv2d(3, 8, 3), (2, 3, 12, 16), Target(), inputs=torch.rand(shape))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(runtime="onnx"), "unknown runtime 'onnx'. Did you mean 'onnxruntime'?"),
        (
            Target(runtime="cudagraph"),
            "device must be cuda for runtime 'cudagraph', but got device=cpu; use eager, compile, onnxruntime, "
            "openvino, ncnn or executorch.",
        ),
        (
            Target(torch.device("cuda"), runtime="openvino"),
            "device must be cpu for runtime 'openvino', but got device=cuda; use eager, cudagraph, compile or "
            "onnxruntime.",
        ),
        (
            Target(dtype="int8"),
            "dtype must be float32, bfloat16 or float16 for runtime 'eager' on cpu, but got dtype=int8",
        ),
        (
            Target(runtime="onnxruntime", dtype="bfloat16"),
            "dtype must be float32, float16 or int8 for runtime 'onnxruntime' on cpu, but got dtype=bfloat16",
        ),
        (
            Target(torch.device("cuda"), runtime="onnxruntime", dtype="int8"),
            "dtype must be float32 or float16 for runtime 'onnxruntime' on cuda, but got dtype=int8",
        ),
        (
            Target(runtime="openvino", memory_format="channels_last"),
            "memory_format must be nchw for runtime 'openvino', which lays tensors out by itself, but got "
            "memory_format=channels_last; use nchw, or another runtime.",
        ),
    ],
)
def test_what_does_not_exist_is_refused(target, text):
    with pytest.raises(InputError) as caught:
        prepare(nn.Conv2d(3, 8, 3), (1, 3, 12, 16), target)
    assert str(caught.value).startswith(text)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors may have the kernels")
def test_float16_that_would_run_in_float32_is_refused():
    module, shape = convolution()
    with pytest.raises(InputError, match=r"must have float16 kernels .* operators in float32 \(Conv first\)"):
        prepare(module, shape, Target(runtime="onnxruntime", dtype="float16"))


def test_hint_that_openvino_does_not_follow_is_refused():
    assert runtime_version("openvino")  # Imports it without its report.
    import openvino

    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has float16")
    for module, shape in (convolution(), se()):
        with pytest.raises(InputError, match="openvino must have float16 kernels for this processor, but it would"):
            prepare(module, shape, Target(runtime="openvino", dtype="float16"))


class Branching(nn.Module):
    """Decides in Python by the data: no graph exists."""

    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


@pytest.mark.parametrize("runtime", ["compile", "onnxruntime", "openvino"])
def test_failure_names_runtime_network_and_cause(runtime):
    with pytest.raises(RuntimeFailedError) as caught:
        prepare(Branching(), (1, 3, 8, 8), Target(runtime=runtime))
    text = str(caught.value)
    assert text.startswith(f"runtime '{runtime}' must be able to run Branching in float32, but got ")
    assert text.endswith("; use another runtime.")
    assert "data-dependent" in text.lower() or "data dependent" in text.lower()
    assert "\n" not in text
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(("runtime", "package"), [("onnxruntime", "onnxruntime"), ("openvino", "onnxscript")])
def test_missing_package_is_named_with_its_extra(runtime, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"onnxruntime": "onnx"}.get(runtime, runtime)
    with pytest.raises(MissingExtraError) as caught:
        prepare(nn.Conv2d(3, 8, 3), (1, 3, 12, 16), Target(runtime=runtime))
    assert str(caught.value) == (
        f"runtime '{runtime}' needs {package}, which is not installed; run: pip install 'srnas[{extra}]'"
    )


def test_a_provider_that_does_not_start_says_so(monkeypatch):
    """ONNX Runtime goes on without a provider whose libraries are of another CUDA."""
    import onnxruntime

    class Session:
        def __init__(self, *_, **__):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(RuntimeFailedError, match="onnxruntime's CUDAExecutionProvider must start, but it did not"):
        onnxruntime_._session(b"", torch.zeros(1), Target(torch.device("cuda"), runtime="onnxruntime"))


def test_too_little_memory_is_no_refusal():
    class Greedy(nn.Module):
        def forward(self, x):
            return x + torch.empty(2**60)

    with pytest.raises(RuntimeError, match="can't allocate memory") as caught:
        prepare(Greedy(), (1, 3, 8, 8), Target())
    assert is_memory(caught.value)


def test_what_is_missing_is_told_by_another_process_too():
    error = MissingExtraError.of("openvino", "openvino", "openvino")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (MissingExtraError, str(error))
    assert "pip install 'srnas[openvino]'" in str(error)
