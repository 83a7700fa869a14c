"""A network as the parts that its latency is made of, each a module that can be timed by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import REGISTRY, Architecture, Choice, Position
from srnas.search_space.architecture import IMAGE_CHANNELS
from srnas.search_space.choice import NONE
from srnas.search_space.registry import fold_all


@dataclass(frozen=True)
class Part:
    """A piece of a network ``(B, C, H, W) -> ...`` at the size of the low-resolution input.

    Attributes:
        place: Where it stands: ``stem``, ``p00``, ``p01``, ..., ``end``, ``tail`` or ``skip``.
        key: What it is; parts of one key take the same time.
        channels: C of its input.
        make: Builds it in training form.
    """

    place: str
    key: str
    channels: int
    make: Callable[[], nn.Module]

    def build(self) -> nn.Module:
        """Return the part in deploy form, frozen, in eval mode."""
        return fold_all(self.make().eval()).requires_grad_(False)


class _Join(nn.Module):
    """Adds the input of a position to what its blocks make of it, scaled per channel or not."""

    def __init__(self, channels: int, *, scaled: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1)) if scaled else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (x if self.scale is None else x * self.scale)


class _Split(nn.Module):
    """Takes the first channels out and puts them back."""

    def __init__(self, active: int) -> None:
        super().__init__()
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, : self.active], x[:, self.active :]], dim=1)


class _Skip(nn.Module):
    """Enlarges the input and adds it to a picture of that size."""

    def __init__(self, scale: int, mode: str) -> None:
        super().__init__()
        self.scale, self.mode = float(scale), mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        corners = False if self.mode == "bilinear" else None
        large = F.interpolate(x, scale_factor=self.scale, mode=self.mode, align_corners=corners)
        return large + large


def parts(architecture: Architecture) -> list[Part]:
    """Return the parts of an architecture's network, in order; a part that occurs twice is listed twice.

    Rescaling to another input range and shifting by a mean are left out: 1x1 operations on three channels.
    """
    channels, scale = architecture.channels, architecture.scale
    carriers = IMAGE_CHANNELS if architecture.global_skip == "carriers" else 0
    found = [Part("stem", f"stem @{channels + carriers}", IMAGE_CHANNELS, _conv(IMAGE_CHANNELS, channels + carriers))]
    for depth, position in enumerate(architecture.positions):
        found += _of_position(f"p{depth:02d}", position, channels)
    if architecture.end == "conv":
        found.append(Part("end", f"end conv @{channels}", channels, _conv(channels, channels)))
    elif architecture.end != NONE:
        found.append(_block("end", Choice(name=architecture.end), channels))
    if architecture.long_skip:
        found.append(_join("end", channels, scaled=False))
    if carriers:
        found.append(_split("tail", channels, channels + carriers))
    found.append(_tail(architecture.tail, channels + carriers, scale))
    if architecture.global_skip in ("bilinear", "nearest"):
        mode = architecture.global_skip
        found.append(Part("skip", f"skip {mode} x{scale}", IMAGE_CHANNELS, lambda: _Skip(scale, mode)))
    return found


def _of_position(place: str, position: Position, channels: int) -> Iterator[Part]:
    width = position.active or channels
    for choice in position.choices:
        yield _block(place, choice, width)
    if position.residual and not position.passes_input:
        yield _join(place, width, scaled=position.scale_start is not None)
    if width < channels:
        yield _split(place, width, channels)


def _conv(inputs: int, outputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(inputs, outputs, 3, padding=1)


def _block(place: str, choice: Choice, width: int) -> Part:
    return Part(place, f"{choice}{_source(choice)} @{width}", width, lambda: choice.block(width, choice.config))


def _source(choice: Choice) -> str:
    """Return what tells a block of a user's own from one of the same name and another source."""
    found = REGISTRY.sources.get(choice.name)
    return f" {found}" if found else ""


def _join(place: str, width: int, *, scaled: bool) -> Part:
    return Part(place, f"{'scaled ' * scaled}join @{width}", width, lambda: _Join(width, scaled=scaled))


def _split(place: str, active: int, channels: int) -> Part:
    return Part(place, f"split {active} @{channels}", channels, lambda: _Split(active))


def _tail(tail: Choice, channels: int, scale: int) -> Part:
    cls = REGISTRY.tail(tail.name)
    config = cls.Config(**dict(tail.options))
    return Part(
        "tail", f"tail {tail}{_source(tail)} x{scale} @{channels}", channels, lambda: cls(channels, scale, config)
    )
