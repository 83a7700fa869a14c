"""The width of a squeezed layer, and the one reduction that stands for all that give the same width.

Reference: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018 (https://arxiv.org/abs/1709.01507).
"""


def squeezed(channels: int, reduction: int) -> int:
    """Return ``channels / reduction``, rounded down, and at least 1."""
    return max(1, channels // reduction)


def canonical_reduction(channels: int, reduction: int, default: int) -> int:
    """Return ``default`` if it squeezes to the same width as ``reduction``, else the greatest that does."""
    width = squeezed(channels, reduction)
    return default if squeezed(channels, default) == width else channels // width
