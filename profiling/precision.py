"""What float32 means on CUDA: by default torch's convolutions round their inputs to TF32, with ten bits."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

_NAME, _TRUE, _TF32 = "fp32_precision", "ieee", "tf32"


@contextlib.contextmanager
def true_float32() -> Iterator[None]:
    """Let convolutions and matrix products of float32 be of float32, and put back what was set."""
    cudnn, places, products = torch.backends.cudnn, _places(), _matmul_precision()
    settings = [getattr(place, _NAME) for place in places]
    # The older settings must agree with those by operator: else nobody, such as a compiler, may read them.
    convolutions = settings[1] == _TF32 if settings else cudnn.allow_tf32
    try:
        cudnn.allow_tf32 = False
        if products:
            torch.set_float32_matmul_precision("highest")
        for place in places:
            setattr(place, _NAME, _TRUE)
        yield
    finally:
        cudnn.allow_tf32 = convolutions
        if products:
            torch.set_float32_matmul_precision(products)
        for place, setting in zip(places, settings, strict=True):
            setattr(place, _NAME, setting)


def _matmul_precision() -> str:
    """Return the older setting of matrix products, where it is another than the highest and may be read."""
    with contextlib.suppress(RuntimeError):
        return torch.get_float32_matmul_precision().removeprefix("highest")
    return ""


def precision_of_float32() -> dict[str, Any]:
    """Return what float32 is computed in on CUDA, for the record."""
    if places := _places():
        return {"convolution_float32": getattr(places[1], _NAME), "matmul_float32": getattr(places[2], _NAME)}
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {"convolution_tf32": cudnn.allow_tf32, "matmul_tf32": matmul.allow_tf32}


def _places() -> tuple[Any, ...]:
    """Return where precision is set by operator, where torch has that: recurrent, convolutions, matrix products."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return (cudnn.rnn, cudnn.conv, matmul) if hasattr(cudnn, "conv") and hasattr(matmul, _NAME) else ()
