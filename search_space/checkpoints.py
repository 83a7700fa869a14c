"""Networks with weights from a file: ours, in training or deploy form, or the official ones of a published network."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from srnas.search_space.architecture import SCALES, Architecture
from srnas.search_space.errors import InputError
from srnas.search_space.network import Network
from srnas.search_space.official import rename
from srnas.search_space.published import PUBLISHED
from srnas.search_space.weights_files import ARCHITECTURE, Tensors, is_counter, read_tensors, stripped

_LOGGER = logging.getLogger("srnas")
# So many names are shown of what does not fit.
_SHOWN = 4


@dataclass(frozen=True)
class _Fit:
    """How well the tensors of a file fit a network under one naming."""

    network: Network
    tensors: Tensors
    unknown: tuple[str, ...]
    prefix: str = ""

    @property
    def problems(self) -> dict[str, list[str]]:
        expected = self.network.state_dict()
        shared = [name for name in self.tensors if name in expected]
        return {
            "missing": [name for name in expected if name not in self.tensors and not is_counter(name)],
            "unknown": [
                name
                for name in (*self.unknown, *(name for name in self.tensors if name not in expected))
                if not is_counter(name)
            ],
            "of another shape": [
                f"{name} {tuple(self.tensors[name].shape)} instead of {tuple(expected[name].shape)}"
                for name in shared
                if self.tensors[name].shape != expected[name].shape
            ],
        }

    @property
    def faults(self) -> int:
        return sum(map(len, self.problems.values()))

    @property
    def filled(self) -> Tensors:
        """What the network loads: counters that the file lacks stay as they are."""
        expected = self.network.state_dict()
        return expected | {name: tensor for name, tensor in self.tensors.items() if name in expected}


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
    return _architecture(weights.pop(ARCHITECTURE)), weights


def _architecture(told: torch.Tensor) -> Architecture:
    return Architecture.from_json(bytes(told.to(torch.uint8).tolist()).decode(errors="replace"))


def load_network(architecture: Architecture, path: Path, *, average: bool = True) -> Network:
    """Build the network of an architecture with weights from a file, in eval mode.

    The file holds our names, in training or deploy form, or the official names if the architecture is a published
    network, with the prefixes of a trainer's wrappers or without. A file that is not ours does not tell its scale where
    the shapes are equal (A2N x2 and x3).

    Args:
        architecture: Architecture of the network.
        path: Path of a ``.safetensors`` file, or of a file of ``torch.save``.
        average: Whether a moving average is taken where one stands beside the plain weights.

    Returns:
        The network in the form that the file holds.

    Raises:
        InputError: If the file cannot be read, a value is not finite, names or shapes differ, or the file tells another
            architecture.
    """
    tensors, told = read_tensors(path, average=average)
    # Activations, skips and input ranges have no weights that would differ.
    if told is not None and (other := _architecture(told)) != architecture:
        raise InputError(
            f"the weights of '{path}' must be of network {architecture}, but the file says that they are of {other}; "
            "name that network."
        )
    best = _best(architecture, tensors)
    if best.faults:
        raise InputError(f"the weights of '{path}' must fit network {architecture}, but {_told(best, tensors)}")
    if best.prefix:
        _LOGGER.info("'%s': all names begin with '%s', which is ignored", path, best.prefix)
    best.network.load_state_dict(best.filled)
    return best.network


def _best(architecture: Architecture, tensors: Tensors) -> _Fit:
    """Return the form, naming and prefix that fit best."""
    entries = (entry for entry in PUBLISHED.values() if entry.architecture(architecture.scale) == architecture)
    names = [entry.official_names(architecture) for entry in entries]
    return _best_of(Network(architecture).eval(), tensors, names)


def _best_of(built: Network, tensors: Tensors, names: Sequence[Mapping[str, str]]) -> _Fit:
    fits = (
        fit
        for network in (built, built.deploy())
        for prefix, inner in stripped(tensors)
        for fit in _fits(network, inner, names, prefix)
    )
    return min(fits, key=lambda fit: fit.faults)


def _fits(network: Network, tensors: Tensors, official: Sequence[Mapping[str, str]], prefix: str) -> Iterable[_Fit]:
    yield _Fit(network, tensors, (), prefix)
    for prefixes in official:
        names = rename(prefixes, tensors)
        renamed = {ours: tensors[theirs] for theirs, ours in names.items()}
        for copied in [ours for ours in renamed if _is_copy(ours, renamed)]:
            del renamed[copied]
        yield _Fit(network, renamed, tuple(name for name in tensors if name not in names), prefix)


def _is_copy(name: str, names: Iterable[str]) -> bool:
    """Return whether a tensor is of a folded convolution whose branches are there too, as in SPAN's own files."""
    convolution = name.rpartition(".")[0]
    depth = name.count(".")
    branches = (other for other in names if other.startswith(f"{convolution}.") and other.count(".") > depth)
    return convolution.endswith(".body") and any(branches)


def _told(best: _Fit, tensors: Tensors) -> str:
    """Return in at most ten lines how far weights fit a network, and which they would fit."""
    problems = best.problems
    matching = len(best.network.state_dict()) - len(problems["missing"]) - len(problems["of another shape"])
    lines = [f"{matching} of its {len(best.network.state_dict())} tensors match:"]
    lines += [f"  {len(names)} {what}: {_first(names)}" for what, names in problems.items() if names]
    fitting = _fitting(best, tensors) if best.faults > 1 or problems["of another shape"] else ""
    lines += [f"They would fit {fitting}."] if fitting else []
    return "\n".join(lines)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _fitting(best: _Fit, tensors: Tensors) -> str:
    """Return the network, or the scale of this one, that tensors fit, or nothing."""
    mine = best.network.architecture
    # What the first convolution of a network gives, by which most of them are told apart before they are built.
    widths = {tensor.shape[0] for tensor in tensors.values() if tensor.ndim == 4 and tensor.shape[1] == 3}
    others: list[tuple[str, Architecture, Mapping[str, str]]]
    others = [(f"this network at scale {s}", Architecture.from_dict(mine.to_dict() | {"scale": s}), {}) for s in SCALES]
    for name, entry in PUBLISHED.items():
        found = ((scale, entry.architecture(scale)) for scale in SCALES)
        others += [(f"{name} at scale {s}", one, entry.official_names(one)) for s, one in found]
    for label, other, names in others:
        carried = 3 * (other.global_skip == "carriers")
        is_near = other != mine and widths & {other.channels, other.channels + carried}
        if is_near and _best_of(Network(other).eval(), tensors, [names]).faults == 0:
            return label
    return ""
