"""Networks as files that other programs load, and what such a file computes."""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from srnas.profiling.runtimes import executorch_, ncnn_
from srnas.profiling.runtimes.base import Run, RuntimeFailedError
from srnas.profiling.runtimes.int8 import quantise
from srnas.profiling.runtimes.onnx_export import ANY_SIZE, to_onnx
from srnas.profiling.runtimes.onnxruntime_ import run_file
from srnas.profiling.runtimes.prepare import first_cause, quiet
from srnas.search_space import Network
from srnas.search_space.checkpoints import join_architecture, load_network, split_architecture

# The suffix and the data types of each format.
FORMATS = {
    "onnx": (".onnx", ("float32", "float16", "int8")),
    "torchscript": (".pt", ("float32", "float16")),
    "pt2": (".pt2", ("float32", "float16")),
    "safetensors": (".safetensors", ("float32", "float16")),
    "ncnn": (".param", ("float32",)),
    "executorch": (".pte", ("float32", "int8")),
}
# ncnn has its weights in a file beside the graph.
NCNN_WEIGHTS = ".bin"


def write_network(
    network: Network, path: Path, form: str, dtype: str, batches: Sequence[torch.Tensor], *, dynamic: bool
) -> None:
    """Write a network in deploy form to a file.

    Args:
        network: On the CPU, in float32; it is not changed.
        path: Written whole or with an error; of ncnn's two files the graph, with the weights beside it in ``.bin``.
        form: One of ``FORMATS``.
        dtype: Data type of weights, input and output; with ``int8`` input and output are float32.
        batches: ``(1, 3, H, W)`` each. The first is the example, all serve to calibrate int8.
        dynamic: Whether height and width may be others than the example's.

    Raises:
        RuntimeFailedError: If the format cannot hold the network.
    """
    half = dtype == "float16"
    given = copy.deepcopy(network).half() if half else network
    x = batches[0].half() if half else batches[0]
    try:
        with quiet(), torch.no_grad():
            _write(given, path, form, dtype, x, batches, dynamic=dynamic)
    except Exception as error:
        raise RuntimeFailedError(
            f"format '{form}' must be able to hold the network, but got {first_cause(error)}; "
            f"try {'--size, or ' if dynamic else ''}another --format."
        ) from error


def _write(
    network: Network,
    path: Path,
    form: str,
    dtype: str,
    x: torch.Tensor,
    batches: Sequence[torch.Tensor],
    *,
    dynamic: bool,
) -> None:
    if form == "onnx":
        model = to_onnx(network, x, dynamic=dynamic)
        path.write_bytes(quantise(model, batches) if dtype == "int8" else model.SerializeToString())
    elif form == "torchscript":
        torch.jit.trace(network, (x,), check_trace=False).save(str(path))
    elif form == "pt2":
        torch.export.save(torch.export.export(network, (x,), dynamic_shapes=ANY_SIZE if dynamic else None), path)
    elif form == "ncnn":
        with tempfile.TemporaryDirectory() as folder:
            other = batches[0].new_zeros(1, 3, *(side + 8 for side in x.shape[-2:])) if dynamic else None
            graph, weights = ncnn_.convert(network, x, Path(folder), other)
            path.write_bytes(graph.read_bytes())
            path.with_suffix(NCNN_WEIGHTS).write_bytes(weights.read_bytes())
    elif form == "executorch":
        path.write_bytes(executorch_.convert(network, batches, dtype))
    else:
        save_file(join_architecture(network.architecture, network.state_dict()), path)


def read_model(path: Path) -> Any:
    """Return the ``onnx.ModelProto`` of a file."""
    import onnx

    return onnx.load(str(path))


def read_network(path: Path, form: str, dtype: str) -> Run:
    """Return what a written file computes in float32: ``(1, 3, H, W)`` to ``(1, 3, sH, sW)``, on the CPU."""
    run: Run
    if form == "onnx":
        run = run_file(path)
    elif form == "torchscript":
        run = torch.jit.load(str(path))
    elif form == "pt2":
        run = torch.export.load(path).module()
    elif form == "ncnn":
        run = ncnn_.run_files(path, path.with_suffix(NCNN_WEIGHTS))
    elif form == "executorch":
        run = executorch_.run_file(path)
    else:
        return load_network(split_architecture(load_file(path))[0], path).deploy()
    half = dtype == "float16"
    return lambda x: run(x.half()).float() if half else run(x)
