"""Trained results by protocol and architecture: what was trained once is not trained again."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import nn

from srnas.leaderboard import Quality, Rung


class TrainedResult(BaseModel):
    """What training gave: PSNR on the way, per-image quality at the end, seconds spent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rungs: tuple[Rung, ...]
    quality: Quality
    train_s: float


class ResultCache:
    """A folder of results and weights. Files appear whole: each is written aside and renamed.

    Args:
        folder: ``cache`` in the workspace.
        protocol: Hash of everything that the quality depends on.
    """

    def __init__(self, folder: Path, protocol: str) -> None:
        self._folder = folder / protocol

    def weights(self, key: str) -> Path:
        """Return where the weights of an architecture are."""
        return self._folder / f"{key}.safetensors"

    def load(self, key: str) -> TrainedResult | None:
        """Return the result for an architecture, or ``None`` if it was not trained or its file is damaged."""
        path = self._folder / f"{key}.json"
        if not path.is_file() or not self.weights(key).is_file():
            return None
        try:
            return TrainedResult.model_validate_json(path.read_bytes())
        except ValidationError:
            return None

    def save(self, key: str, result: TrainedResult, network: nn.Module) -> None:
        """Keep weights and result of an architecture."""
        self._folder.mkdir(parents=True, exist_ok=True)
        weights = self.weights(key)
        aside = weights.with_suffix(f".{os.getpid()}")
        save_file({name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}, aside)
        aside.replace(weights)
        aside.write_text(result.model_dump_json(), encoding="utf-8")
        aside.replace(self._folder / f"{key}.json")
