"""The network module that an architecture describes, and its folded form for inference."""

import copy
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from srnas.search_space.architecture import CONV, IMAGE_CHANNELS, Architecture
from srnas.search_space.choice import NONE, Choice
from srnas.search_space.errors import InputError
from srnas.search_space.gather import INNER, PICTURE, Enlargement, Reduction, sources
from srnas.search_space.host import LUMA_OF_WHITE, CarryingStem, MeanShift, MeanSubtraction, luma
from srnas.search_space.position import Position
from srnas.search_space.registry import REGISTRY, Block, fold_all

# With a global skip the convolutions beside it start this much smaller, so that the network starts as the skip.
_BESIDE_SKIP_START = 0.01
# RGB means in 0 to 1. source: MAN's and EDSR's published networks.
_MEANS = {"div2k": (0.4488, 0.4371, 0.4040)}


class PositionModule(nn.Module):
    """A position as a module ``(B, C, H, W) -> (B, C, H, W)``; what it computes stands in :class:`Position`.

    With ``tells_inner`` it returns a pair: its output, and what its trunk tells of its inside.
    """

    def __init__(self, position: Position, channels: int, *, tells_inner: bool = False) -> None:
        super().__init__()
        width = position.active or channels
        self.passive = channels - width
        self.blocks = nn.Sequential(*(_build(choice, width) for choice in position.choices))
        self.residual = position.residual and not position.passes_input
        start = position.scale_start
        self.scale = None if start is None else nn.Parameter(torch.full((width, 1, 1), start))
        self.tells_inner = tells_inner
        for block in self.blocks if tells_inner else ():
            if block.info.role == "trunk":  # type: ignore[union-attr]
                block.tell_inner()  # type: ignore[operator]

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Transform the active channels of ``x``."""
        if not self.passive:
            y, told = self._transform(x)
        else:
            active, passive = x.split([x.shape[1] - self.passive, self.passive], dim=1)
            y, told = self._transform(active)
            y = torch.cat([y, passive], dim=1)
            told = None if told is None else torch.cat([told, passive], dim=1)
        return (y, y if told is None else told) if self.tells_inner else y

    def _transform(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        y, told = self._run_telling(x) if self.tells_inner else (self.blocks(x), None)
        if self.scale is not None:
            y = y * self.scale
        return x + y if self.residual else y, told

    def _run_telling(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        told = None
        for block in self.blocks:
            y = block(y)
            if isinstance(y, tuple):
                y, told = y
        return y, told


def _build(choice: Choice, channels: int) -> Block:
    return choice.block(channels, choice.config)


class Network(nn.Module):
    """A network ``(B, 3, H, W) -> (B, 3, scale*H, scale*W)``, RGB in 0 to 1 on both sides."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.deployed = False
        channels, colours = architecture.channels, architecture.num_colours
        self.carriers = architecture.carriers
        mean = _mean(architecture)
        both = architecture.mean_shift == "div2k"
        self.sub_mean: nn.Module = MeanShift(-mean * architecture.input_range) if both else nn.Identity()
        if architecture.mean_shift == "div2k_in":
            self.sub_mean = MeanSubtraction(mean)
        self.stem = _build_stem(architecture)
        last = len(architecture.positions) - 1 if INNER in sources(architecture.gather) else -1
        self.body = nn.Sequential(
            *(
                PositionModule(position, channels, tells_inner=depth == last)
                for depth, position in enumerate(architecture.positions)
            )
        )
        self.end = _build_end(architecture)
        self.picture = Enlargement(colours, architecture.scale) if PICTURE in sources(architecture.gather) else None
        self.gather = _build_reduction(architecture)
        tail = REGISTRY.tail(architecture.tail.name)
        self.tail = tail(architecture.tail_channels, architecture.scale, architecture.tail_config, colours)
        self.add_mean: nn.Module = MeanShift(mean * architecture.input_range) if both else nn.Identity()
        # Where the range is not restored the layers' values are that much larger than the tail's.
        start = _BESIDE_SKIP_START / (1 if architecture.restores else architecture.input_range)
        if architecture.global_skip != NONE:
            self.tail.shrink(start)
        if self.carriers:
            self._carry(mean, start)

    @torch.no_grad()
    def _carry(self, mean: torch.Tensor, start: float) -> None:
        """Let the last channels of the stem start as the picture, and the tail enlarge them."""
        conv = self.stem.carrier if isinstance(self.stem, CarryingStem) else self.stem
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        colours = torch.arange(self.carriers)
        for parameter in conv.parameters():
            parameter[-self.carriers :] *= start
        if self.architecture.restores:
            conv.weight[colours - self.carriers, colours, 1, 1] += 1
        else:  # The stem sees another range than the tail gives.
            conv.weight[colours - self.carriers, colours, 1, 1] += 1 / self.architecture.input_range
            conv.bias[-self.carriers :] += mean
        self.tail.carry()

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Upscale ``lr``; the result is not clamped."""
        if self.architecture.colours == "rgb":
            return self.enlarge(lr)
        large = F.interpolate(lr, scale_factor=float(self.architecture.scale), mode="bilinear", align_corners=False)
        # In BT.601 equal additions to R, G and B change the luma alone.
        return large + (self.enlarge(luma(lr)) - luma(large)) / LUMA_OF_WHITE

    def enlarge(self, picture: torch.Tensor) -> torch.Tensor:
        """Upscale what the layers work on: RGB, ``(B, 3, H, W)``, or luma, ``(B, 1, H, W)``, in 0 to 1."""
        architecture = self.architecture
        whole = float(architecture.input_range)
        if architecture.restores:
            x = self.sub_mean(picture * whole if whole != 1 else picture)
        else:
            x = self.sub_mean(picture) * whole
        skipped = x if architecture.restores else picture
        stem = self.stem(x)
        features = stem[:, : architecture.channels] if self.carriers else stem
        if architecture.gather == NONE:
            body = self.end(self.body(features))
            body = body + features if architecture.long_skip else body
        else:
            body = self._gather(skipped, features)
        body = torch.cat([body, stem[:, architecture.channels :]], dim=1) if self.carriers else body
        sr: torch.Tensor = self.tail(body)
        mode = architecture.global_skip
        if mode in ("bilinear", "nearest"):
            corners = False if mode == "bilinear" else None
            scale = float(architecture.scale)
            sr = sr + F.interpolate(skipped, scale_factor=scale, mode=mode, align_corners=corners)
        sr = self.add_mean(sr)
        return sr / whole if whole != 1 and architecture.restores else sr

    def _gather(self, skipped: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return what the body makes of the stem's features, with what is gathered from its depths.

        ``skipped`` is the picture in the range of the tail's output.
        """
        architecture = self.architecture
        outputs: list[torch.Tensor] = []
        inner: torch.Tensor = features
        y: torch.Tensor = features
        for position in self.body:
            told = position(y)
            y, inner = told if isinstance(told, tuple) else (told, told)
            outputs.append(y)
        if not architecture.gathers_after_end:
            assert self.gather is not None
            y = self.gather(outputs or [features])
        y = self.end(y)
        y = y + features if architecture.long_skip else y
        if not architecture.gathers_after_end:
            return y
        found = {"body": y, "stem": features, "first": outputs[0] if outputs else features, "inner": inner}
        if self.picture is not None:
            found[PICTURE] = self.picture(skipped)
        gathered = [found[part] for part in sources(architecture.gather)]
        if self.gather is None:
            return torch.cat(gathered, dim=1)
        reduced: torch.Tensor = self.gather(gathered)
        return reduced

    def deploy(self) -> "Network":
        """Return the inference form as a new network: in eval mode, frozen, and folded.

        It cannot be trained. Deploying it again gives a copy.
        """
        network = fold_all(copy.deepcopy(self).eval())
        network.requires_grad_(False)
        network.deployed = True
        return network

    def train(self, mode: bool = True) -> Self:
        """Set train or eval mode.

        Raises:
            InputError: If a deployed network is to be trained.
        """
        if mode:
            self._check_trainable()
        return super().train(mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the parameters collect gradients, or freeze them; constants (a mean shift, masks) stay frozen.

        Raises:
            InputError: If a deployed network is to be trained.
        """
        if requires_grad:
            self._check_trainable()
        super().requires_grad_(requires_grad)
        for module in self.modules():
            freeze = getattr(module, "freeze", None)
            if callable(freeze):
                freeze()
        return self

    def _check_trainable(self) -> None:
        if self.deployed:
            raise InputError(
                "a network must not be deployed when it is trained, but this one is: its branches are folded and its "
                "weights frozen; train the network that deploy() was called on, and deploy it again."
            )


def _mean(architecture: Architecture) -> torch.Tensor:
    """Return the colour that is subtracted, in 0 to 1, as the layers see it."""
    mean = torch.tensor(_MEANS.get(architecture.mean_shift.removesuffix("_in"), (0.0,) * IMAGE_CHANNELS))
    return mean if architecture.colours == "rgb" else luma(mean[None, :, None, None]).flatten()


def _build_stem(architecture: Architecture) -> nn.Module:
    colours, channels = architecture.num_colours, architecture.channels
    if architecture.stem.name == CONV:
        return nn.Conv2d(colours, channels + architecture.carriers, 3, padding=1)
    stem = architecture.stem.block.make_stem(colours, channels, architecture.stem.config)
    return CarryingStem(stem, colours) if architecture.carriers else stem


def _build_end(architecture: Architecture) -> nn.Module:
    channels = architecture.channels
    if architecture.end in ("conv", "point"):
        kernel = 3 if architecture.end == "conv" else 1
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    return _build(Choice(name=architecture.end), channels) if architecture.end != NONE else nn.Identity()


def _build_reduction(architecture: Architecture) -> Reduction | None:
    if architecture.gather == NONE or architecture.tail_gathers:
        return None
    activated = not architecture.gathers_after_end and architecture.end != NONE
    return Reduction(architecture.gathered_channels, architecture.channels, activated=activated)
