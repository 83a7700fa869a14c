"""Blocks of a user's own: loaded from their files, tried on small inputs, and identified by their source.

Whatever is wrong is said with file and line, before any network is built of it.
"""

import contextlib
import hashlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from srnas.search_space.errors import InputError
from srnas.search_space.registry import REGISTRY, BlockInfo, Tail

_DIGITS = 12
# Sides beyond the least: even and odd ones, of either order; one size twice, for what is kept of the last of a size.
_SIDES = ((4, 5), (4, 5), (7, 6))
_TAIL_SCALE = 2


def import_own() -> None:
    """Register the blocks of the folders that ``SRNAS_BLOCKS`` names.

    Raises:
        InputError: As :func:`import_folder`.
    """
    folders = filter(None, os.environ.get("SRNAS_BLOCKS", "").split(os.pathsep))
    for folder in dict.fromkeys(os.path.abspath(folder) for folder in folders):
        import_folder(folder)


def import_folder(folder: str) -> None:
    """Run every Python file of ``folder``, so that the blocks in it are registered.

    What they print goes to the standard error: a command's output is what it was asked for.

    Raises:
        InputError: If there is no such folder, or a file fails (a name that is taken among others), or registers a
            block that is not what a position can hold. None of the folder's blocks is registered then.
    """
    if not Path(folder).is_dir():
        raise InputError(f"SRNAS_BLOCKS must name folders of block files, but got '{folder}', which is none.")
    before = _names()
    files: dict[Path, tuple[ModuleType, list[str]]] = {}
    try:
        for path in sorted(Path(folder).glob("*.py")):
            known = _names()
            module = _run(path)
            files[path] = (module, [name for name in _names() if name not in known])
            for name in files[path][1]:
                _try(path, REGISTRY.entry(name).info)
    except BaseException:
        REGISTRY.forget(name for name in _names() if name not in before)
        raise
    helpers = [path for path in sorted(Path(folder).rglob("*.py")) if path not in files or not files[path][1]]
    uses = {path: _siblings(path, files) for path in files}
    for path, (_, names) in files.items():
        digest = _digest({*helpers, *_reached(path, uses)})
        REGISTRY.sources |= dict.fromkeys(names, digest)


def _names() -> list[str]:
    return [info.name for info in REGISTRY.infos()]


def _run(path: Path) -> ModuleType:
    # The path as name keeps a file apart from a module of ours that is called alike.
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    # Also what it prints later, when networks run.
    vars(module)["print"] = _print
    with _blamed(path, "a file of blocks must register them"):
        spec.loader.exec_module(module)
    return module


def _print(*values: object, file: Any = None, **given: Any) -> None:
    print(*values, file=sys.stderr if file in (None, sys.stdout) else file, **given)


@contextlib.contextmanager
def _blamed(path: Path, must: str) -> Iterator[None]:
    """Turn whatever goes wrong into an error that names the user's line."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # It is the user's code.
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"'{path}'" if line is None else f"'{path}', line {line}"
        raise InputError(f"{where}: {must}, but {type(error).__name__}: {error}") from error


def _siblings(path: Path, files: Mapping[Path, tuple[ModuleType, list[str]]]) -> set[Path]:
    """Return the files of the folder that a file takes classes or functions from, or whose blocks it names."""
    module, names = files[path]
    used = [value for value in vars(module).values() if hasattr(value, "__module__")]
    modules = {
        value.__module__ for value in (*used, *(base for name in names for base in REGISTRY.entry(name).__mro__))
    }
    words = set(re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace")))
    return {other for other, (_, theirs) in files.items() if str(other) in modules or words & set(theirs)}


def _reached(path: Path, uses: Mapping[Path, set[Path]]) -> set[Path]:
    """Return a file and all that it uses, whether by itself or by others."""
    found, left = {path}, [path]
    while left:
        new = uses[left.pop()] - found
        found |= new
        left += new
    return found


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for content in sorted(path.read_bytes() for path in paths):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:_DIGITS]


def _try(path: Path, info: BlockInfo) -> None:
    """Build a block and run it on small inputs."""
    with _blamed(path, f"block '{info.name}' must run on inputs that its constraint allows, forwards and backwards"):
        complaint = next(_complaints(info), None)
    if complaint is not None:
        _, line = inspect.getsourcelines(REGISTRY.entry(info.name).forward)
        raise InputError(f"'{path}', line {line}: block '{info.name}' {complaint}.")


def _complaints(info: BlockInfo) -> Iterator[str]:
    """Yield what a block does that it must not."""
    step, least = info.constraint.channels_multiple, info.constraint.min_channels
    channels = -(-max(least, 12) // step) * step
    random = torch.Generator().manual_seed(0)
    shapes = [(2, channels, info.constraint.min_size + high, info.constraint.min_size + wide) for high, wide in _SIDES]
    inputs = [torch.rand(shape, generator=random) for shape in shapes]
    with torch.random.fork_rng(devices=[]):
        with torch.no_grad():
            # Without data, as networks are counted, and on another device than the usual one.
            yield from _of_output(info, _build(info, channels).to("meta"), inputs[0].to("meta"))
            # On a CPU the reach of tiles is measured in double precision.
            yield from _of_output(info, _build(info, channels).double(), inputs[0].double())
            block = _build(info, channels)
            for x in inputs:
                yield from _of_output(info, block, x)
            yield from _of_state(block, inputs)
        block.train()(inputs[0].requires_grad_()).sum().backward()


def _of_state(block: nn.Module, inputs: list[torch.Tensor]) -> Iterator[str]:
    """Yield what is wrong if inputs in another order, and of several sizes, give other outputs."""
    state = {name: value.clone() for name, value in block.state_dict().items()}
    given = [x.clone() for x in inputs]
    outputs = [block(x) for x in inputs]
    if not all(map(torch.equal, given, inputs)):
        yield "must leave its input as it is, but changes it"
    again = [block(x) for x in reversed(inputs)]
    kept = all(torch.equal(value, state[name]) for name, value in block.state_dict().items())
    if not kept or not all(map(torch.equal, outputs, reversed(again))):
        yield "must hold no state in eval mode, but for the same input its output is another the second time"


def _build(info: BlockInfo, channels: int) -> nn.Module:
    cls = REGISTRY.entry(info.name)
    made = cls(channels, _TAIL_SCALE, cls.Config()) if issubclass(cls, Tail) else cls(channels, cls.Config())
    return made.eval()


def _of_output(info: BlockInfo, block: nn.Module, x: torch.Tensor) -> Iterator[str]:
    """Yield what is wrong with the output for one input."""
    y: Any = block(x)
    batch, channels, height, width = x.shape
    shape = (batch, channels, height, width)
    if info.role == "tail":
        shape = (batch, 3, _TAIL_SCALE * height, _TAIL_SCALE * width)
    if not isinstance(y, torch.Tensor):
        yield f"must give a tensor, but gives {type(y).__name__}"
    elif tuple(y.shape) != shape:
        what = "enlarge its input to 3 channels" if info.role == "tail" else "keep the shape of its input"
        yield f"must {what}, but makes {tuple(y.shape)} of {tuple(x.shape)}"
    elif y.dtype != x.dtype:
        yield f"must keep the dtype of its input, but makes {y.dtype} of {x.dtype}"
    elif y.device != x.device:
        yield f"must keep the device of its input, but its output is on {y.device} and its input on {x.device}"
