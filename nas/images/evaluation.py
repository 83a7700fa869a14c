"""PSNR and SSIM of a network, or of bicubic upscaling, on whole photographs."""

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from srnas.leaderboard.record.trials import Quality
from srnas.nas.errors import DivergedError
from srnas.nas.images import device_metrics
from srnas.nas.images.imresize import imresize
from srnas.nas.images.metrics import Image, Luma, psnr_y_db, ssim_y
from srnas.nas.images.moving import to_device
from srnas.nas.images.pairs import Pair, to_image, to_luma, to_tensor
from srnas.profiling.precision import true_float32
from srnas.profiling.runtimes import Run
from srnas.search_space import InputError, Network, host


def evaluate(
    network: nn.Module,
    pairs: Sequence[Pair],
    scale: int,
    device: torch.device,
    *,
    with_ssim: bool = True,
    run: Run | None = None,
    between: Callable[[], None] = lambda: None,
) -> Quality:
    """Score ``network`` (in eval mode, on ``device``) by inference on whole photographs in float32.

    What is scored is the output in 8 bits; of a network that enlarges the luma alone it is its luma, clamped but not
    rounded, as its authors do. Without SSIM, which takes longer, it is not a number.

    Args:
        network: The network.
        pairs: The photographs.
        scale: Upscaling factor.
        device: What holds the network.
        with_ssim: Whether SSIM is computed as well.
        run: What runs the network in place of torch: another runtime, or in another data type.
        between: Called after every photograph, but on a GPU, where none waits for the one before.

    Raises:
        DivergedError: If an output is not finite.
    """
    luma_alone = isinstance(network, Network) and network.architecture.colours == "y"
    with true_float32(), torch.inference_mode():
        if run is None and device.type != "cpu":
            return _score_on_device(network, pairs, scale, device, luma_alone, with_ssim)

        def upscale(lr: Image) -> Image | Luma:
            sr = (run or network)(to_tensor(lr))
            if not sr.isfinite().all():
                raise DivergedError("the network's output is not finite")
            return to_luma(sr) if luma_alone else to_image(sr)

        return _score(upscale, pairs, scale, with_ssim, between)


def _score_on_device(
    network: nn.Module, pairs: Sequence[Pair], scale: int, device: torch.device, luma_alone: bool, with_ssim: bool
) -> Quality:
    """Score where the output is, and read the scores of all photographs at once: the device never waits."""
    scores = []
    for pair in pairs:
        lr, hr = (to_device(torch.from_numpy(image), device).permute(2, 0, 1) for image in (pair.lr, pair.hr))
        sr = network(lr[None].to(torch.float32) / 255)
        given = (host.luma(sr) * 255).clamp(0, 255)[0, 0] if luma_alone else device_metrics.quantised(sr)
        ours, theirs = (device_metrics.luma(image, pair.gray, scale) for image in (given, hr))
        similarity = device_metrics.ssim(ours, theirs) if with_ssim else torch.full_like(ours[0, 0], math.nan)
        scores.append(torch.stack((device_metrics.psnr_db(ours, theirs), similarity, sr.isfinite().all().double())))
    psnr, ssim, finite = torch.stack(scores, 1).tolist()
    if not all(finite):
        raise DivergedError("the network's output is not finite")
    return _quality(pairs, psnr, ssim)


def evaluate_bicubic(pairs: Sequence[Pair], scale: int) -> Quality:
    """Score MATLAB's bicubic upscaling of the 8-bit RGB input."""
    return _score(lambda lr: imresize(lr, scale).astype(np.uint8, copy=False), pairs, scale, True)


def reference_quality(name: str, pairs: Sequence[Pair], scale: int) -> Quality:
    """Score bicubic upscaling of a set that networks are judged by.

    Raises:
        InputError: If no photograph of it tells networks apart.
    """
    bicubic = evaluate_bicubic(pairs, scale)
    if math.isinf(bicubic.mean_psnr_y_db):
        raise InputError(
            f"photographs of '{name}' must differ from their bicubic enlargement, but all {len(pairs)} are flat or "
            "reproduced without an error; give others."
        )
    return bicubic


def _counted(pairs: Sequence[Pair], psnr_db: Sequence[float]) -> list[int]:
    """Return the places of the pairs that count in means: not flat and of finite PSNR, or all if none is so."""
    places = range(len(pairs))
    return [i for i in places if not pairs[i].is_flat and math.isfinite(psnr_db[i])] or list(places)


def _score(
    upscale: Callable[[Image], Image | Luma],
    pairs: Sequence[Pair],
    scale: int,
    with_ssim: bool,
    between: Callable[[], None] = lambda: None,
) -> Quality:
    psnr, ssim = [], []
    for pair in pairs:
        sr = upscale(pair.lr)
        psnr.append(psnr_y_db(sr, pair.hr, scale, pair.gray))
        ssim.append(ssim_y(sr, pair.hr, scale, pair.gray) if with_ssim else math.nan)
        between()
    return _quality(pairs, psnr, ssim)


def _quality(pairs: Sequence[Pair], psnr: Sequence[float], ssim: Sequence[float]) -> Quality:
    places = _counted(pairs, psnr)
    return Quality(
        images=tuple(pair.name for pair in pairs),
        psnr_y_db=tuple(psnr),
        ssim_y=tuple(ssim),
        mean_psnr_y_db=statistics.fmean(psnr[i] for i in places),
        mean_ssim_y=statistics.fmean(ssim[i] for i in places),
        left_out=tuple(pair.name for i, pair in enumerate(pairs) if i not in places),
    )
