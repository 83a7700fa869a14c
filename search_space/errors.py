"""The one error for input that cannot be used, and its texts."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)

# How a limit on a number is written, by the name of its kind.
_LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


class InputError(ValueError):
    """Something a user gave cannot be used.

    The message says what must hold, what was given and what to do; the command line prints it and exits with 2.
    """


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> InputError:
    """Return the error for a name that does not exist, with the nearest valid one and the whole list."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {kind} '{name}'.{hint} Valid: {', '.join(names) or 'none'}.")


def parse(model: type[Model], data: Mapping[str, Any], what: str) -> Model:
    """Validate ``data`` as ``model``.

    Args:
        model: A pydantic model that forbids unknown keys.
        data: The parsed input.
        what: Where the data come from, for the message (``"space file 'my.toml'"``).

    Raises:
        InputError: On the first thing that is wrong, with the nearest valid key where a key is unknown.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise InputError(f"{what}: {_describe(error, model)}") from None


def _describe(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return str(unknown_name("key", path, _keys(model, first["loc"][:-1])))
    if first["type"] == "missing":
        return f"the key '{path}' is required."
    for limit, sign in _LIMITS.items():
        if path and limit in first.get("ctx", {}):
            return f"{path} {sign} {first['ctx'][limit]:.17g} must hold, but got {path}={first['input']!r}."
    given = f", but got {path}={first['input']!r}" if path else ""
    return f"{first['msg'][0].lower()}{first['msg'][1:]}{given}."


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the dotted keys that are valid at ``path``."""
    inner: type[BaseModel] = model
    for part in path:
        if isinstance(part, int):
            continue
        annotation: Any = inner.model_fields[part].annotation
        candidates = (annotation, *get_args(annotation))
        inner = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [".".join([*map(str, path), field]) for field in inner.model_fields]
