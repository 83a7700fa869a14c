"""The ways in which attention is switched off without training: what takes its place."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn

from srnas.nas.explain.places import Place, attention_places, blocks_at, watched
from srnas.nas.images.pairs import Pair, to_tensor
from srnas.search_space import Network
from srnas.search_space.registry import Block

Way = Literal["identity", "mean", "branch"]
"""How attention is switched off.

``identity``: the block gives what it is given. ``mean``: its mean response over the data, see :class:`MeanResponse`.
``branch``: only of a block with an attention branch beside a plain one, such as ``aab``: the plain one alone.
"""
WAYS: tuple[Way, ...] = get_args(Way)


class MeanResponse(nn.Module):
    """What a block does on average, per channel: a constant gain, or of a block with a residual a constant addition.

    The gain ``sum(y x) / sum(x^2)`` over images and pixels is the constant that is nearest to the block in least
    squares; so is the mean of ``y - x`` where the block passes its input on. A constant folds into the convolution
    beside it, so that this way saves the same latency as the identity.

    Args:
        channels: C of the block's input.
        adds: Whether the block passes its input on by itself.
    """

    def __init__(self, channels: int, adds: bool) -> None:
        super().__init__()
        self.adds = adds
        self._sums = torch.zeros(2, channels, dtype=torch.float64)
        self.constant: torch.Tensor
        self.register_buffer("constant", torch.zeros(channels, 1, 1))

    @torch.no_grad()
    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Take the block's answer ``y`` to ``x``, both ``(B, C, H, W)``, into account."""
        over = (0, 2, 3)
        if self.adds:
            sums = torch.stack([(y - x).sum(over), torch.full_like(x[0, :, 0, 0], x[:, 0].numel())])
        else:
            sums = torch.stack([(y * x).sum(over), x.square().sum(over)])
        self._sums += sums.double().cpu()
        above, below = self._sums
        self.constant.copy_((above / below.clamp(min=1e-30))[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean response to ``x``, ``(B, C, H, W)``."""
        return x + self.constant if self.adds else x * self.constant


def mean_responses(network: Network, pairs: Sequence[Pair], device: torch.device) -> dict[Place, list[nn.Module]]:
    """Return the mean responses of all attention over the LR images of ``pairs``, reduced as they come.

    Args:
        network: A network in eval mode on ``device``.
        pairs: The photographs.
        device: The device that holds the network.
    """
    found: dict[Block, MeanResponse] = {}

    def add(place: Place, block: Block, x: torch.Tensor, y: torch.Tensor) -> None:
        if block not in found:
            found[block] = MeanResponse(x.shape[1], block.info.residual).to(device)
        found[block].add(x, y)

    # Not in inference mode, whose tensors no gradient can pass.
    with torch.no_grad(), watched(network, add):
        for pair in pairs:
            network(to_tensor(pair.lr).to(device))
    return {place: [found[block] for block in blocks_at(network, place)] for place in attention_places(network)}


def identities(network: Network) -> dict[Place, list[nn.Module]]:
    """Return identities for all attention."""
    return {place: [nn.Identity() for _ in place.indices] for place in attention_places(network)}


def plain_branches(network: Network) -> dict[Place, list[nn.Module]]:
    """Return the plain branches of the attention that has any."""
    found = {}
    for place in attention_places(network):
        branches = [block.without_attention() for block in blocks_at(network, place)]
        if all(branch is not None for branch in branches):
            found[place] = [branch for branch in branches if branch is not None]
    return found
