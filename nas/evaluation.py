"""PSNR and SSIM of a network, or of bicubic upscaling, on whole photographs."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from srnas.nas.imresize import imresize
from srnas.nas.metrics import Image, psnr_y_db, ssim_y
from srnas.nas.pairs import Pair, to_image, to_tensor
from srnas.nas.training import DivergedError


@dataclass(frozen=True)
class Scores:
    """Per-image quality of one method, in the order of the photographs.

    Attributes:
        names: The photographs.
        psnr_y_db: PSNR of Y in dB, per photograph.
        ssim_y: SSIM of Y, per photograph.
    """

    names: tuple[str, ...]
    psnr_y_db: tuple[float, ...]
    ssim_y: tuple[float, ...]

    @property
    def mean_psnr_y_db(self) -> float:
        """Mean over the photographs."""
        return statistics.fmean(self.psnr_y_db)

    @property
    def mean_ssim_y(self) -> float:
        """Mean over the photographs."""
        return statistics.fmean(self.ssim_y)


def evaluate(
    network: nn.Module, pairs: Sequence[Pair], scale: int, device: torch.device, *, with_ssim: bool = True
) -> Scores:
    """Score ``network`` (in eval mode, on ``device``) by inference on whole photographs in float32.

    Raises:
        DivergedError: If an output is not finite.
    """

    def upscale(lr: Image) -> Image:
        with torch.inference_mode():
            sr = network(to_tensor(lr).to(device))
        if not sr.isfinite().all():
            raise DivergedError("the network's output is not finite")
        return to_image(sr)

    return _score(upscale, pairs, scale, with_ssim)


def evaluate_bicubic(pairs: Sequence[Pair], scale: int) -> Scores:
    """Score MATLAB's bicubic upscaling of the 8-bit RGB input."""
    return _score(lambda lr: imresize(lr, scale).astype(np.uint8, copy=False), pairs, scale, True)


def _score(upscale: Callable[[Image], Image], pairs: Sequence[Pair], scale: int, with_ssim: bool) -> Scores:
    psnr, ssim = [], []
    for pair in pairs:
        sr = upscale(pair.lr)
        psnr.append(psnr_y_db(sr, pair.hr, scale, pair.gray))
        ssim.append(ssim_y(sr, pair.hr, scale, pair.gray) if with_ssim else math.nan)
    return Scores(tuple(pair.name for pair in pairs), tuple(psnr), tuple(ssim))
