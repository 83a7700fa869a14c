"""Running a network on tensors without data: a copy that has shapes only, and operators that remember them."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_ATOMIC = (bool, float, int, str, type(None))
_EMPTY = (OrderedDict, dict, set)


def to_meta(network: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Return a copy in eval mode whose tensors have shapes but no data; ``network`` is not changed.

    It is a deep copy, but for two things that take nearly all of its time: no weight is copied, and the many empty
    containers of a module are made anew instead of being copied by the general way.

    Args:
        network: Any module, on any device.
        dtype: Data type of the copy's floating point parameters and buffers; ``None`` leaves it as it is.
    """
    memo: dict[int, Any] = {}
    plain = [module for module in network.modules() if _is_plain(type(module))]
    for module in plain:
        memo[id(module)] = object.__new__(type(module))
    for parameter in network.parameters():
        if type(parameter) is nn.Parameter:
            memo[id(parameter)] = nn.Parameter(_without_data(parameter), parameter.requires_grad)
    with _CopiesWithoutData():
        for module in plain:
            vars(memo[id(module)]).update({key: _copy(value, memo) for key, value in vars(module).items()})
        on_meta: nn.Module = copy.deepcopy(network, memo)
    return (on_meta if dtype is None else on_meta.to(dtype)).eval()


def _is_plain(cls: type[nn.Module]) -> bool:
    """Return whether a class says nothing of its own about what a copy holds."""
    return not hasattr(cls, "__deepcopy__") and all(
        getattr(cls, name, None) is getattr(nn.Module, name, None)
        for name in ("__getstate__", "__reduce__", "__reduce_ex__")
    )


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    """Copy an attribute of a module; what most of them are needs no general copying."""
    cls = type(value)
    if cls in _ATOMIC or (cls is tuple and all(type(part) in _ATOMIC for part in value)):
        return value
    return cls() if cls in _EMPTY and not value else copy.deepcopy(value, memo)


def _without_data(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("meta")


class _CopiesWithoutData(TorchFunctionMode):
    """Lets a copy of a tensor have no data, wherever in a module it is kept."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.__deepcopy__, torch.Tensor.clone):
            return _without_data(args[0])
        return func(*args, **(kwargs or {}))


# What operators make of given shapes, which is the same in every network of a process.
_REMEMBERED: dict[Hashable, Callable[[], Any]] = {}
# So many take a few MiB.
_MOST_REMEMBERED = 10_000


class RememberingMode(TorchDispatchMode):
    """Asks an operator only once what it makes of given shapes.

    A network repeats its blocks, a search its networks, and a kernel for tensors without data that is written in Python
    takes up to milliseconds. Operators that return or change their arguments are always called.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _makes_new(func) or is_tracing():
            return func(*args, **kwargs)
        try:
            key = (func, _describe(args), _describe(tuple(kwargs.items())), torch.get_default_dtype())
            remembered = _REMEMBERED.get(key)
        except TypeError:
            return func(*args, **kwargs)
        if remembered is not None:
            return remembered()
        result = func(*args, **kwargs)
        if (again := _recipe(result)) is not None:
            if len(_REMEMBERED) >= _MOST_REMEMBERED:
                _REMEMBERED.clear()
            _REMEMBERED[key] = again
        return result


def is_tracing() -> bool:
    """Return whether a trace is being recorded, and is not paused for the operator that is running."""
    return torch._C._get_tracing_state() is not None


@cache
def _makes_new(operator: Any) -> bool:
    """Return whether an operator neither changes an argument nor returns a view of one."""
    schema = operator._schema
    return not schema.is_mutable and all(result.alias_info is None for result in schema.returns)


def _describe(value: Any) -> Hashable:
    """Return all that a result's shape can depend on; ``TypeError`` if that is more than shapes."""
    if isinstance(value, torch.Tensor):
        if not value.is_meta:
            raise TypeError("a tensor with data")
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(map(_describe, value))
    return type(value), value


def _recipe(result: Any) -> Callable[[], Any] | None:
    """Return what makes new results like these."""
    if isinstance(result, torch.Tensor):
        shape, stride, dtype = result.shape, result.stride(), result.dtype
        return lambda: torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    if not isinstance(result, (tuple, list)):
        return None
    recipes = [_recipe(part) for part in result]
    cls = type(result)
    return None if None in recipes else lambda: cls(recipe() for recipe in recipes if recipe)
