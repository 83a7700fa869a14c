"""What surrounds the positions of a network: constant colours, luma, and a stem that carries the picture."""

import torch
from torch import nn

# Y of BT.601 (MATLAB's rgb2ycbcr) of RGB in 0 to 1, in 0 to 1.
_LUMA_WEIGHTS = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_LUMA_OF_BLACK, LUMA_OF_WHITE = 16 / 255, 219 / 255


class MeanShift(nn.Conv2d):
    """Adds a constant colour; a frozen 1x1 convolution, as the published networks count it."""

    def __init__(self, colour: torch.Tensor) -> None:
        super().__init__(len(colour), len(colour), 1)
        self.freeze()
        assert self.bias is not None
        self.bias.copy_(colour)
        self.weight.copy_(torch.eye(len(colour))[:, :, None, None])

    def freeze(self) -> None:
        """Keep it from being trained."""
        self.requires_grad_(False)


class MeanSubtraction(nn.Module):
    """Subtracts a colour, which is no parameter: SPAN does not count it."""

    colour: torch.Tensor

    def __init__(self, colour: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("colour", colour[:, None, None], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Subtract the colour from ``x``."""
        return x - self.colour


class CarryingStem(nn.Module):
    """A stem and, behind its channels, a convolution of the picture that carries it."""

    def __init__(self, stem: nn.Module, colours: int) -> None:
        super().__init__()
        self.stem = stem
        self.carrier = nn.Conv2d(colours, colours, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features and carried picture."""
        return torch.cat([self.stem(x), self.carrier(x)], dim=1)


def luma(rgb: torch.Tensor) -> torch.Tensor:
    """Return Y of BT.601, ``(B, 1, H, W)`` in 16/255 to 235/255, of RGB in 0 to 1."""
    # Filled where they are needed: a tensor of Python's numbers would be copied to the device, which waits for it.
    weights = torch.stack([rgb.new_full((), weight) for weight in _LUMA_WEIGHTS])
    return (rgb * weights[:, None, None]).sum(1, keepdim=True) + _LUMA_OF_BLACK
