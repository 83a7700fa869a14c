"""Trainings on disk: everything that the next step depends on, in one file that appears whole."""

from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from srnas.nas.files import write_whole

# The name of the state in the file.
_STATE = "notes"


class TrainingState(BaseModel):
    """Where a training is; whoever trains extends it by what shall come back after a kill.

    Attributes:
        iteration: Steps that are done.
        train_s: Seconds spent in these steps.
    """

    model_config = ConfigDict(extra="ignore")

    iteration: int = 0
    train_s: float = 0.0

    def restore(self, text: str) -> None:
        """Take over what was saved as JSON."""
        saved = type(self).model_validate_json(text)
        for name in type(self).model_fields:
            setattr(self, name, getattr(saved, name))


class Trained(NamedTuple):
    """What the next step depends on.

    Attributes:
        modules: The network and its average, by name.
        optimizers: The optimisers with their moments, by name.
        generator: What draws the batches.
    """

    modules: dict[str, torch.nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator


def save_training(path: Path, trained: Trained, state: TrainingState) -> None:
    """Write a training, whole or not at all.

    Raises:
        DiskFullError: If it cannot be written.
    """
    tensors = {
        f"{name}/{key}": value for name, module in trained.modules.items() for key, value in module.state_dict().items()
    }
    for name, optimizer in trained.optimizers.items():
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/{number}/{key}": value for key, value in moments.items()}
    tensors |= {f"random/{name}": value for name, value in _random_states(device_of(trained)).items()}
    tensors["random/batches"] = trained.generator.get_state()
    # Cloned, as safetensors takes no tensors that share memory.
    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_whole(path, save(whole, {_STATE: state.model_dump_json()}))


def load_training(path: Path, trained: Trained, state: TrainingState) -> bool:
    """Put a training back to where :func:`save_training` left it; ``False`` if there is no usable file."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            state.restore(file.metadata()[_STATE])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        path.unlink(missing_ok=True)
        return False
    for name, module in trained.modules.items():
        module.load_state_dict(_under(tensors, name))
    for name, optimizer in trained.optimizers.items():
        _load_moments(optimizer, _under(tensors, name))
    trained.generator.set_state(tensors["random/batches"])
    torch.set_rng_state(tensors["random/cpu"])
    device = device_of(trained)
    if device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    return True


def saved_iteration(path: Path) -> int:
    """Return the iteration from which the training of a file continues, 0 without a usable file."""
    try:
        with safe_open(path, "pt") as file:
            return TrainingState.model_validate_json(file.metadata()[_STATE]).iteration
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return 0


def device_of(trained: Trained) -> torch.device:
    """Return what trains."""
    return next(parameter.device for module in trained.modules.values() for parameter in module.parameters())


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    # Only the device that trains is asked: asking another would start CUDA there.
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _under(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Give every parameter its moments, on its device and in its memory layout: another may round in another way."""
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        for key, value in _under(tensors, str(number)).items():
            # The count of steps too: fused AdamW reads it on the device.
            elsewise = torch.empty_like(value, device=parameter.device)
            like = torch.empty_like(parameter) if value.shape == parameter.shape else elsewise
            optimizer.state[parameter][key] = like.copy_(value)
