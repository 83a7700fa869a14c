"""Networks that are run on images of any size, in every runtime, to judge what they give."""

import pytest
import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes import RuntimeFailedError, prepare_any

SIZES = ((9, 7), (7, 20), (12, 12))


@pytest.fixture
def network():
    """Return a network that sees its neighbours and the whole picture."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 1)

        def forward(self, x):
            y = self.body(x)
            return nn.functional.pixel_shuffle(self.tail(y * torch.sigmoid(y.mean((2, 3), keepdim=True))), 2)

    return Network().eval()


def identity():
    convolution = nn.Conv2d(3, 3, 1, bias=False).eval()
    convolution.weight.data = torch.eye(3)[:, :, None, None]
    return convolution


@pytest.mark.parametrize(
    ("runtime", "dtype", "tolerance"),
    [
        ("eager", "float32", 0.0),
        ("eager", "bfloat16", 0.02),
        pytest.param("compile", "bfloat16", 0.02, marks=pytest.mark.slow),
        pytest.param("onnxruntime", "float32", 1e-6, marks=pytest.mark.slow),
        pytest.param("onnxruntime", "int8", 0.05, marks=pytest.mark.slow),
        pytest.param("openvino", "float32", 1e-6, marks=pytest.mark.slow),
        pytest.param("ncnn", "float32", 1e-5, marks=pytest.mark.slow),
    ],
)
def test_output_is_that_of_eager_at_every_size(network, runtime, dtype, tolerance):
    if runtime in ("onnxruntime", "openvino", "ncnn"):
        pytest.importorskip(runtime)
    run = prepare_any(network, torch.rand(8, 3, 10, 10), Target(runtime=runtime, dtype=dtype))
    # Sizes after the first two cost no compiler anything new.
    for height, width in SIZES[: 2 if runtime == "compile" else None]:
        x = torch.rand(1, 3, height, width)
        with torch.inference_mode():
            output, expected = run(x), network(x)
        assert output.shape == (1, 3, 2 * height, 2 * width)
        assert (output.dtype, output.is_contiguous()) == (torch.float32, True)
        assert (output - expected).abs().max() <= tolerance


@pytest.mark.slow
def test_int8_is_calibrated_on_what_is_given_and_on_nothing_else():
    """Closed form: an identity keeps 255 steps up to the greatest value, 127 without VNNI; what is above becomes it."""
    pytest.importorskip("onnxruntime")
    most = 51
    patches = torch.linspace(0, most / 255, 300).reshape(1, 3, 10, 10)
    run = prepare_any(identity(), patches, Target(runtime="onnxruntime", dtype="int8"))
    pixels = torch.arange(3 * 86).clamp(max=255).reshape(1, 3, 2, 43)
    found = run(pixels / 255)
    assert torch.allclose(found * 255, pixels.clamp(max=most).float(), rtol=0, atol=0.5 * most / 127 + 1e-3)


def test_a_number_is_rounded_to_the_bits_of_its_type():
    """Closed form: between 1/2 and 1 numbers of bfloat16 are 1/256 apart."""
    run = prepare_any(identity(), torch.zeros(1, 3, 4, 4), Target(dtype="bfloat16"))
    x = torch.tensor([0.5 + 0.3 / 256, 0.5 + 0.7 / 256, 1 - 0.4 / 256]).reshape(1, 3, 1, 1)
    assert run(x).flatten().tolist() == [0.5, 0.5 + 1 / 256, 1.0]


def test_what_fails_in_it_is_named():
    class Odd(nn.Module):
        def forward(self, x):
            raise TypeError("no kernel")

    run = prepare_any(Odd(), torch.zeros(1, 3, 4, 4), Target(dtype="bfloat16"))
    with pytest.raises(
        RuntimeFailedError, match="runtime 'eager' must be able to run Odd in bfloat16, but got TypeErr"
    ):
        run(torch.zeros(1, 3, 4, 4))
