"""Scores a trained network as it is timed: run by the runtime of the target, in its data type, on the photographs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from srnas.leaderboard.record.timed_quality import TimedQuality
from srnas.leaderboard.record.trials import Quality
from srnas.nas.errors import DivergedError
from srnas.nas.images.evaluation import evaluate
from srnas.nas.images.pairs import Pair, make_pairs
from srnas.nas.images.patches import PatchSampler
from srnas.nas.images.photos import PhotoSet
from srnas.nas.judging.device_errors import check_device
from srnas.profiling import Target, device_share
from srnas.profiling.memory import is_memory
from srnas.profiling.runtimes import RuntimeFailedError, prepare_any, runtime_version
from srnas.search_space import Architecture, InputError
from srnas.search_space.checkpoints import load_network

# What calibrates int8 is drawn with a seed of its own, so that every study and command draws the same.
NUM_PATCHES, _SEED = 64, 0
_CPU = torch.device("cpu")


def calibration_of(photos: PhotoSet, scale: int, patch: int) -> torch.Tensor:
    """Return what :func:`draw_calibration` draws of photographs, reduced here.

    Raises:
        InputError: If none is large enough.
    """
    large = photos.at_least(patch * scale, f"a patch of {patch} at scale {scale}")
    return draw_calibration(PatchSampler(make_pairs(large, scale), scale, patch, _CPU))


def draw_calibration(patches: PatchSampler) -> torch.Tensor:
    """Return the low-resolution training patches that calibrate int8, ``(64, 3, P, P)`` on the CPU."""
    lr, _ = patches.draw(NUM_PATCHES, torch.Generator().manual_seed(_SEED))
    return lr.cpu().contiguous()


def stand_in(target: Target) -> Target:
    """Return what runs here as a target does: itself, or for a board this machine's CPU.

    int8 is what the same runtime makes of it; half precision is torch's, since few machines but boards have kernels of
    it in other runtimes.
    """
    if not target.board:
        return target
    return replace(target, board=None, threads=1, runtime=target.runtime if target.dtype == "int8" else "eager")


class LostWeightsError(Exception):
    """The weights of a network cannot be read."""


@dataclass(frozen=True, eq=False)
class TimedScorer:
    """What scores trained networks as they are timed.

    Attributes:
        target: What is timed.
        pairs: The held-out photographs.
        scale: Upscaling factor.
        calibration: Low-resolution patches ``(N, 3, P, P)`` that calibrate int8.
    """

    target: Target
    pairs: Sequence[Pair]
    scale: int
    calibration: torch.Tensor

    @property
    def runtime(self) -> str:
        """Name of the runtime that runs here, with its version."""
        name = stand_in(self.target).runtime
        return runtime_version(name) or name

    def __str__(self) -> str:
        number, _, height, width = self.calibration.shape
        calibrated = f", calibrated on {number} training patches of {width}x{height} pixels"
        board = f", on this machine in place of target '{self.target.board.name}'" if self.target.board else ""
        return f"{self.target.dtype} by {self.runtime}{calibrated if self.target.dtype == 'int8' else ''}{board}"

    def score(self, number: int, seed: int, architecture: Architecture, weights: Path) -> TimedQuality:
        """Return the scores of a trained network, or why it has none.

        Args:
            number: Number of its trial.
            seed: Seed of its training.
            architecture: What it was built from.
            weights: File of its weights.

        Raises:
            MissingExtraError: If the runtime is not installed.
            DeviceBusyError: If another process holds the device for too long.
            DeviceLostError: If the device answers nothing any more.
        """
        scores = TimedQuality(number=number, seed=seed, dtype=self.target.dtype, runtime=self.runtime)
        try:
            return scores.model_copy(update={"quality": self._score(architecture, weights)})
        except (RuntimeFailedError, DivergedError, LostWeightsError) as error:
            # On a lost device no network gets a score, and none is to blame.
            check_device(stand_in(self.target).device, _cause(error))
            return scores.model_copy(update={"reason": str(error)})
        except (MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
            return scores.model_copy(update={"reason": "it does not fit into memory"})

    def _score(self, architecture: Architecture, weights: Path) -> Quality:
        try:
            network = load_network(architecture, weights).deploy()
        except InputError as error:
            raise LostWeightsError(str(error)) from error
        target = stand_in(self.target)
        with device_share(target.device) as share:
            run = prepare_any(network, self.calibration, target)
            # The front ranks PSNR, and SSIM takes longer.
            return evaluate(network, self.pairs, self.scale, _CPU, with_ssim=False, run=run, between=share.give_way)


def _cause(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error
