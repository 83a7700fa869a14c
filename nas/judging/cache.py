"""Trained results by protocol and architecture: what was trained once is not trained again."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save
from torch import nn

from srnas.leaderboard.record.trials import Quality, Rung
from srnas.nas.files import write_whole


class TrainedResult(BaseModel):
    """What training gave.

    Attributes:
        rungs: PSNR on the way.
        quality: Quality of each held-out photograph at the end.
        train_s: Seconds spent in training steps.
        spared: Whether a rung of the study that trained it would have stopped it.
        halved_batch: Whether memory sufficed only for half of a batch at a time.
        pending: The study that trained it, until that has its record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    rungs: tuple[Rung, ...]
    quality: Quality
    train_s: float
    spared: bool = False
    halved_batch: bool = False
    pending: str = ""


class ResultCache:
    """A folder of results and weights. Files appear whole: each is written aside and renamed.

    Args:
        folder: ``cache`` in the workspace.
        protocol: Hash of everything that the quality depends on.
    """

    def __init__(self, folder: Path, protocol: str) -> None:
        self._folder = folder / protocol

    def of(self, protocol: str) -> "ResultCache":
        """Return the cache of another protocol beside this one."""
        return ResultCache(self._folder.parent, protocol)

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
        # It is damaged or of another version, and the candidate is trained again.
        except ValidationError:
            return None

    def training(self, key: str, study: str) -> Path:
        """Return where a study keeps the unfinished training of an architecture."""
        return self._folder / f"{key}.{study}.training"

    def ended(self, key: str) -> Path:
        """Return the file of a finished training of an architecture, if a longer one can continue from it."""
        return self._folder / f"{key}.ended"

    def save(self, key: str, result: TrainedResult, network: nn.Module) -> None:
        """Keep weights and result of an architecture.

        Raises:
            DiskFullError: If they cannot be written.
        """
        # A training leaves weights in the layout channels_last, which safetensors does not take.
        tensors = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
        write_whole(self.weights(key), save(tensors))
        self._write(key, result)

    def settle(self, key: str, study: str) -> None:
        """Say of a result that the study which trained it has its record.

        Raises:
            DiskFullError: If that cannot be written.
        """
        result = self.load(key)
        if result is not None and result.pending == study:
            self._write(key, result.model_copy(update={"pending": ""}))

    def _write(self, key: str, result: TrainedResult) -> None:
        write_whole(self._folder / f"{key}.json", result.model_dump_json().encode())
