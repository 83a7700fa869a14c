"""The parts that a network's latency is made of, each as a module that can be timed by itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space import REGISTRY, Architecture, Choice, Position
from srnas.search_space.architecture import CONV, IMAGE_CHANNELS
from srnas.search_space.choice import NONE
from srnas.search_space.gather import INNER, PICTURE, Enlargement, Reduction, sources
from srnas.search_space.host import CarryingStem, luma
from srnas.search_space.registry import fold_all


@dataclass(frozen=True)
class Part:
    """A piece of a network ``(B, C, H, W) -> ...`` at the size of the low-resolution input.

    Attributes:
        place: Where it stands: ``stem``, ``p00``, ``p01``, ..., ``end``, ``gather``, ``tail`` or ``skip``.
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


class _Gather(nn.Module):
    """Concatenates feature maps, and reduces them or not."""

    def __init__(self, widths: Sequence[int], reduction: Reduction | None) -> None:
        super().__init__()
        self.widths = list(widths)
        self.reduction = reduction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gathered = list(x.split(self.widths, dim=1))
        return torch.cat(gathered, dim=1) if self.reduction is None else self.reduction(gathered)


class _Chroma(nn.Module):
    """Takes the luma of a picture out, enlarges the picture, and sets a luma of that size into it."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = float(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        own = F.interpolate(luma(x), scale_factor=self.scale, mode="nearest")
        return large + (own - luma(large)) / 2


def parts(architecture: Architecture) -> list[Part]:
    """Return the parts of an architecture's network, in order; a part that occurs twice is listed twice.

    Rescaling to another input range and shifting by a mean are left out: 1x1 operations on three channels.
    """
    channels, scale = architecture.channels, architecture.scale
    carriers, colours = architecture.carriers, architecture.num_colours
    found = [_stem(architecture)]
    for depth, position in enumerate(architecture.positions):
        found += _of_position(f"p{depth:02d}", position, channels)
    if INNER in sources(architecture.gather) and architecture.positions:
        found += _of_inside(f"p{len(architecture.positions) - 1:02d}", architecture.positions[-1], channels)
    if architecture.end in ("conv", "point"):
        kernel = 3 if architecture.end == "conv" else 1
        key = f"end {architecture.end} @{channels}"
        found.append(Part("end", key, channels, _conv(channels, channels, kernel)))
    elif architecture.end != NONE:
        found.append(_block("end", Choice(name=architecture.end), channels))
    if architecture.long_skip:
        found.append(_join("end", channels, scaled=False))
    found += _of_gather(architecture)
    if carriers:
        found.append(_split("tail", channels, channels + carriers))
    found.append(_tail(architecture))
    if architecture.global_skip in ("bilinear", "nearest"):
        mode = architecture.global_skip
        found.append(Part("skip", f"skip {mode} x{scale}{_of_luma(architecture)}", colours, lambda: _Skip(scale, mode)))
    if architecture.colours == "y":
        found.append(Part("skip", f"chroma x{scale}", IMAGE_CHANNELS, lambda: _Chroma(scale)))
    return found


def _stem(architecture: Architecture) -> Part:
    channels, carriers, colours = architecture.channels, architecture.carriers, architecture.num_colours
    if architecture.stem.name == CONV:
        key = f"stem @{channels + carriers}{_of_luma(architecture)}"
        return Part("stem", key, colours, _conv(colours, channels + carriers))
    stem = architecture.stem

    def make() -> nn.Module:
        made = stem.block.make_stem(colours, channels, stem.config)
        return CarryingStem(made, colours) if carriers else made

    key = f"stem {stem}{_source(stem)} @{channels + carriers}{_of_luma(architecture)}"
    return Part("stem", key, colours, make)


def _of_luma(architecture: Architecture) -> str:
    return " of luma" if architecture.colours == "y" else ""


def _of_gather(architecture: Architecture) -> Iterator[Part]:
    if architecture.gather == NONE:
        return
    channels, width, colours = architecture.channels, architecture.gathered_channels, architecture.num_colours
    picture, scale = PICTURE in sources(architecture.gather), architecture.scale
    if picture:
        yield Part("gather", f"picture x{scale}{_of_luma(architecture)}", colours, lambda: Enlargement(colours, scale))
    activated = not architecture.gathers_after_end and architecture.end != NONE
    reduces = not architecture.tail_gathers
    # The widths of single feature maps matter little to what concatenating them takes.
    maps = [min(channels, width - i) for i in range(0, width, channels)]
    yield Part(
        "gather",
        f"gather {width} @{channels}{' activated' * activated}{' as it is' * (not reduces)}",
        width,
        lambda: _Gather(maps, Reduction(width, channels, activated=activated) if reduces else None),
    )


def _of_position(place: str, position: Position, channels: int) -> Iterator[Part]:
    width = position.active or channels
    for choice in position.choices:
        yield _block(place, choice, width)
    if position.residual and not position.passes_input:
        yield _join(place, width, scaled=position.scale_start is not None)
    if width < channels:
        yield _split(place, width, channels)


def _of_inside(place: str, position: Position, channels: int) -> Iterator[Part]:
    """Yield what it takes to pass channels by what the trunk tells of its inside."""
    if position.tells and position.active is not None:
        yield _split(place, position.active, channels)


def _conv(inputs: int, outputs: int, kernel: int = 3) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


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


def _tail(architecture: Architecture) -> Part:
    tail, colours = architecture.tail, architecture.num_colours
    cls, config = REGISTRY.tail(tail.name), architecture.tail_config
    channels, scale = architecture.tail_channels, architecture.scale
    key = f"tail {tail}{_source(tail)} x{scale} @{channels}{_of_luma(architecture)}"
    return Part("tail", key, channels, lambda: cls(channels, scale, config, colours))
