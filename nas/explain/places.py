"""Where a network has attention, how it is observed during a forward pass, and how it is replaced for a while."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from srnas.search_space import InputError, Network
from srnas.search_space.choice import NONE
from srnas.search_space.registry import Block


@dataclass(frozen=True)
class Place:
    """The attention of one position.

    Attributes:
        position: Number of the position in the body, from 0.
        block: Name of the attention block.
        indices: Where it stands among the position's blocks: twice in the order ``around``.
    """

    position: int
    block: str
    indices: tuple[int, ...]

    def __str__(self) -> str:
        return f"p{self.position:02d}.{self.block}"


OnAttention = Callable[[Place, Block, torch.Tensor, torch.Tensor], None]
"""Told of a place, its block, the input of that, and its output."""


def attention_places(network: Network) -> tuple[Place, ...]:
    """Return the places of a network's attention blocks, from the first position on.

    Raises:
        InputError: If no position has one.
    """
    found = []
    for number, position in enumerate(network.architecture.positions):
        if position.attention.name != NONE:
            indices = tuple(i for i, choice in enumerate(position.choices) if choice == position.attention)
            found.append(Place(number, position.attention.name, indices))
    if not found:
        raise InputError(
            f"a position must have an attention block, but none of {network.architecture} has; give another network."
        )
    return tuple(found)


def blocks_at(network: Network, place: Place) -> list[Block]:
    """Return the blocks of a place."""
    blocks = _blocks(network, place)
    return [cast(Block, blocks[index]) for index in place.indices]


@contextlib.contextmanager
def watched(network: Network, on_attention: OnAttention) -> Iterator[None]:
    """Tell of every attention that runs; afterwards the network is as it was, also after an exception."""

    def hook(place: Place) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def tell(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            assert isinstance(module, Block)
            on_attention(place, module, given[0], output)

        return tell

    with contextlib.ExitStack() as stack:
        for place in attention_places(network):
            for block in blocks_at(network, place):
                stack.callback(block.register_forward_hook(hook(place)).remove)
        yield


@contextlib.contextmanager
def replaced(network: Network, replacements: Mapping[Place, Sequence[nn.Module]]) -> Iterator[None]:
    """Let other modules stand at places; afterwards the network is as it was, also after an exception.

    Args:
        network: The network.
        replacements: By place as many modules as it has blocks.
    """
    kept = {place: blocks_at(network, place) for place in replacements}
    try:
        _put(network, replacements)
        yield
    finally:
        _put(network, kept)


def _put(network: Network, modules: Mapping[Place, Sequence[nn.Module]]) -> None:
    for place, found in modules.items():
        for index, module in zip(place.indices, found, strict=True):
            _blocks(network, place)[index] = module


def _blocks(network: Network, place: Place) -> nn.Sequential:
    return cast(nn.Sequential, network.body[place.position].blocks)
