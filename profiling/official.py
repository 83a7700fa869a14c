"""Runtime as the NTIRE challenge measures it: without warm-up, each image once, and the first image in the mean.

This reproduces a way to measure that this package does not recommend, to be shown beside another one. What the first
call costs (kernels that are chosen, memory that is asked for) is in the mean, divided by the number of images.

Reference: ``run`` in ``test_demo.py`` of https://github.com/Amazingren/NTIRE2026_ESR. Deviations: the images are random
and all of one size, and nothing is decoded or judged between them.
"""

import copy
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch import nn

from srnas.profiling.counting import InputShape, check_input_shape
from srnas.profiling.device import cpu_threads
from srnas.profiling.lease import device_lease
from srnas.search_space import Architecture, InputError, Network

_SEED = 0


@dataclass(frozen=True)
class SequenceTiming:
    """How long each image of a sequence took, in milliseconds, in their order."""

    images_ms: tuple[float, ...]

    @property
    def first_ms(self) -> float:
        """The first image, which pays for the missing warm-up."""
        return self.images_ms[0]

    @property
    def mean_ms(self) -> float:
        """The challenge's runtime: the arithmetic mean, the first image included."""
        return statistics.fmean(self.images_ms)


def time_cold(
    architecture: Architecture, input_shape: InputShape, device: torch.device, threads: int, images: int
) -> SequenceTiming:
    """Build a network in a fresh process and time it there, so that no call of any network came before.

    Args:
        architecture: What is built; its deploy form is timed, eagerly in float32.
        input_shape: ``(B, 3, H, W)`` of each low-resolution image.
        device: A CPU or a CUDA device.
        threads: CPU threads.
        images: How many are timed.

    Raises:
        InputError: As :func:`time_sequence`.
        DeviceBusyError: If another process holds the device for longer than the lease's timeout.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_time_built, architecture, input_shape, device, threads, images).result()


def _time_built(
    architecture: Architecture, input_shape: InputShape, device: torch.device, threads: int, images: int
) -> SequenceTiming:
    with device_lease(device), cpu_threads(threads):
        return time_sequence(Network(architecture).deploy(), input_shape, device, images)


def time_sequence(network: nn.Module, input_shape: InputShape, device: torch.device, images: int) -> SequenceTiming:
    """Time a fresh copy of ``network`` on one image after another, without warm-up.

    On CUDA each image is timed by a pair of events and waited for; on a CPU by the clock of the host. Image and output
    are moved before and after that.

    Args:
        network: A network in deploy form; it is neither called nor changed.
        input_shape: ``(B, C, H, W)`` of each image.
        device: Where it runs.
        images: How many are timed.

    Raises:
        InputError: If the shape is not four positive integers, or there is no image.
    """
    check_input_shape(input_shape)
    if images < 1:
        raise InputError(f"images >= 1 must hold, but got images={images}.")
    fresh = copy.deepcopy(network).eval().to(device)
    generator = torch.Generator().manual_seed(_SEED)
    took = _took_on_cuda if device.type == "cuda" else _took_on_cpu
    with torch.no_grad():
        return SequenceTiming(
            tuple(took(fresh, torch.rand(input_shape, generator=generator).to(device)) for _ in range(images))
        )


def _took_on_cpu(run: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> float:
    start = time.perf_counter_ns()
    run(image)
    return (time.perf_counter_ns() - start) / 1e6


def _took_on_cuda(run: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> float:
    with torch.cuda.device(image.device):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        output = run(image)
        end.record()
        torch.cuda.synchronize(image.device)
        output.cpu()
        return float(start.elapsed_time(end))
