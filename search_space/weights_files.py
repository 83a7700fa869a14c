"""Files of weights as trainers write them: with containers, moving averages, prefixes of wrappers and counters.

No code of a file is run.
"""

import argparse
import logging
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from srnas.search_space.errors import InputError

Tensors = dict[str, torch.Tensor]

# Name of a tensor of bytes: the architecture as JSON, in files that tell it.
ARCHITECTURE = "srnas.architecture"

_LOGGER = logging.getLogger("srnas")
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)
# Where training scripts put the weights inside a file, by whether they are a moving average.
_AVERAGES = (
    *("params_ema", "state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "net_g_ema", "generator_ema"),
    *("ema", "netE", "E", "shadow"),
)
_PLAIN = (
    *("params", "state_dict", "model", "model_state_dict", "net_state_dict", "net_g", "netG", "generator", "network"),
    *("net", "weights", "model_state", "student", "G", "module"),
)
_DEPTH = 4
# What profilers, averaging and batch norm count, which says nothing about the network.
_COUNTERS = frozenset(("total_ops", "total_params", "n_averaged", "num_batches_tracked"))
# Values beside the weights, such as the best PSNR and the options of a script: plain data, none of which runs.
_HARMLESS = (
    *(np.dtype, np.ndarray, argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath),
    *(getattr(np.dtypes, f"{kind}DType") for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    # What makes a scalar of NumPy, by its name before and since NumPy 2.
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
)


def read_tensors(path: Path, *, average: bool = True) -> tuple[Tensors, torch.Tensor | None]:
    """Return the weights of a file by name, and what tells their architecture; report what was unwrapped or ignored.

    Args:
        path: Path of a ``.safetensors`` file, or of a file of ``torch.save``.
        average: Whether a moving average is taken where one stands beside the plain weights.

    Raises:
        InputError: If the file cannot be read, or holds no table of weights.
    """
    if not path.is_file():
        raise InputError(f"a file of weights must exist, but got '{path}'.")
    table = _unwrap(_parse(path), path, average)
    tensors = {name: value for name, value in table.items() if name != ARCHITECTURE and not _is_count(name, value)}
    if not tensors or not all(isinstance(name, str) and _is_plain(value) for name, value in tensors.items()):
        raise InputError(f"a file of weights must hold a table of names and real dense tensors, but '{path}' does not.")
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise InputError(f"all weights must be finite, but in '{path}' they are not in {', '.join(bad[:5])}.")
    told = table.get(ARCHITECTURE)
    return _side(tensors, path, average), told if isinstance(told, torch.Tensor) else None


def stripped(tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Yield the tensors as they are, and without each prefix that all names have, with the prefix."""
    prefix = ""
    yield prefix, tensors
    while tensors:
        first = {name.partition(".")[0] for name in tensors}
        if len(first) > 1 or not all("." in name for name in tensors):
            return
        prefix += f"{first.pop()}."
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
        yield prefix, tensors


def is_counter(name: str) -> bool:
    """Return whether a name is that of a counter, without which a network computes the same."""
    return name.rpartition(".")[2] in _COUNTERS


def _is_count(name: object, value: object) -> bool:
    """Return whether an entry is a counter that no network of ours has, or that is no tensor at all."""
    is_ours = str(name).endswith("num_batches_tracked") and isinstance(value, torch.Tensor)
    return is_counter(str(name)) and not is_ours


def _unwrap(data: Any, path: Path, average: bool) -> Mapping[Any, Any]:
    places: list[str] = []
    for _ in range(_DEPTH):
        if not isinstance(data, Mapping):
            break
        inner = {name: value for name, value in data.items() if isinstance(value, Mapping) and _holds_tensors(value)}
        averages, plain = ([name for name in names if name in inner] for names in (_AVERAGES, _PLAIN))
        order = [*averages, *plain] if average else [*plain, *averages]
        if not order and any(isinstance(value, torch.Tensor) for value in data.values()):
            break
        order = order or list(inner)
        if not order:
            break
        if averages and plain:
            other = "plain weights" if average else "moving average"
            _LOGGER.info("'%s': the weights of '%s' are taken, and the %s beside them are not", path, order[0], other)
        elif order[0] not in (*_AVERAGES, *_PLAIN):
            _LOGGER.info("'%s': the weights of '%s' are taken", path, order[0])
        places.append(str(order[0]))
        data = inner[order[0]]
    if not isinstance(data, Mapping):
        raise InputError(f"a file of weights must hold a table of names and real dense tensors, but '{path}' does not.")
    return data


def _holds_tensors(table: Mapping[Any, Any], depth: int = _DEPTH) -> bool:
    inner = (value for value in table.values() if depth > 0 and isinstance(value, Mapping))
    return any(isinstance(value, torch.Tensor) for value in table.values()) or any(
        _holds_tensors(value, depth - 1) for value in inner
    )


def _side(tensors: Tensors, path: Path, average: bool) -> Tensors:
    """Return those of one prefix, where the plain weights and their average stand beside each other in one table."""
    firsts = {name.partition(".")[0] for name in tensors}
    averages, plain = ([name for name in names if name in firsts] for names in (_AVERAGES, _PLAIN))
    if len(firsts) != 2 or not averages or not plain:
        return tensors
    taken, left = (averages[0], plain[0]) if average else (plain[0], averages[0])
    _LOGGER.info("'%s': the weights of '%s.' are taken, and those of '%s.' are not", path, taken, left)
    return {name: tensor for name, tensor in tensors.items() if name.startswith(f"{taken}.")}


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_meta)
        and value.dtype in _DTYPES
    )


def _parse(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(_HARMLESS)):
            warnings.simplefilter("ignore")  # A file of another pickle protocol either loads or fails with an error.
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file can make the unpickler fail in any way.
        raise InputError(
            f"a file of weights must hold tensors and nothing that runs, but '{path}' is damaged, holds code, or is no "
            f"such file ({type(error).__name__})."
        ) from None
