"""What is gathered from several depths of a body and concatenated for the tail, as a value and as a module.

A gather is written as its parts in their order, joined by ``+``:

* ``positions``, which stands alone: the outputs of all positions, before the end of the body (RFDN, IMDN);
* or ``body``, the output of the body and its end, with some of ``stem``, ``first`` (the first position), ``inner``
  (what the last trunk tells of its inside: SPAB's first convolution), and ``picture`` (a convolution of each colour by
  itself, which starts as nearest-neighbour enlargement): after the end (SPAN, SPAN-F, SPANV2).

A 1x1 convolution reduces what is gathered to the width of the body, unless the tail takes it as it is.
"""

from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import nn
from torch.nn import functional as F

from srnas.search_space.blocks.conv import SLOPE
from srnas.search_space.choice import NONE
from srnas.search_space.errors import InputError

POSITIONS = "positions"
BODY = "body"
PICTURE = "picture"
INNER = "inner"
_BESIDE_BODY = ("stem", "first", INNER, PICTURE)


def check_gather(gather: str) -> str:
    """Return a gather as it is.

    Raises:
        InputError: If it is none.
    """
    parts = gather.split("+")
    alone = gather in (NONE, POSITIONS)
    joined = BODY in parts and len(parts) > 1 and set(parts) <= {BODY, *_BESIDE_BODY}
    if not alone and (not joined or len(set(parts)) < len(parts)):
        raise InputError(
            f"gather must be '{NONE}', '{POSITIONS}', or '{BODY}' joined by '+' with some of "
            f"{', '.join(_BESIDE_BODY)}, each once, but got gather='{gather}'."
        )
    return gather


Gather = Annotated[str, AfterValidator(check_gather)]


def sources(gather: str) -> tuple[str, ...]:
    """Return the parts of a gather, in their order."""
    return () if gather == NONE else tuple(gather.split("+"))


class Enlargement(nn.Conv2d):
    """A 3x3 convolution of each colour by itself, to the channels that pixel shuffle makes the picture of.

    It starts as nearest-neighbour enlargement: the centre tap is 1, all others are 0.
    """

    def __init__(self, colours: int, scale: int) -> None:
        super().__init__(colours, colours * scale**2, 3, padding=1, groups=colours, bias=False)
        nn.init.zeros_(self.weight)
        nn.init.ones_(self.weight[:, :, 1, 1])


class Reduction(nn.Module):
    """``conv1x1([...])`` to the width of a body, with LeakyReLU of slope 0.05 where a convolution follows it."""

    def __init__(self, width: int, channels: int, *, activated: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, channels, 1)
        self.activated = activated

    def forward(self, gathered: list[torch.Tensor]) -> torch.Tensor:
        """Concatenate and reduce feature maps of one size."""
        reduced: torch.Tensor = self.reduce(torch.cat(gathered, dim=1))
        return F.leaky_relu(reduced, SLOPE) if self.activated else reduced
