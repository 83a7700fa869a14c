"""What a block is, and the registry in which each block file enters its class."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from srnas.search_space.errors import InputError, parse, unknown_name

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
        rule = f"a multiple of {step}" if step > 1 else f"at least {self.min_channels}"
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
        official_names: Prefixes of official parameter names and ours.
    """

    name: str
    role: Role
    paper: str
    constraint: Constraint = field(default_factory=Constraint)
    tile_invariant: bool = True
    residual: bool = False
    unbounded: bool = False
    official_names: Mapping[str, str] = field(default_factory=dict)


class Block(nn.Module):
    """A module ``(B, C, H, W) -> (B, C, H, W)`` that can stand in a position.

    Raises:
        InputError: If ``channels`` violates the block's constraint.
    """

    info: ClassVar[BlockInfo]

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
    def params(cls, channels: int, config: Any = None) -> int:
        """Return the closed form of the number of parameters of the deploy form."""
        raise NotImplementedError(f"block '{cls.info.name}' states no formula of its parameters")

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: Any = None) -> int:
        """Return the closed form of the multiply-accumulates of one forward pass of the deploy form, one sample."""
        raise NotImplementedError(f"block '{cls.info.name}' states no MACs formula")

    def check_size(self, x: torch.Tensor) -> None:
        """Raise ``InputError`` if ``x`` is smaller than the block can take."""
        self._constraint.check_size(self.info.name, x.shape[-2], x.shape[-1])


class Tail(nn.Module):
    """A module ``(B, C, H, W) -> (B, 3, scale*H, scale*W)`` that ends a host.

    A tail that ``carries`` can let the last three channels through as the picture, enlarged (:meth:`carry`).
    """

    info: ClassVar[BlockInfo]
    carries: ClassVar[bool] = False

    class Config(BlockConfig):
        """No options."""

    last: nn.Conv2d

    def __init__(self, channels: int, scale: int, config: BlockConfig) -> None:
        super().__init__()

    def shrink(self, factor: float) -> None:
        """Scale the last convolution's weights and biases by ``factor``."""
        with torch.no_grad():
            self.last.weight.mul_(factor)
            if self.last.bias is not None:
                self.last.bias.mul_(factor)

    def carry(self) -> None:
        """Add to the output the last three input channels, enlarged by nearest neighbour.

        Raises:
            NotImplementedError: If the tail does not carry.
        """
        raise NotImplementedError(f"tail '{self.info.name}' cannot carry the picture")


Registered = TypeVar("Registered", bound=type[Block] | type[Tail])


class Registry:
    """Names and the classes behind them. An addition that fails leaves it unchanged.

    Attributes:
        sources: By name of a block of a user's own, a hash of its source: what it computes may change at any time.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[Block] | type[Tail]] = {}
        self.sources: dict[str, str] = {}

    def register(self, info: BlockInfo) -> Callable[[Registered], Registered]:
        """Return a class decorator that enters the class under ``info.name``.

        Raises:
            ValueError: If the name is taken, or the class does not fit the role.
        """

        def enter(cls: Registered) -> Registered:
            if info.name in self._classes:
                raise ValueError(f"block names must be unique, but '{info.name}' is already registered.")
            if not issubclass(cls, Tail if info.role == "tail" else Block):
                raise ValueError(f"a '{info.role}' must derive from Block or Tail, but got {cls.__name__}.")
            cls.info = info
            self._classes[info.name] = cls
            return cls

        return enter

    def forget(self, names: Iterable[str]) -> None:
        """Take names out again."""
        for name in list(names):
            del self._classes[name]

    def infos(self, *roles: Role) -> list[BlockInfo]:
        """Return the facts of all blocks of these roles (all without any), by name."""
        found = (cls.info for cls in self._classes.values())
        return sorted((i for i in found if not roles or i.role in roles), key=lambda i: (i.role, i.name))

    def entry(self, name: str) -> type[Block] | type[Tail]:
        """Return a class of any role; an unknown name raises ``InputError`` with the nearest valid one."""
        if name not in self._classes:
            raise unknown_name("block", name, self._classes)
        return self._classes[name]

    def block(self, name: str, *roles: Role) -> type[Block]:
        """Return a trunk or attention class; an unknown name raises ``InputError`` with the nearest valid one."""
        cls = self._classes.get(name)
        if cls is not None and issubclass(cls, Tail):
            raise InputError(f"a block must be a trunk or an attention block, but '{name}' is a tail.")
        if cls is None or not issubclass(cls, Block) or (roles and cls.info.role not in roles):
            kind = roles[0] if len(roles) == 1 else "block"
            raise unknown_name(kind, name, (i.name for i in self.infos(*(roles or ("trunk", "attention")))))
        return cls

    def tail(self, name: str) -> type[Tail]:
        """Return a tail class; an unknown name raises ``InputError`` with the nearest valid one."""
        cls = self._classes.get(name)
        if cls is None or not issubclass(cls, Tail):
            raise unknown_name("tail", name, (i.name for i in self.infos("tail")))
        return cls


REGISTRY = Registry()


Module = TypeVar("Module", bound=nn.Module)


def fold_all(module: Module) -> Module:
    """Fold in place whatever in ``module`` can be folded, in eval mode, and return it."""
    for part in list(module.modules()):
        fold = getattr(part, "fold", None)
        if callable(fold):
            fold()
    return module


def import_all(package: ModuleType) -> None:
    """Import every module of ``package``, so that its blocks are registered."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def build_block(name: str, channels: int, **options: Any) -> Block:
    """Build a registered block on ``channels`` with its options.

    Raises:
        InputError: If the name, an option or the number of channels is not valid.
    """
    cls = REGISTRY.block(name)
    return cls(channels, parse(cls.Config, options, f"block '{name}'"))
