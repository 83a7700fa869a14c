"""The base classes of blocks and tails, and the facts about them that are needed before they are built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from srnas.search_space.errors import InputError

Role = Literal["trunk", "attention", "tail"]


class BlockConfig(BaseModel):
    """The options of a block; every field is a choice with the paper's value as its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Constraint:
    """What a block needs of its feature map ``(B, C, H, W)``.

    Attributes:
        channels_multiple: C must be a multiple of this.
        min_channels: The least C.
        min_size: The least H and the least W, in pixels.
    """

    channels_multiple: int = 1
    min_channels: int = 1
    min_size: int = 1

    def allows(self, channels: int) -> bool:
        """Return whether a block with this constraint can be built on ``channels``."""
        return channels >= self.min_channels and channels % self.channels_multiple == 0

    def check_channels(self, block: str, channels: int) -> None:
        """Raise ``InputError`` unless ``channels`` is allowed."""
        if self.allows(channels):
            return
        step = self.channels_multiple
        least = -(-self.min_channels // step) * step
        below = channels // step * step
        near = sorted({max(least, below + i * step) for i in range(3)})
        use = f"use {', '.join(map(str, near[:-1]))} or {near[-1]}." if len(near) > 1 else f"use {near[0]}."
        rules = [f"a multiple of {step}"] if step > 1 else []
        if step == 1 or channels < self.min_channels > step:
            rules.append(f"at least {self.min_channels}")
        rule = " and ".join(rules)
        raise InputError(f"channels must be {rule} for block '{block}', but got channels={channels}; {use}")

    def check_size(self, block: str, height: int, width: int) -> None:
        """Raise ``InputError`` unless the feature map is large enough."""
        if min(height, width) < self.min_size:
            raise InputError(
                f"width and height must be at least {self.min_size} for block '{block}', but got "
                f"{width}x{height}; use a larger input."
            )


@dataclass(frozen=True)
class BlockInfo:
    """The facts of a block that its users ask for before they build it.

    Attributes:
        name: The registered name.
        role: Where the block can stand: as trunk or attention of a position, or as the tail of a host.
        paper: Authors, title, venue and link.
        constraint: What the block needs of its input with default options.
        tile_invariant: Whether, with default options, an interior pixel's output is independent of pixels beyond a
            fixed reach.
        residual: Whether it passes its input on by itself, so that a position need not add it.
        unbounded: Whether its output grows faster than its input: a product of activations that nothing bounds.
        vanishes: Whether a chain of it dies out as it starts, so that ``"*"`` of a space leaves it out.
        whole: Whether it is the whole body of a network, which ``"*"`` of a space leaves out too.
        depth: How many trunks of two convolutions it counts as at most where the rate of a training is chosen.
        without_gradient: Parameters that cannot change the output, by name.
        official_names: Prefixes of official parameter names and ours.
    """

    name: str
    role: Role
    paper: str
    constraint: Constraint = field(default_factory=Constraint)
    tile_invariant: bool = True
    residual: bool = False
    unbounded: bool = False
    vanishes: bool = False
    whole: bool = False
    depth: float = 1.0
    without_gradient: tuple[str, ...] = ()
    official_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def placeable(self) -> bool:
        """Whether ``"*"`` of a space stands for it too."""
        return not (self.vanishes or self.whole)


class Block(nn.Module):
    """A module ``(B, C, H, W) -> (B, C, H, W)`` that can stand in a position.

    Raises:
        InputError: If ``channels`` violates the block's constraint.
    """

    info: ClassVar[BlockInfo]
    # Whether it can be a stem, which has fewer channels before it than after.
    widens: ClassVar[bool] = False
    # Whether it tells something of its inside (:meth:`tell_inner`).
    tells: ClassVar[bool] = False

    class Config(BlockConfig):
        """No options."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self._constraint = self.constraint(config)
        self._constraint.check_channels(self.info.name, channels)

    @classmethod
    def constraint(cls, config: BlockConfig) -> Constraint:
        """Return the constraint under these options."""
        return cls.info.constraint

    @classmethod
    def tile_invariant(cls, config: BlockConfig) -> bool:
        """Return whether, under these options, no pixel depends on pixels beyond a fixed reach."""
        return cls.info.tile_invariant

    @classmethod
    def canonical(cls, config: BlockConfig, channels: int) -> BlockConfig:
        """Return the options that stand for all which build the same block on ``channels``."""
        return config

    @classmethod
    def make_stem(cls, in_channels: int, channels: int, config: BlockConfig) -> "Block":
        """Return the block as a stem; only one that ``widens`` can be one."""
        return cls(channels, config, in_channels)  # type: ignore[call-arg]

    @classmethod
    def canonical_stem(cls, config: BlockConfig) -> BlockConfig:
        """Return the options that stand for all which build the same stem."""
        return config

    @classmethod
    def inner_channels(cls, channels: int, config: BlockConfig) -> int:
        """Return the number of channels of what the block tells of its inside; by default it tells its output."""
        return channels

    @classmethod
    def params(cls, channels: int, config: Any = None) -> int:
        """Return the closed form of the number of parameters of the deploy form."""
        raise NotImplementedError(f"block '{cls.info.name}' states no formula of its parameters")

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Any = None) -> int:
        """Return the closed form of the multiply-accumulates of one forward pass of the deploy form, one sample."""
        raise NotImplementedError(f"block '{cls.info.name}' states no MACs formula")

    def attention_weights(self, x: torch.Tensor, pixel: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
        """Return what the block weighs an input by, by name; nothing of a block that states no weights.

        Args:
            x: The input of the block, ``(B, C, H, W)``.
            pixel: Row and column whose weights over all others are returned, by a block with weights for each pair of
                pixels; by default the middle.

        Returns:
            Weights of channels ``(B, C, 1, 1)``, of pixels ``(B, 1, H, W)``, or of both; a block may split C.
        """
        return {}

    def without_attention(self) -> nn.Module | None:
        """Return the block without its attention branch, on the same parameters; ``None`` if it has no such branch."""
        return None

    def tell_inner(self) -> None:
        """Let :meth:`forward` return a pair from now on: the output, and what the block tells of its inside.

        A block that tells nothing returns its output alone, which then stands for both.
        """

    def check_size(self, x: torch.Tensor) -> None:
        """Raise ``InputError`` if ``x`` is smaller than the block can take."""
        self._constraint.check_size(self.info.name, x.shape[-2], x.shape[-1])


class Tail(nn.Module):
    """A module ``(B, C, H, W) -> (B, colours, scale*H, scale*W)`` that ends a host; three colours are RGB, one is Y.

    A tail that :meth:`carries` can let the last channels through as the picture, enlarged (:meth:`carry`).
    """

    info: ClassVar[BlockInfo]

    class Config(BlockConfig):
        """No options."""

    last: nn.Module

    def __init__(self, channels: int, scale: int, config: BlockConfig, colours: int = 3) -> None:
        super().__init__()

    @classmethod
    def carries(cls, config: BlockConfig) -> bool:
        """Return whether, under these options, the tail can carry the picture."""
        return False

    @classmethod
    def gathers(cls, config: BlockConfig) -> bool:
        """Return whether, under these options, the tail takes what is gathered for it without a reduction."""
        return False

    def shrink(self, factor: float) -> None:
        """Scale what the last convolution gives by ``factor``."""
        with torch.no_grad():
            for parameter in self.last.parameters():
                parameter.mul_(factor)

    def carry(self) -> None:
        """Add to the output the last input channels, one for each colour, enlarged by nearest neighbour.

        Raises:
            NotImplementedError: If the tail does not carry.
        """
        raise NotImplementedError(f"tail '{self.info.name}' cannot carry the picture")
