"""Trainings on disk: everything that the next step depends on, in one file that appears whole."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from srnas.search_space import InputError


class DiskFullError(InputError):
    """A file of the workspace cannot be written."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it.

    Raises:
        DiskFullError: If it cannot be written; a file that was there is left as it is.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise DiskFullError(
            f"'{path.parent}' must have room for {len(content) / 2**20:.1f} MiB, but {error.strerror or error}; free "
            "some and run the same command again: it goes on from here."
        ) from None


def save_training(
    path: Path,
    modules: dict[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    notes: dict[str, Any],
) -> None:
    """Write the state of a training.

    Args:
        path: Of the file.
        modules: By name: the network and its average.
        optimizer: With its moments.
        generator: Of the batches.
        notes: JSON: where the training is, and what the caller wants back.

    Raises:
        DiskFullError: If it cannot be written.
    """
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{key}": value for key, value in moments.items()}
    tensors |= {f"random/{name}": state for name, state in _random_states().items()}
    tensors["random/batches"] = generator.get_state()
    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_whole(path, save(whole, {"notes": json.dumps(notes)}))


def load_training(
    path: Path,
    modules: dict[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, Any] | None:
    """Put a training into the state of :func:`save_training` and return its notes; ``None`` without a usable file."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            notes: dict[str, Any] = json.loads(file.metadata()["notes"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        path.unlink(missing_ok=True)
        return None
    for name, module in modules.items():
        module.load_state_dict(_under(tensors, name))
    _load_moments(optimizer, _under(tensors, "optimizer"))
    generator.set_state(tensors["random/batches"])
    torch.set_rng_state(tensors["random/cpu"])
    if torch.cuda.is_available() and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"])
    return notes


def saved_iteration(path: Path) -> int:
    """Return where the training of a file goes on, 0 without a usable file."""
    try:
        with safe_open(path, "pt") as file:
            return int(json.loads(file.metadata()["notes"])["iteration"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return 0


def _random_states() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _under(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Give every parameter its moments, in its own memory layout: another layout may round in another way."""
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        for key, value in _under(tensors, str(number)).items():
            like = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            optimizer.state[parameter][key] = like.copy_(value)
