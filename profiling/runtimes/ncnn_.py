"""ncnn on a CPU: what phones and small boards run; converted by pnnx from a traced network."""

import math
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime, RuntimeFailedError, Supplies

# pnnx's names of what goes in and comes out.
_INPUT, _OUTPUT = "in0", "out0"
# Layers of ncnn are called so; what pnnx could not convert keeps the name that torch has for it.
_LAYER = re.compile(r"[A-Z][A-Za-z0-9]*")
# What is converted wrongly runs as well: beyond this share of the output's range it is another network.
_TOLERANCE = 1e-2


def _library() -> Any:
    import ncnn

    return ncnn


def _version() -> str:
    return f"ncnn {version('ncnn')}"


def convert(network: nn.Module, x: torch.Tensor, folder: Path, other: torch.Tensor | None = None) -> tuple[Path, Path]:
    """Write a network as ncnn's two files, and return them: the graph and the weights.

    Args:
        network: A network in float32 and eval mode.
        x: Its input, one image.
        folder: Where files are written; pnnx leaves others there as well.
        other: An input of another size; with it the files take any size.

    Raises:
        RuntimeFailedError: If an operator cannot be converted.
    """
    import pnnx

    traced = torch.jit.trace(network, x, check_trace=False)
    traced.save(str(folder / "net.pt"))
    shapes = [f"inputshape={_shown(x)}", *([f"inputshape2={_shown(other)}"] if other is not None else [])]
    command = [pnnx.EXEC_PATH, str(folder / "net.pt"), *shapes, "fp16=0", "device=cpu"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    graph, weights = folder / "net.ncnn.param", folder / "net.ncnn.bin"
    if done.returncode or not graph.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeFailedError(
            f"pnnx must be able to convert the network, but got {lines[-1] if lines else 'nothing'}."
        )
    layers = [line.split()[0] for line in graph.read_text().splitlines()[2:]]
    if unknown := sorted({layer for layer in layers if not _LAYER.fullmatch(layer)}):
        raise RuntimeFailedError(f"ncnn must have every operator of the network, but it has not {', '.join(unknown)}.")
    return graph, weights


def _shown(x: torch.Tensor) -> str:
    return f"[{','.join(map(str, x.shape))}]f32"


def read(graph: Path, weights: Path, threads: int = 1) -> Any:
    """Return the network of two files.

    Raises:
        RuntimeFailedError: If ncnn cannot load them.
    """
    net = _library().Net()
    net.opt.num_threads = threads
    # Each would compute in fewer bits than float32.
    for option in (
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_storage",
        "use_vulkan_compute",
    ):
        setattr(net.opt, option, False)
    if net.load_param(str(graph)) or net.load_model(str(weights)):
        raise RuntimeFailedError("ncnn must be able to load what pnnx has written, but it does not.")
    return net


def run_files(graph: Path, weights: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs two files on one image of any size that they take."""
    net = read(graph, weights)

    def run(x: torch.Tensor) -> torch.Tensor:
        extractor = net.create_extractor()
        extractor.input(_INPUT, _library().Mat(x[0].numpy()).clone())
        return torch.from_numpy(np.array(extractor.extract(_OUTPUT)[1]))[None]

    return run


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    x = batches[0]
    if len(x) != 1:
        raise RuntimeFailedError(f"ncnn takes one image at a time, but got a batch of {len(x)}.")
    with tempfile.TemporaryDirectory() as folder:
        net = read(*convert(network, x, Path(folder)), target.threads)
    # The copy has rows that begin where vector instructions want them.
    given = _library().Mat(x[0].numpy()).clone()
    expected = network(x)

    def run() -> Any:
        extractor = net.create_extractor()
        extractor.input(_INPUT, given)
        return extractor.extract(_OUTPUT)[1]

    def output() -> torch.Tensor:
        found = torch.from_numpy(np.array(run()))
        # What is one image may come with an axis more.
        return found.reshape(expected.shape) if found.numel() == expected.numel() else found

    _check(output(), expected)
    return Executable(run, output, _version())


def _check(found: torch.Tensor, expected: torch.Tensor) -> None:
    is_whole = found.shape == expected.shape
    gap, size = float((found - expected).abs().max()) if is_whole else math.inf, float(expected.abs().max())
    if not gap <= _TOLERANCE * size:
        raise RuntimeFailedError(
            f"ncnn must give what torch gives, but what pnnx has written differs by {gap:.2g} where the greatest value "
            f"is {size:.2g}."
        )


RUNTIME = Runtime(
    "ncnn",
    {"cpu": ("float32",)},
    _load,
    memory_formats=("nchw",),
    packages=("ncnn", "pnnx"),
    extra="ncnn",
    version=_version,
)
