"""Networks to time by the names that users give: published ones, keys or files, and targets in words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from srnas.nas.workspace.sources import find_architecture
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import InputShape, Target, resolve_device, resolve_threads
from srnas.profiling.device import DTYPES, MEMORY_FORMATS
from srnas.profiling.profiles import Subject
from srnas.profiling.remote import check_board
from srnas.profiling.runtimes import RUNTIMES, find_runtime
from srnas.search_space import Architecture, InputError, Network, unknown_name

_THREADS = re.compile(r"(\d+)threads?")
# What fuses operators over positions, so that parts timed by themselves say nothing of the whole.
_FUSING = frozenset(("compile",))


@dataclass(frozen=True)
class NamedNetwork:
    """An architecture that a user names to be timed on a target.

    Attributes:
        label: What a user calls it.
        architecture: What is built.
        target: Device and runtime that the network is timed on.
    """

    label: str
    architecture: Architecture
    target: Target


def find_named(text: str, scale: int, workspace: Workspace, target: Target) -> NamedNetwork:
    """Return what ``NAME|KEY|FILE[@WORD,WORD...]`` names.

    Args:
        text: A published network, the key of an architecture in the workspace, or a file of one as JSON; after ``@``
            words that change the target: a runtime, a dtype, a memory format, ``cpu``, ``cuda:0``, ``2threads``.
        scale: Upscaling factor of a published network.
        workspace: Where keys are looked up.
        target: Device and runtime to time on, unless words say otherwise.

    Raises:
        InputError: If there is no such network, a word means nothing, or the machine has not so many cores, or it or a
            board not what the words ask for.
    """
    name, _, words = text.partition("@")
    for word in filter(None, words.split(",")):
        target = _apply(word, target)
    if target.board:
        check_board(target)
    else:
        resolve_threads(target.threads)
        find_runtime(target)
    return NamedNetwork(text, find_architecture(name, scale, workspace), target)


def _apply(word: str, target: Target) -> Target:
    if word in RUNTIMES:
        return replace(target, runtime=word)
    if word in DTYPES:
        return replace(target, dtype=word)
    if word in MEMORY_FORMATS:
        return replace(target, memory_format=word)
    if match := _THREADS.fullmatch(word):
        return replace(target, threads=int(match[1]))
    if re.fullmatch(r"cpu|cuda(:\d+)?", word):
        return replace(target, device=resolve_device(word), board=None)
    valid = (*RUNTIMES, *DTYPES, *MEMORY_FORMATS, "cpu", "cuda:0", "1thread", "2threads")
    raise unknown_name("word after '@'", word, valid)


def by_target(
    networks: Sequence[NamedNetwork], size: tuple[int, int] | None
) -> Iterator[tuple[Target, dict[str, Subject]]]:
    """Yield the networks that are timed side by side, those of one target together.

    Args:
        networks: What was named.
        size: Height and width of the low-resolution input; by default that of a 1280x720 output.
    """
    for target in dict.fromkeys(named.target for named in networks):
        subjects = {}
        for named in networks:
            if named.target == target:
                architecture = named.architecture
                subjects[named.label] = Subject(
                    "network",
                    named.label,
                    Network(architecture).deploy(),
                    input_shape(architecture, size),
                    architecture if target.runtime not in _FUSING else None,
                )
        yield target, subjects


def input_shape(architecture: Architecture, size: tuple[int, int] | None) -> InputShape:
    """Return the shape of the input of a size, by default that of a 1280x720 output.

    Raises:
        InputError: If the network cannot take it.
    """
    height, width = size or (720 // architecture.scale, 1280 // architecture.scale)
    if min(height, width) < architecture.min_size:
        raise InputError(
            f"sides of the input must be at least {architecture.min_size} for {architecture}, but got {width}x{height}."
        )
    return 1, 3, height, width
