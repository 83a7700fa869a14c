"""A trained network as a file to ship: written, and checked against eager."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from srnas.nas.files import writing
from srnas.nas.images.imresize import imresize
from srnas.nas.images.photos import embedded_photos
from srnas.nas.ship.calibration import Calibration, calibrate, middle
from srnas.nas.workspace.sources import Source
from srnas.profiling import Target
from srnas.profiling.runtimes import find_runtime
from srnas.profiling.runtimes.files import FORMATS, NCNN_WEIGHTS, read_network, write_network
from srnas.profiling.runtimes.prepare import first_cause
from srnas.search_space import InputError, Network, unknown_name

# Height and width of the example, and of what else is tried.
_SIZES = ((48, 64), (61, 45), (96, 80))
_TOLERANCE = 1e-3
# What must be installed to write and to check a format.
_RUNTIMES = {"onnx": "onnxruntime", "ncnn": "ncnn", "executorch": "executorch"}


@dataclass(frozen=True)
class Check:
    """What a file computes beside eager float32.

    Attributes:
        size: Height and width of the input.
        max_abs_difference: Largest absolute difference of an output value, on the scale 0 to 1.
    """

    size: tuple[int, int]
    max_abs_difference: float


def export(
    source: Source,
    path: Path,
    form: str,
    dtype: str,
    size: tuple[int, int] | None = None,
    calibration: Calibration | None = None,
) -> list[Check]:
    """Write a trained network, and check it on crops of three photographs; nothing is left if the check fails.

    Args:
        source: The network.
        path: Path of the file to write.
        form: One of ``FORMATS``.
        dtype: Data type of weights and computation.
        size: Height and width of the only input that it shall take; without it any size.
        calibration: What calibrates int8; by default patches of the embedded photographs.

    Raises:
        InputError: If there is no such format or data type, the suffix is of another, the format cannot hold the
            network, or what it computes in float32 differs from eager by more than 1e-3.
    """
    suffix = suffix_of(form)
    if path.suffix != suffix:
        raise InputError(f"a file of format '{form}' must end in '{suffix}', but got '{path}'; rename it.")
    if dtype not in FORMATS[form][1]:
        raise unknown_name(f"dtype of format '{form}'", dtype, FORMATS[form][1])
    if form in _RUNTIMES:
        find_runtime(Target(torch.device("cpu"), _RUNTIMES[form]))
    if form == "executorch" and size is None:
        raise InputError("--size must be given for format 'executorch', which plans its memory for one size.")
    least = source.architecture.min_size
    if size is not None and min(size) < least:
        raise InputError(f"--size must be at least {least}x{least} for this network, but got {size[1]}x{size[0]}.")
    sizes = [size] * 3 if size else [(max(h, least), max(w, least)) for h, w in _SIZES]
    photos = [imresize(photo.pixels, 1 / source.architecture.scale) for photo in embedded_photos("train").photos]
    with contextlib.ExitStack() as files:
        aside, *_ = [files.enter_context(writing(one)) for one in files_of(path, form)]
        inputs = [middle(*given) for given in zip(photos, sizes, strict=False)]
        batches: Sequence[torch.Tensor] = inputs[:1]
        if dtype == "int8":
            batches = (calibration or calibrate(source, None, size)).inputs.split(1)
        write_network(source.network, aside, form, dtype, batches, dynamic=size is None)
        return _check(source.network, aside, form, dtype, inputs)


def files_of(path: Path, form: str) -> list[Path]:
    """Return every file that a format has: ncnn's weights lie beside its graph."""
    return [path, *([path.with_suffix(NCNN_WEIGHTS)] if form == "ncnn" else [])]


def suffix_of(form: str) -> str:
    """Return the suffix of a format's files.

    Raises:
        InputError: If there is no such format.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    return FORMATS[form][0]


@torch.no_grad()
def _check(network: Network, path: Path, form: str, dtype: str, inputs: Sequence[torch.Tensor]) -> list[Check]:
    run, checks = read_network(path, form, dtype), []
    for x in inputs:
        height, width = x.shape[-2:]
        shown = f"{width}x{height}"
        try:
            difference = float((run(x) - network(x)).abs().max())
        except Exception as error:
            raise InputError(
                f"the file must take an input of {shown}, but in format '{form}' this network does not "
                f"({first_cause(error)}); give --size, or another --format."
            ) from error
        if not math.isfinite(difference) or (dtype == "float32" and difference > _TOLERANCE):
            raise InputError(
                f"the file must compute what eager does within {_TOLERANCE:g}, but at {shown} it differs by "
                f"{difference:.3g}; give --size, or another --format."
            )
        checks.append(Check((height, width), difference))
    return checks
