"""A network of ncnn, the same on a board as here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# pnnx's names of what goes in and comes out.
INPUT, OUTPUT = "in0", "out0"
# What a text of ncnn's graphs begins with. source: the parameter file format of ncnn's documentation.
MAGIC = b"7767517"
_MAX_GRAPH_BYTES = 2**20
_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")


def library() -> Any:
    """Import ncnn."""
    import ncnn

    return ncnn


def version() -> str:
    """Return name and version of the library."""
    return f"ncnn {library().__version__}"


def dtypes() -> tuple[str, ...]:
    """Return the data types that ncnn computes in on this processor: float16 needs ARM's half-precision arithmetic.

    On other processors float16 is how ncnn stores some weights, and not what it computes in.
    """
    return ("float32", "float16") if library().cpu_support_arm_asimdhp() else ("float32",)


def check_graph(content: bytes) -> None:
    """Check that a graph holds ncnn's own layers only.

    Raises:
        ValueError: If it does not, or is no graph.
    """
    if len(content) > _MAX_GRAPH_BYTES:
        raise ValueError(f"a graph of ncnn must have at most {_MAX_GRAPH_BYTES} bytes")
    try:
        lines = [line.split() for line in content.decode("ascii").splitlines()]
        is_whole = lines[0] == [MAGIC.decode()] and len(lines) == 2 + int(lines[1][0])
        kinds = {line[0] for line in lines[2:]}
    except (ValueError, IndexError):
        is_whole = False
    if not is_whole:
        raise ValueError("a model must be a whole graph of ncnn")
    for kind in kinds:
        if library().layer_to_index(kind) < 0:
            raise ValueError(f"layers must be ncnn's own, but got {kind[:80]!r}")


def read(graph: str, weights: str, threads: int, dtype: str = "float32") -> Any:
    """Return the network of two files.

    Raises:
        ValueError: If ncnn cannot load them.
    """
    net = library().Net()
    net.opt.num_threads = threads
    for option in _HALF:
        setattr(net.opt, option, dtype == "float16")
    net.opt.use_bf16_storage = net.opt.use_vulkan_compute = False
    if net.load_param(graph) or net.load_model(weights):
        raise ValueError("ncnn must be able to load what pnnx has written, but it does not")
    return net


def extract(net: Any, given: Any) -> Any:
    """Return ncnn's output for an image that it holds."""
    extractor = net.create_extractor()
    extractor.input(INPUT, given)
    return extractor.extract(OUTPUT)[1]


def hold(image: np.ndarray[Any, Any]) -> Any:
    """Return an image ``(C, H, W)`` as ncnn holds it: a copy, whose rows begin where vector instructions want them."""
    return library().Mat(np.ascontiguousarray(image)).clone()


def bind(
    files: Mapping[str, str], x: np.ndarray[Any, Any], threads: int, dtype: str
) -> tuple[Callable[[], Any], Callable[[], np.ndarray[Any, Any]]]:
    """Return what runs a network once, and what gives its result.

    Args:
        files: Where the ``model`` (its graph) and the ``weights`` are.
        x: Its input ``(1, C, H, W)``.
        threads: CPU threads.
        dtype: What it must compute in.

    Raises:
        ValueError: If ncnn cannot load the files.
    """
    net, given = read(files["model"], files["weights"], threads, dtype), hold(x[0])

    def run() -> Any:
        return extract(net, given)

    return run, lambda: np.array(run(), dtype=np.float32)
