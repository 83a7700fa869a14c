"""The moving average of the weights, which is what is judged and shipped."""

from collections import defaultdict
from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage(AveragedModel):
    """Weights and buffers that follow those of a network exponentially, from its first step on.

    Torch's own copies its count of steps to the device at every step, which waits for it. Digits, and names in a file,
    are the same.

    Args:
        network: What is followed; the average is a copy of it, in eval mode.
        decay: Share of the average that a step keeps, from the second on.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        # Buffers too: the statistics of a batch norm belong to the averaged weights.
        super().__init__(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.eval()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in a network after a step."""
        alike: dict[torch.dtype, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
        for pair in zip(_tensors(self.module), _tensors(model), strict=True):
            alike[pair[0].dtype].append(pair)
        # The count stays on the CPU, whatever the device is.
        first = bool(self.n_averaged == 0)
        for pairs in alike.values():
            mine, theirs = map(list, zip(*pairs, strict=True))
            if first:
                torch._foreach_copy_(mine, theirs)
            else:
                assert self.multi_avg_fn is not None
                self.multi_avg_fn(mine, theirs, self.n_averaged)
        self.n_averaged += 1


def _tensors(module: nn.Module) -> chain[torch.Tensor]:
    return chain(module.parameters(), module.buffers())
