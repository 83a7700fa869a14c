"""Zero-cost proxies of an untrained network on one batch, as a diagnostic: they rank SR networks badly.

Higher shall mean better. Normalisation and nonlinearities are left as they are.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def proxies(network: nn.Module, lr: torch.Tensor, hr: torch.Tensor, names: Collection[str]) -> dict[str, float]:
    """Return those of these proxies that are finite, by name; the network is left as it was.

    Args:
        network: A freshly built network in training form.
        lr: Low-resolution patches ``(B, 3, H, W)``; B is at least 2.
        hr: The same patches in high resolution, ``(B, 3, sH, sW)``.
        names: Keys of ``PROXIES``.
    """
    computed = {name: PROXIES[name](network, lr, hr) for name in names}
    return {name: value for name, value in computed.items() if math.isfinite(value)}


def grad_norm(network: nn.Module, lr: torch.Tensor, hr: torch.Tensor) -> float:
    """Return the logarithm of the norm of the loss's gradient: Abdelfattah et al., ICLR 2021, section 3.2."""
    with _restored(network):
        F.l1_loss(network(lr), hr).backward()
        squares = [float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None]
    # A zero has no logarithm; what is not a number is left out by the caller.
    return math.log(math.sqrt(sum(squares)) or math.nan)


def synflow(network: nn.Module, lr: torch.Tensor, hr: torch.Tensor) -> float:
    """Return the logarithm of ``sum |theta dR/dtheta|`` with all parameters positive and R the sum of the output.

    Reference: Tanaka et al., "Pruning neural networks without any data", NeurIPS 2020, equation 2.
    """
    with _restored(network):
        # The product of the weights of many layers leaves the range of float32.
        network.double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()
        network(torch.ones_like(lr[:1], dtype=torch.float64)).sum().backward()
        flow = [float((p.detach() * p.grad).abs().sum()) for p in network.parameters() if p.grad is not None]
    return math.log(sum(flow) or math.nan)


def naswot(network: nn.Module, lr: torch.Tensor, hr: torch.Tensor) -> float:
    """Return the log-determinant of how alike images switch: Mellor et al., ICML 2021, equations 2 and 3.

    The signs of the outputs of all convolutions stand for those before a ReLU, which few SR networks have; a regular
    sample of them is taken.
    """
    codes: list[torch.Tensor] = []

    def keep(module: nn.Module, given: Any, output: torch.Tensor) -> None:
        codes.append((output.flatten(1)[:, ::7] > 0).double())

    with _restored(network, hooked=keep), torch.no_grad():
        network(lr)
    code = torch.cat([c for c in codes if len(c) == len(lr)], 1)
    kernel = code @ code.T + (1 - code) @ (1 - code).T
    return float(torch.linalg.slogdet(kernel / code.shape[1])[1])


def zico(network: nn.Module, lr: torch.Tensor, hr: torch.Tensor) -> float:
    """Return the sum over layers of the log of the mean of ``E|g| / std(g)``: Li et al., ICLR 2023, equation 15.

    Gradients are those of single images.
    """
    with _restored(network):
        gradients: dict[str, list[torch.Tensor]] = {}
        for image, target in zip(lr.split(1), hr.split(1), strict=True):
            network.zero_grad()
            F.l1_loss(network(image), target).backward()
            for name, parameter in network.named_parameters():
                if parameter.grad is not None and parameter.dim() > 1:
                    gradients.setdefault(name, []).append(parameter.grad.detach().clone())
        total = 0.0
        for by_image in gradients.values():
            stacked = torch.stack(by_image)
            deviation = stacked.std(0)
            if (varying := deviation > 0).any():
                ratio = (stacked.abs().mean(0)[varying] / deviation[varying]).sum()
                total += math.log(float(ratio) / varying.numel() or math.nan)
    return total


@contextlib.contextmanager
def _restored(network: nn.Module, hooked: Any = None) -> Iterator[None]:
    """Leave parameters, buffers, gradients and mode as they were."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    dtype = next(network.parameters()).dtype
    hooks = [m.register_forward_hook(hooked) for m in network.modules() if hooked and isinstance(m, nn.Conv2d)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        network.to(dtype).load_state_dict(state)
        network.zero_grad()


PROXIES: dict[str, Callable[[nn.Module, torch.Tensor, torch.Tensor], float]] = {
    "grad_norm": grad_norm,
    "synflow": synflow,
    "naswot": naswot,
    "zico": zico,
}
