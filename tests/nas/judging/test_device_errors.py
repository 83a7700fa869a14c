"""Errors as torch raises them, with a device that answers or does not; no device is needed."""

import pytest
import torch

from srnas.nas.errors import DeviceLostError
from srnas.nas.judging.device_errors import check_device

GPU = torch.device("cuda", 0)
ILLEGAL = "CUDA error: an illegal memory access was encountered"


def refuse(device):
    assert device == GPU
    raise torch.AcceleratorError(f"{ILLEGAL}\nSearch for `cudaErrorIllegalAddress'")


def test_a_device_that_answers_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    with pytest.raises(
        DeviceLostError, match=rf"cuda:0 must answer, but says '{ILLEGAL}' since 'RuntimeError: bad'; run"
    ):
        check_device(GPU, RuntimeError("bad\nmore"))


def test_an_error_of_a_device_that_answers_is_the_candidates(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    check_device(GPU, RuntimeError("bad"))
    assert asked == [GPU]


def test_a_cpu_and_errors_of_other_kinds_ask_no_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    check_device(torch.device("cpu"), RuntimeError("bad"))
    check_device(GPU, ValueError("bad"))
