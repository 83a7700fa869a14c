"""The optimizers: Muon for the convolutions of the body, AdamW for everything else.

Muon's step has one spectral norm whatever the width and the kernel of a convolution, so that one rate nearly serves
narrow and wide networks, plain chains and attention blocks. AdamW's does not: its best rate falls with the width, and a
study at one rate learns whom the rate suits. What is left is the depth: trunks in a row that mix all channels move the
output together, so that the rate falls with the root of their number. A gate damps the trunk beside it
(``docs/measurements.md``, "A ranking that holds").
"""

import math
from collections import defaultdict
from typing import Any

import torch
from torch import nn

from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import Network

# They meet pictures, whose values no width changes.
_OUTER = ("stem", "picture", "tail")
# Muon's rate as a multiple of AdamW's: the first over the root of the depth, the second at most.
_BY_DEPTH, _MOST = 9.2, 7.5
# A trunk of so many filter banks that mix all channels counts as one.
_WHOLE = 2
# What a trunk beside a gate counts of that, and what attention that mixes all channels counts.
_GATED, _ATTENTION = 0.5, 0.25
# Attention without a bank of this share of the channels is a gate.
_GATE_SHARE = 0.5
# Coefficients of the quintic Newton-Schulz iteration: five of them bring singular values near 1.
# source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonal matrix that is nearest to the momentum of each filter bank ``(O, I, K, K)``.

    A bank is the matrix ``(O, I * K * K)``; banks of one shape are orthogonalised together.

    Args:
        banks: Weights of convolutions.
        lr: Spectral norm of a step; a matrix of more rows than columns takes ``sqrt(rows / columns)`` times it.
        weight_decay: Decoupled, as AdamW's.
        momentum: Decay of the momentum, which is Nesterov's.

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
    (https://kellerjordan.github.io/posts/muon).
    """

    def __init__(self, banks: list[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        super().__init__(banks, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for bank in group["params"]:
                if bank.grad is not None:
                    alike[bank.shape].append(bank)
            for banks in alike.values():
                self._step(banks, **{name: group[name] for name in ("lr", "weight_decay", "momentum")})

    def _step(self, banks: list[nn.Parameter], lr: float, weight_decay: float, momentum: float) -> None:
        directions = []
        for bank in banks:
            gradient, state = bank.grad, self.state[bank]
            assert gradient is not None
            if not state:
                state["momentum"] = torch.zeros_like(bank)
            mean = state["momentum"].lerp_(gradient, 1 - momentum)
            directions.append(torch.lerp(gradient, mean, momentum).flatten(1))
        matrices = torch.stack(directions)
        rows, columns = matrices.shape[1:]
        size = lr * max(1.0, rows / columns) ** 0.5
        for bank, step in zip(banks, orthogonalised(matrices), strict=True):
            bank.mul_(1 - lr * weight_decay).sub_(step.view(bank.shape), alpha=size)


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Return matrices ``(N, R, C)`` with the same singular vectors, and singular values near 1."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x: torch.Tensor = matrices if wide else matrices.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + _EPSILON)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


def hidden_banks(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights of all convolutions but those that meet pictures: of stem and tail, and of their bypass."""
    convolutions = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and name.split(".")[0] not in _OUTER
    ]
    return [weight for one in convolutions if isinstance(weight := one.weight, nn.Parameter) and weight.requires_grad]


def hidden_rate(learning_rate: float, depth: float) -> float:
    """Return Muon's rate for a body of such a depth, beside AdamW's ``learning_rate``."""
    return learning_rate * min(_MOST, _BY_DEPTH / math.sqrt(max(1.0, depth)))


def depth_of(network: nn.Module) -> float:
    """Return how many trunks in a row mix all channels.

    A trunk counts as half of the number of its filter banks from at least as many channels to at least as many as the
    position is wide, as much as its ``info.depth`` at most. It counts half of that beside a gate, which is attention of
    low rank or without weights. Attention that mixes all channels counts a quarter. Of a module of another kind every
    two convolutions are one.
    """
    if not isinstance(network, Network):
        return len(hidden_banks(network)) / _WHOLE
    architecture, depth = network.architecture, 0.0
    for position, module in zip(architecture.positions, network.body, strict=True):
        width = position.active or architecture.channels
        mixing, gated = 0.0, 1.0
        for block in module.blocks:  # type: ignore[union-attr]
            narrowest = [min(bank.shape[:2]) for bank in hidden_banks(block)]
            whole = sum(side >= width for side in narrowest)
            if block.info.role == "trunk":
                mixing = min(block.info.depth, whole / _WHOLE)
            elif whole:
                depth += _ATTENTION
            elif max(narrowest, default=0) < _GATE_SHARE * width:
                gated = _GATED
        depth += gated * mixing
    return depth


def make_optimizers(network: nn.Module, config: TrainingConfig) -> dict[str, torch.optim.Optimizer]:
    """Return what trains a network, by the name under which it is saved; the rates are the peaks of the schedule.

    Raises:
        InputError: If the schedule belongs to another rule of Muon's rate.
    """
    config.check_rule()
    banks = hidden_banks(network) if config.optimizer == "muon" else []
    theirs = {id(bank) for bank in banks}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in theirs]
    rate, decay = config.learning_rate, config.weight_decay
    made: dict[str, torch.optim.Optimizer] = {}
    if rest:
        made["optimizer"] = torch.optim.AdamW(rest, lr=rate, weight_decay=decay, fused=True)
    if banks:
        made["muon"] = Muon(banks, hidden_rate(rate, depth_of(network)), decay)
    return made
