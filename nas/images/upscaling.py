"""Upscaling of images of any size: whole, or in tiles that overlap by as much as the network reaches.

A pixel of the output depends on input pixels up to a fixed distance, the reach, if every block is tile-invariant. Tiles
that overlap by the reach then give what the whole image gives, up to the rounding of float.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from srnas.nas.errors import DivergedError
from srnas.nas.images.metrics import Image
from srnas.nas.images.pairs import to_image, to_tensor
from srnas.profiling.memory import is_memory
from srnas.profiling.precision import true_float32
from srnas.search_space import InputError, Network

# Sides of a tile in low-resolution pixels, unless the reach asks for larger ones.
CPU_TILE, CUDA_TILE = 256, 1024
# Low-resolution pixels of an image from which whole-image inference may exhaust the memory.
MANY_PIXELS = 2_000_000
# Overlap of tiles where no overlap would be exact.
_SEAM_OVERLAP = 32
_FIRST_STRIP, _LAST_STRIP = 64, 2**17


def measure_reach(network: nn.Module, scale: int, min_size: int = 1) -> int:
    """Return how far an output pixel looks, in low-resolution pixels: as far as NaN spreads in the middle of a strip.

    As many columns are NaN as the largest dilation, so that what they reach has no gaps: if a kernel reaches beyond the
    strip there is NaN at its end, and the strip is made longer.

    Args:
        network: A network in eval mode; it is not changed.
        scale: Upscaling factor.
        min_size: The least height and width of its input.

    Raises:
        ValueError: If NaN spreads without bound or not at all: the network is not tile-invariant.
    """
    # In float64 on a CPU no kernel transforms whole patches (Winograd), which would spread NaN further.
    probe = copy.deepcopy(network).cpu().double()
    dilations = (np.max(module.dilation) for module in probe.modules() if isinstance(module, nn.Conv2d))
    columns = int(max(dilations, default=1))
    # Both directions, since kernels need not be square.
    return max(_spread(probe, scale, min_size, columns, upright) for upright in (False, True))


@torch.inference_mode()
def _spread(network: nn.Module, scale: int, min_size: int, columns: int, upright: bool) -> int:
    width = max(_FIRST_STRIP, 2 * min_size, 4 * columns)
    while width <= _LAST_STRIP:
        strip, start = torch.zeros(1, 3, min_size, width, dtype=torch.float64), width // 2
        strip[..., start : start + columns] = math.nan
        sr = network(strip.mT).mT if upright else network(strip)
        touched = sr.isnan().flatten(0, -2).any(0).nonzero().flatten().tolist()
        if not touched:
            break
        first, last = touched[0] // scale, touched[-1] // scale
        if first > 0 and last < width - 1:
            return int(max(start - first, last - (start + columns - 1)))
        width *= 2
    raise ValueError("a network's reach must be bounded for it to be measured, but NaN spreads everywhere or nowhere.")


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        tile: Most pixels of a side that one tile yields.
        overlap: Pixels that are read around them.
        min_size: Least side of what is read, where the image is that large.
    """

    tile: int
    overlap: int
    min_size: int = 1

    def spans(self, side: int) -> list[tuple[range, range]]:
        """Return what is read and what is kept along a side, of nearly equal lengths."""
        count = math.ceil(side / self.tile)
        edges = [side * i // count for i in range(count + 1)]
        return [(self._read(first, last, side), range(first, last)) for first, last in pairwise(edges)]

    def _read(self, first: int, last: int, side: int) -> range:
        start, stop = max(0, first - self.overlap), min(side, last + self.overlap)
        start = max(0, min(start, stop - self.min_size))
        return range(start, max(stop, min(side, start + self.min_size)))


def upscale_tiles(
    network: nn.Module, lr: torch.Tensor, scale: int, tiling: Tiling
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield top, left and pixels of the tiles of the output, which cover it once.

    Args:
        network: A network in eval mode.
        lr: The input ``(1, 3, H, W)`` in 0 to 1, on the network's device.
        scale: Upscaling factor.
        tiling: How ``lr`` is cut.

    Raises:
        DivergedError: If an output is not finite.
    """
    height, width = lr.shape[-2:]
    for rows, kept_rows in tiling.spans(height):
        for columns, kept_columns in tiling.spans(width):
            with torch.inference_mode():
                sr = network(lr[..., rows.start : rows.stop, columns.start : columns.stop])
            if not sr.isfinite().all():
                raise DivergedError("the network's output is not finite")
            top, left = (kept_rows.start - rows.start) * scale, (kept_columns.start - columns.start) * scale
            kept = sr[..., top : top + len(kept_rows) * scale, left : left + len(kept_columns) * scale]
            yield kept_rows.start * scale, kept_columns.start * scale, kept


class Upscaler:
    """Upscales 8-bit RGB images with a network, each whole or in tiles as its blocks and its size allow.

    Args:
        network: A network in deploy form on ``device``.
        device: The device that the network runs on.
        tile: Side of a tile in low-resolution pixels; ``None`` cuts only large images, and only where that is exact.

    Raises:
        InputError: If ``tile`` is smaller than the network's blocks allow.
    """

    def __init__(self, network: Network, device: torch.device, tile: int | None = None) -> None:
        self.network, self.device, self.tile = network, device, tile
        self.scale = network.architecture.scale
        self.min_size = network.architecture.min_size
        if tile is not None and tile < self.min_size:
            raise InputError(f"tile >= {self.min_size} must hold for the network's blocks, but got tile={tile}.")

    @cached_property
    def reach(self) -> int:
        """How far an output pixel looks; only of a tile-invariant network."""
        return measure_reach(self.network, self.scale, self.min_size)

    def tiling(self, height: int, width: int) -> Tiling | None:
        """Return how an image of this size is cut, or ``None`` if it is upscaled whole."""
        side = max(height, width)
        tile = self.tile or (CUDA_TILE if self.device.type == "cuda" else CPU_TILE)
        if side <= tile:
            return None
        if not self.network.architecture.tile_invariant:
            return Tiling(self.tile, _SEAM_OVERLAP, self.min_size) if self.tile else None
        # With tiles of twice the reach at most 4 times the pixels are computed.
        tile = self.tile or max(tile, 2 * self.reach)
        return Tiling(tile, self.reach, self.min_size) if side > tile else None

    def notes(self, sizes: Sequence[tuple[int, int]]) -> list[str]:
        """Return what there is to say about images of these heights and widths."""
        tilings = [self.tiling(*size) for size in sizes]
        cut = next((tiling for tiling in tilings if tiling), None)
        if self.network.architecture.tile_invariant:
            if cut is None:
                return []
            return [
                f"tiles of {cut.tile} pixels, overlapping by the network's reach of {cut.overlap}: as exact as whole"
            ]
        if self.tile:
            seams = f"tiles of {self.tile} pixels, overlapping by {_SEAM_OVERLAP}: seams are possible, since tiling "
            return [seams + "changes what this network's blocks give"] if cut else []
        said = ["images are upscaled whole, since tiling changes what this network's blocks give"]
        height, width = max(sizes, key=math.prod)
        if height * width > MANY_PIXELS:
            said.append(
                f"warning: an image of {width}x{height} is upscaled whole, and above {MANY_PIXELS / 1e6:g} megapixels "
                "memory may run out; --tile 512 needs less, but seams are possible"
            )
        return said

    def upscale(self, lr: Image, on_share: Callable[[float], None] = lambda _: None) -> Image:
        """Return the output for an 8-bit RGB image; ``on_share`` is told the share of it that is done.

        Raises:
            DivergedError: If an output is not finite.
        """
        height, width = lr.shape[:2]
        tiling = self.tiling(height, width) or Tiling(max(height, width), 0)
        sr = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        done = 0
        with true_float32():
            for top, left, kept in upscale_tiles(self.network, to_tensor(lr).to(self.device), self.scale, tiling):
                image = to_image(kept)
                sr[top : top + image.shape[0], left : left + image.shape[1]] = image
                done += image.size
                on_share(done / sr.size)
        return sr


@contextlib.contextmanager
def inference_errors(name: str, advice: str) -> Iterator[None]:
    """Turn what inference on an image may end with into an error that names it.

    Args:
        name: Name of the image.
        advice: What to do when memory runs out.

    Raises:
        InputError: If the network's output is not finite, or memory ran out.
    """
    try:
        yield
    except DivergedError:
        raise InputError(
            f"a network's output must be finite, but for '{name}' it is not; check the weights and their network."
        ) from None
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise InputError(f"'{name}' must fit into memory, but it does not; {advice}.") from None
