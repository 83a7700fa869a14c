"""The registry in which each block file enters its class."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeVar

from torch import nn

from srnas.search_space.block import Block, BlockConfig, BlockInfo, Constraint, Role, Tail
from srnas.search_space.errors import InputError, parse, unknown_name

__all__ = ["REGISTRY", "Block", "BlockConfig", "BlockInfo", "Constraint", "Registry", "Role", "Tail"]

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
            ValueError: If the name is taken, or the class or its constraint does not fit the role.
        """

        def enter(cls: Registered) -> Registered:
            if info.name in self._classes:
                raise ValueError(f"block names must be unique, but '{info.name}' is already registered.")
            if not issubclass(cls, Tail if info.role == "tail" else Block):
                raise ValueError(f"a '{info.role}' must derive from Block or Tail, but got {cls.__name__}.")
            if info.role == "tail" and info.constraint != Constraint():
                raise ValueError(f"a tail must take every width and size, but '{info.name}' has a constraint.")
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
