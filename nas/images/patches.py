"""Training patches: cut, flipped and transposed in batch from photographs that were decoded once."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch

from srnas.nas.images.metrics import Image
from srnas.nas.images.moving import to_device
from srnas.nas.images.pairs import Pair
from srnas.search_space import InputError

_WHOLE = slice(None)


class PatchSampler:
    """Draws batches of aligned LR and HR patches from photographs that were decoded once.

    All pixels lie in two flat ``uint8`` tensors. A batch is one gather from each, whose indices carry crop, flip and
    transpose; positions are uniform over all patches of all photographs.

    Args:
        pairs: Photographs of at least ``patch`` LR pixels a side.
        scale: Upscaling factor.
        patch: Side of an LR patch in pixels.
        device: Where the pixels are kept and the batches are cut.

    Raises:
        InputError: If a photograph is smaller than a patch.
    """

    def __init__(self, pairs: Sequence[Pair], scale: int, patch: int, device: torch.device) -> None:
        sizes = [pair.lr.shape[:2] for pair in pairs]
        smallest = min(min(size) for size in sizes)
        if smallest < patch:
            raise InputError(
                f"every photograph must be at least {patch * scale} pixels a side, but the smallest has "
                f"{smallest * scale}; remove it or lower the patch."
            )
        self.scale, self.patch, self.device = scale, patch, device
        self._widths = [width for _, width in sizes]
        self._starts = [0, *accumulate(height * width for height, width in sizes)]
        self._positions = [0, *accumulate((height - patch + 1) * (width - patch + 1) for height, width in sizes)]
        self._lr = _flat([pair.lr for pair in pairs]).to(device)
        self._hr = _flat([pair.hr for pair in pairs]).to(device)

    def draw(self, batch: int, generator: torch.Generator, share: slice = _WHOLE) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``lr (B, 3, P, P)`` and ``hr (B, 3, sP, sP)``, float in 0 to 1, channels last in memory.

        Of a batch that several processes draw from equal generators, only ``share`` is cut.
        """
        positions = torch.randint(self._positions[-1], (batch,), generator=generator).tolist()
        symmetries = torch.randint(8, (batch,), generator=generator).tolist()
        patches = list(zip(positions, symmetries, strict=True))[share]
        # Python integers: operations on tensors of a few elements would cost more than the gather.
        walks = [[self._walk(*patch, scale) for patch in patches] for scale in (1, self.scale)]
        lr, hr = to_device(torch.tensor(walks), self.device)
        return _gather(self._lr, lr, self.patch), _gather(self._hr, hr, self.patch * self.scale)

    def _walk(self, position: int, symmetry: int, scale: int) -> tuple[int, int, int]:
        """Return the index of a patch's first pixel, and the steps to its next row and to its next column."""
        photo = bisect_right(self._positions, position) - 1
        width, last = self._widths[photo] * scale, self.patch * scale - 1
        top, left = divmod(position - self._positions[photo], self._widths[photo] - self.patch + 1)
        first = self._starts[photo] * scale**2 + top * scale * width + left * scale
        down, across = width, 1
        if symmetry & 1:
            first, down = first + last * width, -width
        if symmetry & 2:
            first, across = first + last, -1
        return (first, across, down) if symmetry & 4 else (first, down, across)


def _gather(pixels: torch.Tensor, walks: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``(B, 3, side, side)``, float in 0 to 1, of the patches that ``walks (B, 3)`` describe."""
    first, down, across = walks[:, :, None].unbind(1)
    steps = torch.arange(side, device=pixels.device)
    index = (first + down * steps)[:, :, None] + (across * steps)[:, None, :]
    cut = pixels.index_select(0, index.flatten()).view(-1, side, side, 3)
    return cut.permute(0, 3, 1, 2) / 255


def _flat(images: Sequence[Image]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([image.reshape(-1, 3) for image in images]))
