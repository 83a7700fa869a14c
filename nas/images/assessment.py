"""Scores of a trained network on single photographs beside bicubic's, and what its hard attention keeps."""

import contextlib
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from srnas.nas.images.evaluation import evaluate, evaluate_bicubic
from srnas.nas.images.metrics import Image
from srnas.nas.images.pairs import Pair, to_image
from srnas.nas.images.upscaling import inference_errors
from srnas.profiling.runtimes import Run
from srnas.search_space import Network

KeptFractions = dict[str, float]
"""Mean share of pixels that hard attention keeps, by position (``p02`` is the third)."""


@dataclass(frozen=True)
class ImageScores:
    """What a network and bicubic upscaling make of one photograph, or their means over several.

    The PSNR of a photograph that is reproduced without an error is infinite.
    """

    image: str
    psnr_y_db: float
    ssim_y: float
    bicubic_psnr_y_db: float
    bicubic_ssim_y: float
    kept_fraction: KeptFractions = field(default_factory=dict)
    is_flat: bool = False

    @property
    def counts(self) -> bool:
        """Whether the photograph counts in means: it is not flat, and neither PSNR is infinite."""
        return not self.is_flat and math.isfinite(self.psnr_y_db) and math.isfinite(self.bicubic_psnr_y_db)

    @property
    def gain_db(self) -> float:
        """PSNR less bicubic's; 0 where both are infinite."""
        return 0.0 if self.psnr_y_db == self.bicubic_psnr_y_db else self.psnr_y_db - self.bicubic_psnr_y_db


OnImage = Callable[[Pair, Image, ImageScores], None]


def assess(
    network: Network,
    pairs: Sequence[Pair],
    device: torch.device,
    on_image: OnImage = lambda *_: None,
    *,
    run: Run | None = None,
) -> list[ImageScores]:
    """Score ``network``, in eval mode on ``device``, by inference on whole photographs.

    Args:
        network: A network of the same scale as ``pairs``.
        pairs: The photographs.
        device: The device that holds the network.
        on_image: Told of each pair, the network's 8-bit output, and the scores.
        run: What runs the network in place of torch; what hard attention keeps is not known then.

    Raises:
        InputError: If an output is not finite, or does not fit into memory.
    """
    scale = network.architecture.scale
    all_scores = []
    for pair in pairs:
        advice = "use --device cpu, or smaller photographs"
        outputs: list[Image] = []
        with inference_errors(pair.name, advice), _outputs(network, outputs), _kept_fractions(network) as kept:
            ours = evaluate(network, [pair], scale, device, run=run and _recording(run, outputs))
        bicubic = evaluate_bicubic([pair], scale)
        scores = ImageScores(
            pair.name,
            ours.mean_psnr_y_db,
            ours.mean_ssim_y,
            bicubic.mean_psnr_y_db,
            bicubic.mean_ssim_y,
            {position: statistics.fmean(shares) for position, shares in kept.items()},
            pair.is_flat,
        )
        on_image(pair, outputs[0], scores)
        all_scores.append(scores)
    return all_scores


def mean_scores(scores: Sequence[ImageScores]) -> ImageScores:
    """Return the means over the photographs that count, or over all if none does."""
    scores = [one for one in scores if one.counts] or scores
    names = ("psnr_y_db", "ssim_y", "bicubic_psnr_y_db", "bicubic_ssim_y")
    means = {name: float(np.mean([getattr(one, name) for one in scores])) for name in names}
    kept = {p: statistics.fmean(one.kept_fraction[p] for one in scores) for p in scores[0].kept_fraction}
    return ImageScores(
        "mean",
        means["psnr_y_db"],
        means["ssim_y"],
        means["bicubic_psnr_y_db"],
        means["bicubic_ssim_y"],
        kept,
    )


def _recording(run: Run, outputs: list[Image]) -> Run:
    """Collect what a runtime gives, in 8 bits."""

    def recorded(x: torch.Tensor) -> torch.Tensor:
        sr = run(x)
        outputs.append(to_image(sr))
        return sr

    return recorded


@contextlib.contextmanager
def _outputs(network: nn.Module, outputs: list[Image]) -> Iterator[None]:
    """Collect what the network gives, in 8 bits."""
    hook = network.register_forward_hook(lambda _module, _given, output: outputs.append(to_image(output)))
    try:
        yield
    finally:
        hook.remove()


@contextlib.contextmanager
def _kept_fractions(network: Network) -> Iterator[dict[str, list[float]]]:
    """Collect, by position, the share of pixels that each block with ``kept_fraction`` keeps."""
    fractions: dict[str, list[float]] = {}

    def watch(position: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def collect(module: nn.Module, given: tuple[Any, ...]) -> None:
            fractions.setdefault(position, []).append(float(module.kept_fraction(given[0]).mean()))  # type: ignore[operator]

        return collect

    blocks = ((i, block) for i, position in enumerate(network.body) for block in position.modules())
    watched = [(f"p{i:02d}", block) for i, block in blocks if callable(getattr(block, "kept_fraction", None))]
    hooks = [block.register_forward_pre_hook(watch(position)) for position, block in watched]
    try:
        yield fractions
    finally:
        for hook in hooks:
            hook.remove()
