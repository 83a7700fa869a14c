"""Weights from a file: our own, in training or deploy form, or the official ones of a published network."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from srnas.search_space.architecture import Architecture
from srnas.search_space.errors import InputError
from srnas.search_space.network import Network
from srnas.search_space.official import rename
from srnas.search_space.published import PUBLISHED

# Where training scripts put the weights inside a file; the moving average first.
_WRAPPERS = ("params_ema", "params", "state_dict")
# Name of a tensor of bytes: the architecture as JSON, in files that tell it.
ARCHITECTURE = "srnas.architecture"
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)


@dataclass(frozen=True)
class _Fit:
    """How well the tensors of a file fit a network under one naming."""

    network: Network
    tensors: dict[str, torch.Tensor]
    unknown: tuple[str, ...]

    @property
    def problems(self) -> dict[str, list[str]]:
        expected = self.network.state_dict()
        shared = [name for name in self.tensors if name in expected]
        return {
            "missing": [name for name in expected if name not in self.tensors],
            "unknown": [*self.unknown, *(name for name in self.tensors if name not in expected)],
            "of another shape": [
                f"{name} {tuple(self.tensors[name].shape)} instead of {tuple(expected[name].shape)}"
                for name in shared
                if self.tensors[name].shape != expected[name].shape
            ],
        }

    @property
    def faults(self) -> int:
        return sum(map(len, self.problems.values()))


def join_architecture(architecture: Architecture, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what a file holds that tells its architecture; :func:`split_architecture` takes it apart."""
    told = torch.frombuffer(bytearray(architecture.to_json().encode()), dtype=torch.uint8)
    return {ARCHITECTURE: told, **{name: tensor.contiguous() for name, tensor in tensors.items()}}


def split_architecture(tensors: Mapping[str, torch.Tensor]) -> tuple[Architecture, dict[str, torch.Tensor]]:
    """Return the architecture that a file tells, and its weights.

    Raises:
        InputError: If what is told is no architecture.
    """
    weights = dict(tensors)
    told = bytes(weights.pop(ARCHITECTURE).to(torch.uint8).tolist())
    return Architecture.from_json(told.decode(errors="replace")), weights


def load_network(architecture: Architecture, path: Path) -> Network:
    """Build the network of an architecture with weights from a file, in eval mode.

    The file holds our names, in training or deploy form, or the official names if the architecture is a published
    network. No code of the file is run. A file does not tell its scale where the shapes are equal (A2N x2 and x3).

    Args:
        architecture: Architecture of the network.
        path: Path of a ``.safetensors`` file, or of a file of ``torch.save``.

    Returns:
        The network in the form that the file holds.

    Raises:
        InputError: If the file cannot be read, a value is not finite, or names or shapes differ (all are listed).
    """
    tensors = _read(path)
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise InputError(f"all weights must be finite, but in '{path}' they are not in {', '.join(bad)}.")
    built = Network(architecture).eval()
    fits = [fit for network in (built, built.deploy()) for fit in _fits(network, architecture, tensors)]
    best = min(fits, key=lambda fit: fit.faults)
    if best.faults:
        problems = "; ".join(f"{what}: {', '.join(names)}" for what, names in best.problems.items() if names)
        raise InputError(f"the weights of '{path}' must fit network {architecture}, but {problems}.")
    best.network.load_state_dict(best.tensors)
    return best.network


def _fits(network: Network, architecture: Architecture, tensors: Mapping[str, torch.Tensor]) -> Iterable[_Fit]:
    yield _Fit(network, dict(tensors), ())
    for entry in PUBLISHED.values():
        if entry.architecture(architecture.scale) == architecture:
            names = rename(entry.official_names(architecture), tensors)
            renamed = {ours: tensors[official] for official, ours in names.items()}
            for copied in [ours for ours in renamed if _is_copy(ours, renamed)]:
                del renamed[copied]
            yield _Fit(network, renamed, tuple(name for name in tensors if name not in names))


def _is_copy(name: str, names: Iterable[str]) -> bool:
    """Return whether a tensor is of a folded convolution whose branches are there too, as in SPAN's own files."""
    convolution = name.rpartition(".")[0]
    depth = name.count(".")
    branches = (other for other in names if other.startswith(f"{convolution}.") and other.count(".") > depth)
    return convolution.endswith(".body") and any(branches)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"a file of weights must exist, but got '{path}'.")
    data = _parse(path)
    for wrapper in _WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
            break
    if isinstance(data, Mapping):  # What the network is, is known here.
        data = {name: value for name, value in data.items() if name != ARCHITECTURE}
    if not isinstance(data, Mapping) or not all(isinstance(key, str) and _is_plain(data[key]) for key in data):
        raise InputError(f"a file of weights must hold a table of names and real dense tensors, but '{path}' does not.")
    return dict(data)


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A file of another pickle protocol either loads or fails with an error.
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file can make the unpickler fail in any way.
        raise InputError(
            f"a file of weights must hold tensors and nothing that runs, but '{path}' is damaged, holds code, or is no "
            f"such file ({type(error).__name__})."
        ) from None
