"""What float32 means on CUDA: by torch's default convolutions round their inputs to TF32, of ten bits."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

_NAME, _TRUE, _TF32 = "fp32_precision", "ieee", "tf32"


@contextlib.contextmanager
def true_float32() -> Iterator[None]:
    """Let convolutions and matrix products of float32 be of float32 on CUDA, and put back what was set."""
    cudnn, matmul, places = torch.backends.cudnn, torch.backends.cuda.matmul, _places()
    # The older setting, where torch lacks that by operator; else they must agree, or nobody may read the older one.
    before = [getattr(place, _NAME) == _TF32 for place in places[1:]] or [cudnn.allow_tf32, matmul.allow_tf32]
    settings = [getattr(place, _NAME) for place in places]
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = False
        for place in places:
            setattr(place, _NAME, _TRUE)
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
        for place, setting in zip(places, settings, strict=True):
            setattr(place, _NAME, setting)


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
