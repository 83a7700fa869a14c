"""Where trainings on the long schedule are kept in a workspace: one folder by architecture and protocol."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout
from pydantic import ValidationError
from safetensors.torch import save
from torch import nn

from srnas.leaderboard.record.finals import FinalRecord, FinalResult
from srnas.nas.files import check_folder, write_whole
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import InputError

FINAL_ARCHITECTURE = "architecture.json"
_RESULT = "result.json"


@dataclass(frozen=True)
class FinalFolder:
    """The files of a training; each appears whole."""

    path: Path

    @classmethod
    def of(cls, workspace: Workspace, record: FinalRecord) -> Self:
        """Return the folder of a training."""
        return cls(workspace.final(record))

    @property
    def architecture(self) -> Path:
        """The file of the architecture."""
        return self.path / FINAL_ARCHITECTURE

    @property
    def weights(self) -> Path:
        """The file of the weights, once they are trained."""
        return self.path / "weights.safetensors"

    @property
    def training(self) -> Path:
        """The file from which an unfinished training continues."""
        return self.path / "unfinished.training"

    def load(self) -> FinalResult | None:
        """Return the result, or ``None`` if the training is not finished or its file is damaged."""
        path = self.path / _RESULT
        if not path.is_file() or not self.weights.is_file():
            return None
        try:
            return FinalResult.model_validate_json(path.read_bytes())
        # It is damaged or of another version, and the network is trained again.
        except ValidationError:
            return None

    def begin(self, record: FinalRecord) -> None:
        """Keep the architecture.

        Raises:
            DiskFullError: If it cannot be written.
        """
        write_whole(self.architecture, record.architecture.to_json().encode())

    def save(self, result: FinalResult, network: nn.Module) -> None:
        """Keep weights and result.

        Raises:
            DiskFullError: If they cannot be written.
        """
        tensors = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
        # Weights first: where there is a result, they belong to it.
        write_whole(self.weights, save(tensors))
        write_whole(self.path / _RESULT, result.model_dump_json().encode())

    def copy_to(self, folder: Path) -> None:
        """Write architecture and weights to another folder as well.

        Raises:
            DiskFullError: If they cannot be written.
        """
        for path in (self.architecture, self.weights):
            write_whole(folder / path.name, path.read_bytes())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder alone; it is free again when this process dies.

        Raises:
            InputError: If another process trains here, or the folder cannot be written.
        """
        check_folder(self.path, [])
        lock = FileLock(self.path / ".lock")
        try:
            # A training takes hours: who waits for it is better told at once.
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"a training must run once at a time, but another process holds '{self.path}'; wait for it or stop it."
            ) from None
        try:
            yield
        finally:
            lock.release()


def find_final(workspace: Workspace, key: str) -> tuple[FinalFolder, FinalResult] | None:
    """Return the newest finished training of an architecture, if there is one."""
    ended: list[tuple[float, FinalFolder, FinalResult]] = []
    for path in workspace.finals.glob(f"{key}-*/{_RESULT}"):
        folder = FinalFolder(path.parent)
        result = folder.load()
        if result is not None:
            ended.append((result.ended_ms or path.stat().st_mtime * 1000, folder, result))
    return max(ended, key=itemgetter(0))[1:] if ended else None
