"""ncnn on a CPU: what phones and small boards run; converted by pnnx from a traced network."""

import math
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from srnas.profiling.agent.ncnn_net import bind, dtypes, extract, hold, read, version
from srnas.profiling.device import Target
from srnas.profiling.runtimes.base import Executable, Runtime, RuntimeFailedError, Supplies

# Layers of ncnn are called so; what pnnx could not convert keeps the name that torch has for it.
_LAYER = re.compile(r"[A-Z][A-Za-z0-9]*")
# What is converted wrongly runs as well: beyond this share of the output's range it is another network.
_TOLERANCE = 1e-2


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


def run_files(graph: Path, weights: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs two files on one image of any size that they take."""
    net = read(str(graph), str(weights), 1)
    return lambda x: torch.from_numpy(np.array(extract(net, hold(x[0].numpy()))))[None]


def _load(network: nn.Module, batches: Sequence[torch.Tensor], target: Target, supplies: Supplies) -> Executable:
    if target.dtype not in dtypes():
        raise RuntimeFailedError(
            f"ncnn must have {target.dtype} kernels for this processor, but it would compute in float32; use float32, "
            "or another runtime."
        )
    with tempfile.TemporaryDirectory() as folder:
        return _checked(network, batches[0], Path(folder), target)[1]


def _export(network: nn.Module, batches: Sequence[torch.Tensor], target: Target) -> dict[str, bytes]:
    # What is converted is checked here, in float32 whatever a board computes in.
    with tempfile.TemporaryDirectory() as folder:
        files, _ = _checked(network, batches[0], Path(folder), Target())
        return {kind: Path(path).read_bytes() for kind, path in files.items()}


def _checked(network: nn.Module, x: torch.Tensor, folder: Path, target: Target) -> tuple[dict[str, str], Executable]:
    """Return a network's files, and what runs them and gives what torch does."""
    if len(x) != 1:
        raise RuntimeFailedError(f"ncnn takes one image at a time, but got a batch of {len(x)}.")
    graph, weights = convert(network, x, folder)
    files = {"model": str(graph), "weights": str(weights)}
    try:
        run, result = bind(files, x.numpy(), target.threads, target.dtype)
    except ValueError as error:
        raise RuntimeFailedError(f"{error}.") from None
    expected = network(x)

    def output() -> torch.Tensor:
        found = torch.from_numpy(result())
        # What is one image may come with an axis more.
        return found.reshape(expected.shape) if found.numel() == expected.numel() else found

    _check(output(), expected)
    return files, Executable(run, output, version())


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
    {"cpu": ("float32", "float16")},
    _load,
    memory_formats=("nchw",),
    packages=("ncnn", "pnnx"),
    extra="ncnn",
    version=version,
    export=_export,
    # Held true by a test over all blocks.
    refuses={
        "hard": "it has no torch.gt",
        "imdb": "it has no torch.gt",
        "se": "it lays out pooled features otherwise",
        "spatial_from_channel": "it lays out pooled features otherwise",
    },
)
